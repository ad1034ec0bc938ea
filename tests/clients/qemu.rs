//! qemu's block layer on a volume.

use tests::node::Home;
use tests::tool::{fail, run, tool};

use crate::copy::{assert_same, image};

#[test]
fn an_image_is_converted_compared_and_converted_back() {
    let home = Home::default();
    let node = home.start();
    image(&home.path("in.img"));
    let input = home.path("in.img").to_str().expect("UTF-8").to_owned();
    let output = home.path("out.img").to_str().expect("UTF-8").to_owned();
    let raw = ["-f", "raw", "-O", "raw"];
    run(tool("qemu-img").args(["convert", "-n"]).args(raw).args([&input, &node.uri()]));
    run(tool("qemu-img").args(["compare", "-f", "raw", "-F", "raw", &input, &node.tcp_uri()]));
    run(tool("qemu-img").arg("convert").args(raw).args([&node.uri(), &output]));
    assert_same(&home.path("in.img"), &home.path("out.img"));
}

#[test]
fn a_qcow2_image_lives_in_a_volume() {
    let home = Home::default();
    let node = home.start();
    run(tool("qemu-img").args(["create", "-f", "qcow2", &node.uri(), "128M"]));
    let write = ["-c", "write -P 0x33 0 64k", "-c", "write -P 0x44 64M 1M", "-c", "discard 64M 512k", "-c", "flush"];
    qemu_io("qcow2", &node.uri(), &write);
    run(tool("qemu-img").args(["check", "-f", "qcow2", &node.uri()]));
    let read = ["-c", "read -P 0x33 0 64k", "-c", "read -P 0x44 66060288 1M"];
    fail(&mut qemu_io_command("qcow2", &node.uri(), &read));
    let read = ["-c", "read -P 0x33 0 64k", "-c", "read -P 0x44 67633152 512k", "-c", "read -P 0 64M 512k"];
    qemu_io("qcow2", &node.uri(), &read);
}

#[test]
fn qemu_io_finds_its_patterns() {
    let home = Home::default();
    let node = home.start();
    let script = [
        "read -P 0 0 4M",
        "write -P 0xa5 0 1M",
        "write -f -P 0x5a 512k 64k",
        "write -P 0x11 4097 511",
        "write -z 768k 64k",
        "write -z -u 832k 64k",
        "write -z -n 896k 4k",
        "discard 128k 128k",
        "aio_write -P 0x77 2M 512k",
        "aio_write -P 0x78 3M 512k",
        "aio_flush",
        "flush",
        "read -P 0xa5 0 4097",
        "read -P 0x11 4097 511",
        "read -P 0xa5 4608 4k",
        "read -P 0 128k 128k",
        "read -P 0xa5 256k 256k",
        "read -P 0x5a 512k 64k",
        "read -P 0 768k 132k",
        "read -P 0xa5 900k 124k",
        "read -P 0x77 2M 512k",
        "read -P 0x78 3M 512k",
        "read -P 0 2560k 512k",
    ];
    let commands: Vec<&str> = script.iter().flat_map(|line| ["-c", line]).collect();
    qemu_io("raw", &node.tcp_uri(), &commands);
    let wrong = ["-c", "read -P 0x12 4097 511"];
    fail(&mut qemu_io_command("raw", &node.tcp_uri(), &wrong));
}

fn qemu_io_command(format: &str, uri: &str, commands: &[&str]) -> std::process::Command {
    let mut qemu_io = tool("qemu-io");
    qemu_io.args(["-f", format, "-t", "none", "-d", "unmap"]).args(commands).arg(uri);
    qemu_io
}

fn qemu_io(format: &str, uri: &str, commands: &[&str]) {
    let said = run(&mut qemu_io_command(format, uri, commands));
    assert!(!said.contains("failed"), "{said}");
}
