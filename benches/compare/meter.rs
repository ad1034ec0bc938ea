//! What a run cost: CPU time of the server, commands and bytes at the device, system calls.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use crate::scene::Scene;
use crate::server::Target;

/// Counters at one moment.
#[derive(Debug)]
pub struct Reading {
    processor_seconds: f64,
    device_writes: f64,
    device_bytes: f64,
    enters: Option<f64>,
}

/// What was used between two moments.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// CPU seconds of the server, all threads.
    pub processor_seconds: f64,
    /// Write commands: those the server ordered, if it tells; else those of the block device below the files,
    /// whoever caused them.
    pub device_writes: f64,
    /// Their bytes.
    pub device_bytes: f64,
    /// `io_uring_enter` calls of the data thread, for servers that tell.
    pub enters: Option<f64>,
}

impl Reading {
    /// Reads all counters.
    pub fn take(target: &Target, scene: &Scene) -> Self {
        let processor_seconds = processor_seconds(target);
        let own = match target {
            Target::Export { metrics_ports, .. } if !metrics_ports.is_empty() => {
                metrics_ports.iter().map(|port| metrics(*port)).collect::<Option<Vec<_>>>()
            }
            Target::Export { .. } | Target::File(_) => None,
        };
        let (device_writes, device_bytes) = own.as_deref().map_or_else(|| below(scene), ordered);
        let enters = own.map(|text| metric(&text, "plinth_reactor_enters_total"));
        Self { processor_seconds, device_writes, device_bytes, enters }
    }

    /// What was used since `earlier`. The CPU time was read before caches were written back.
    pub fn since(&self, earlier: &Self, processor_seconds: f64) -> Spent {
        Spent {
            processor_seconds: processor_seconds - earlier.processor_seconds,
            device_writes: self.device_writes - earlier.device_writes,
            device_bytes: self.device_bytes - earlier.device_bytes,
            enters: self.enters.zip(earlier.enters).map(|(now, then)| now - then),
        }
    }
}

/// Writes back every cache, so that one peer's dirty pages are not the next one's load.
pub fn settle() {
    rustix::fs::sync();
}

/// CPU seconds the server used so far.
pub fn processor_seconds(target: &Target) -> f64 {
    match target {
        Target::Export { server, .. } => process_seconds(server.id()),
        Target::File(_) => 0.0,
    }
}

/// CPU seconds a process used so far, threads that have ended included.
pub fn process_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the server lives");
    // The program's name stands in parentheses and may hold spaces; utime and stime are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a line").split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number")).sum();
    #[expect(clippy::cast_precision_loss, reason = "100 or 1000")]
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    ticks / ticks_per_second
}

/// Write commands and bytes that a server says it ordered.
fn ordered(text: &[String]) -> (f64, f64) {
    (metric(text, "plinth_device_writes_total"), metric(text, "plinth_device_written_bytes_total"))
}

/// Write commands and bytes of the device the files lie on.
fn below(scene: &Scene) -> (f64, f64) {
    let device = std::fs::metadata(scene.folder()).expect("the folder is there").dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let Ok(stat) = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")) else { return (0.0, 0.0) };
    let field = |index| stat.split_whitespace().nth(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (field(4), field(6) * 512.0)
}

/// Of all nodes together.
fn metric(texts: &[String], name: &str) -> f64 {
    let value = |line: &str| line.strip_prefix(name)?.rsplit(' ').next()?.parse::<f64>().ok();
    texts.iter().filter_map(|text| text.lines().find_map(value)).sum()
}

fn metrics(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}
