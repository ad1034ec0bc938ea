//! nbdcopy moves images in and out unchanged, and nbdkit's filters find the same bytes.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use tests::node::{Home, Options, VOLUME_BYTES};
use tests::random::{Random, seed};
use tests::tool::{fail, run, tool};

/// An image of a volume's size: random pieces, repeated ones, holes.
pub fn image(path: &Path) {
    let seed = seed();
    println!("image seed {seed}");
    let mut random = Random::seeded(seed);
    let mut file = File::create(path).expect("an image");
    file.set_len(VOLUME_BYTES).expect("its size");
    for _ in 0..200 {
        let len = 1 + random.below(300_000);
        file.seek(SeekFrom::Start(random.below(VOLUME_BYTES - len))).expect("a place");
        let len = usize::try_from(len).expect("small");
        let repeats = random.one_in(4);
        let bytes = if repeats { vec![random.bytes(1)[0]; len] } else { random.bytes(len) };
        file.write_all(&bytes).expect("a piece");
    }
}

/// Fails at the first difference of two files.
pub fn assert_same(one: &Path, other: &Path) {
    let open = |path: &Path| File::open(path).expect("an image");
    let (mut one, mut other) = (open(one), open(other));
    assert_eq!(one.metadata().expect("a size").len(), other.metadata().expect("a size").len());
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for step in 0..VOLUME_BYTES >> 20 {
        one.read_exact(&mut left).expect("a MiB");
        other.read_exact(&mut right).expect("a MiB");
        let difference = left.iter().zip(&right).position(|(left, right)| left != right);
        assert_eq!(difference, None, "first difference in MiB {step}");
    }
}

fn path(home: &Home, name: &str) -> String {
    home.path(name).to_str().expect("UTF-8").to_owned()
}

#[test]
fn an_image_goes_in_and_comes_out_unchanged() {
    let home = Home::default();
    let node = home.start();
    image(&home.path("in.img"));
    run(tool("nbdcopy").args([&path(&home, "in.img"), &node.uri()]));
    run(tool("nbdcopy").args([&node.uri(), &path(&home, "out.img")]));
    assert_same(&home.path("in.img"), &home.path("out.img"));
}

#[test]
fn copies_over_tcp_with_many_requests_are_unchanged() {
    let home = Home::default();
    let node = home.start();
    image(&home.path("in.img"));
    let tuned = ["--connections=4", "--requests=128", "--request-size=4194304", "--flush"];
    run(tool("nbdcopy").args(tuned).args([&path(&home, "in.img"), &node.tcp_uri()]));
    run(tool("nbdcopy").args(["--synchronous", &node.tcp_uri(), &path(&home, "out.img")]));
    assert_same(&home.path("in.img"), &home.path("out.img"));
}

#[test]
fn checkwrite_finds_the_image_and_notices_another() {
    let home = Home::default();
    let node = home.start();
    image(&home.path("in.img"));
    run(tool("nbdcopy").args([&path(&home, "in.img"), &node.uri()]));
    let backend = format!("uri={}", node.tcp_uri());
    let checked = |image: &str| {
        let copy = format!("nbdcopy '{image}' \"$uri\"");
        let mut nbdkit = tool("nbdkit");
        nbdkit.args(["-U", "-", "--filter=checkwrite", "nbd", &backend, "--run", &copy]);
        nbdkit
    };
    run(&mut checked(&path(&home, "in.img")));
    fs::copy(home.path("in.img"), home.path("other.img")).expect("a copy");
    let mut other = File::options().write(true).open(home.path("other.img")).expect("an image");
    other.seek(SeekFrom::Start(VOLUME_BYTES / 2)).expect("a place");
    other.write_all(b"one byte more or less").expect("a change");
    fail(&mut checked(&path(&home, "other.img")));
}

#[test]
fn a_volume_is_copied_to_another_one() {
    let volumes = [format!("from:{VOLUME_BYTES}"), format!("to:{VOLUME_BYTES}")].to_vec();
    let home = Home::new(Options { volumes, ..Options::default() });
    let node = home.start();
    image(&home.path("in.img"));
    run(tool("nbdcopy").args([&path(&home, "in.img"), &node.uri_of("from")]));
    run(tool("nbdcopy").args([&node.uri_of("from"), &node.uri_of("to")]));
    run(tool("nbdcopy").args([&node.uri_of("to"), &path(&home, "out.img")]));
    assert_same(&home.path("in.img"), &home.path("out.img"));
}
