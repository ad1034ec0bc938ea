//! The way into a guest: what comes to one TCP port is passed on to the plugin's socket, what comes to another is read by a
//! shell. Runs in the guest, which only the test reaches.
//!
//! `door 7000 /run/csi/csi.sock 7001`

#![allow(clippy::print_stdout, reason = "the test waits for its word")]

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plugin, socket, shell] = arguments.as_slice() else { panic!("door PORT SOCKET PORT") };
    let socket = socket.clone();
    let passing = serve(plugin, move |stream| pass(&stream, &socket));
    let obeying = serve(shell, obey);
    println!("GUEST door open");
    for served in [passing, obeying] {
        served.join().expect("it serves without end");
    }
}

/// A thread for every connection to a port.
fn serve(port: &str, work: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> thread::JoinHandle<()> {
    let port: u16 = port.parse().expect("a port");
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("nobody else listens there");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let work = work.clone();
            // Whoever came sees the connection end.
            thread::spawn(move || drop(work(stream)));
        }
    })
}

/// Both ways, until either end is done. A plugin that is not there ends the connection.
fn pass(stream: &TcpStream, socket: &str) -> io::Result<()> {
    let plugin = UnixStream::connect(socket)?;
    let (mut from, mut to) = (stream.try_clone()?, plugin.try_clone()?);
    let going = thread::spawn(move || {
        let copied = io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Both).and(copied)
    });
    let copied = io::copy(&mut &plugin, &mut &*stream);
    // The other half ends with it, whether the first one ended well or not.
    let _ended = stream.shutdown(Shutdown::Both);
    let _gone = going.join();
    copied.map(drop)
}

/// A shell that reads what comes and says everything to the same connection.
fn obey(stream: TcpStream) -> io::Result<()> {
    let (said, complained) = (OwnedFd::from(stream.try_clone()?), OwnedFd::from(stream.try_clone()?));
    Command::new("/bin/sh").stdin(OwnedFd::from(stream)).stdout(said).stderr(complained).status().map(drop)
}
