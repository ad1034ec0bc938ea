//! Memory lent to the kernel: the contract that makes the ring sound.
//!
//! A machine owns all buffers; while a receive, a send, a device write or a device read is outstanding, the kernel
//! reads or writes one of them. No borrow can express that, so it is a promise, given here by `unsafe trait` and
//! relied on by the ring, and by nothing else.
#![allow(unsafe_code)]

use block::Pages;
use node::{ConnId, Node};
use store::IoId;

use crate::null::Null;
use crate::power::Volatile;

/// A machine that lends its buffers.
///
/// # Safety
/// From the effect that orders an operation to the event that ends it (`Received`, `Sent`, `Broken` or `Closed` of the
/// connection; `Written` or `ReadEnded` of the device operation), the memory handed out for it
/// - stays at its address and is not freed, whatever events are handled meanwhile and even if the machine is moved;
/// - is not read or written by the machine when the kernel writes to it, and not written when the kernel reads it;
/// - is the same at every call.
///
/// Memory of [`Buffers::preallocated`] stays at its address until the machine is dropped.
pub unsafe trait Buffers {
    /// Where bytes of a connection go: not empty while an `Effect::Receive` is outstanding.
    fn receive_target(&mut self, conn: ConnId) -> &mut [u8];

    /// What a connection has to say: not empty while an `Effect::Send` is outstanding.
    fn send_source(&self, conn: ConnId) -> impl Iterator<Item = &[u8]>;

    /// Bytes of an `Effect::Write`, and the number of the registered buffer they lie in, if they do.
    fn write_source(&self, io: IoId) -> (&[u8], Option<u16>);

    /// Buffer of an `Effect::Read`, and the number of the registered buffer it lies in, if it does.
    fn read_target(&mut self, io: IoId) -> (&mut [u8], Option<u16>);

    /// Buffers worth registering with the kernel, before the first request.
    fn preallocated(&mut self) -> Vec<&mut Pages>;
}

// SAFETY: the node keeps a connection's receive buffer and the outbox being sent, and the store its batches and read
// buffers, on the heap ([`Pages`], vectors that do not grow while they are lent) from effect to event. Of what is sent to
// another node, frames behind those that are being sent are added and taken away, and those themselves are kept: their
// heads are vectors, and their payloads shared pages that nobody writes to.
unsafe impl Buffers for Node {
    fn receive_target(&mut self, conn: ConnId) -> &mut [u8] {
        Self::receive_target(self, conn)
    }

    fn send_source(&self, conn: ConnId) -> impl Iterator<Item = &[u8]> {
        Self::send_source(self, conn).expect("a connection with a send outstanding is known")
    }

    fn write_source(&self, io: IoId) -> (&[u8], Option<u16>) {
        Self::write_source(self, io)
    }

    fn read_target(&mut self, io: IoId) -> (&mut [u8], Option<u16>) {
        Self::read_target(self, io)
    }

    fn preallocated(&mut self) -> Vec<&mut Pages> {
        Self::preallocated(self)
    }
}

// SAFETY: a connection's inbox and outboxes live on the heap until `Closed`. Bytes behind the inbox's end are not
// touched, and its end does not move, while it is receiving; the outbox being sent is not appended to.
unsafe impl Buffers for Null {
    fn receive_target(&mut self, conn: ConnId) -> &mut [u8] {
        Self::receive_target(self, conn)
    }

    fn send_source(&self, conn: ConnId) -> impl Iterator<Item = &[u8]> {
        Self::send_source(self, conn)
    }

    fn write_source(&self, _io: IoId) -> (&[u8], Option<u16>) {
        unreachable!("it writes nothing")
    }

    fn read_target(&mut self, _io: IoId) -> (&mut [u8], Option<u16>) {
        unreachable!("it reads nothing")
    }

    fn preallocated(&mut self) -> Vec<&mut Pages> {
        Vec::new()
    }
}

// SAFETY: it hands out the memory of its machine, touches what was read only before the machine hears that the read ended
// and after the kernel is done with it, and orders fewer operations than the machine.
unsafe impl<M: Buffers> Buffers for Volatile<M> {
    fn receive_target(&mut self, conn: ConnId) -> &mut [u8] {
        self.machine.receive_target(conn)
    }

    fn send_source(&self, conn: ConnId) -> impl Iterator<Item = &[u8]> {
        self.machine.send_source(conn)
    }

    fn write_source(&self, io: IoId) -> (&[u8], Option<u16>) {
        self.machine.write_source(io)
    }

    fn read_target(&mut self, io: IoId) -> (&mut [u8], Option<u16>) {
        self.machine.read_target(io)
    }

    fn preallocated(&mut self) -> Vec<&mut Pages> {
        self.machine.preallocated()
    }
}
