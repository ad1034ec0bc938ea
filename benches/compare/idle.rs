//! What a node costs that nobody talks to: 100 volumes, no client.

use std::thread;
use std::time::{Duration, Instant};

use crate::meter::process_seconds;
use crate::scene::{Scene, program};
use crate::server::{Server, free_port};

const VOLUMES: usize = 100;
/// What making the volumes leaves to be done is not what is measured.
const SETTLING: Duration = Duration::from_secs(5);
/// Processor time is counted in hundredths of a second.
const WATCHED: Duration = Duration::from_secs(20);

/// Share of one core, from 0 to 1.
pub fn measure(scene: &Scene) -> f64 {
    let (port, metrics_port) = (free_port(), free_port());
    let data = scene.path("idle");
    let data = data.to_str().expect("UTF-8");
    let mut arguments: Vec<String> =
        ["dev", "--data", data, "--pool", &format!("{data}/pool:1GiB")].map(str::to_owned).to_vec();
    arguments.extend(["--control", "127.0.0.1:0"].map(str::to_owned));
    arguments.extend(["--nbd".to_owned(), format!("127.0.0.1:{port}")]);
    arguments.extend(["--http".to_owned(), format!("127.0.0.1:{metrics_port}")]);
    arguments.extend((0..VOLUMES).flat_map(|number| ["--volume".to_owned(), format!("idle{number}:1GiB")]));
    let server = Server::start(&program(), &arguments, port, &scene.path("idle.log"));
    thread::sleep(SETTLING);
    let (begin, before) = (Instant::now(), process_seconds(server.id()));
    thread::sleep(WATCHED);
    (process_seconds(server.id()) - before) / begin.elapsed().as_secs_f64()
}
