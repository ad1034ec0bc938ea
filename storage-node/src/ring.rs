//! The io_uring of a data thread: every operation on a socket or a disk passes here.
//!
//! The ring owns the machine whose memory it lends to the kernel, and outlives no operation: when it is dropped it
//! first cancels and awaits everything in flight. Operations name their files by their place in the table of
//! registered files. Nothing is handed to the kernel before [`Ring::submit`], once per turn.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use block::PoolOffset;
use io_uring::types::{CancelBuilder, Fixed, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use node::ConnId;
use rustix::io::Errno;
use store::IoId;

use crate::machine::Machine;
use crate::setup::{self, RingError};
use crate::slots::{Key, Slots};

/// Slices of one gathered send; what is beyond goes with the next one.
const SLICES_PER_SEND_MAX: usize = 256;
/// Slices of all sends of a turn; beyond, the turn is submitted in two parts.
const SLICES_MAX: usize = 4096;
/// Largest transfer the kernel does in one operation, less a page (`MAX_RW_COUNT`).
const TRANSFER_BYTES_MAX: usize = 0x7fff_f000;
/// How long dropping a ring waits for what is in flight before it says so in the log.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// Place in the table of registered files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileIndex(pub u32);

/// An operation in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// Waiting for a client on a listener.
    Accept { listener: usize },
    /// Waiting for another thread to call.
    Wake,
    /// Receiving on a connection.
    Receive { conn: ConnId },
    /// Sending on a connection.
    Send { conn: ConnId },
    /// A device write, or the rest of one.
    Write { io: IoId, at: PoolOffset, progress: Progress },
    /// A device read, or the rest of one.
    Read { io: IoId, at: PoolOffset, progress: Progress },
    /// fdatasync of the pool.
    Sync { io: IoId },
    /// A request to cancel others.
    Cancel,
}

/// How far a device transfer has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Progress {
    /// Bytes transferred by earlier parts.
    pub done_bytes: usize,
    /// Attempts since it last moved.
    pub stalls: u8,
}

/// An operation that ended.
#[derive(Debug)]
pub(crate) struct Completion {
    /// Which.
    pub op: Op,
    /// Bytes transferred.
    pub result: Result<u32, Errno>,
    /// The client that an `Accept` brought. Whoever drops it hangs up.
    pub accepted: Option<OwnedFd>,
    /// Whether a receive left bytes in the socket.
    pub more_received: bool,
}

/// A send that is not awaited.
#[derive(Debug)]
struct Tried {
    key: Key,
    conn: ConnId,
    len_bytes: u32,
}

/// How long a submission waits for completions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// For the first one, at most so long.
    AtMost(Duration),
    /// For the first one.
    Forever,
}

/// What a ring has room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingLimits {
    /// Places in the table of files.
    pub files: u32,
    /// Operations queued; when there are so many they are handed over before the turn's end.
    pub submissions: u32,
    /// Operations in flight.
    pub operations: u32,
    /// Listeners.
    pub listeners: usize,
}

/// The ring and its machine.
pub(crate) struct Ring<M: Machine> {
    uring: IoUring,
    ops: Slots<Op>,
    gather: Gather,
    /// What the eventfd is read into.
    wake_count: Vec<u8>,
    /// Per listener, the address of the client it accepts.
    peers: Vec<Peer>,
    /// Reaped in the middle of a turn.
    ended: Vec<Completion>,
    /// Sends of which the kernel says only that they failed.
    tried: Vec<Tried>,
    enters: u64,
    /// Last, so that it is dropped after the ring was drained.
    machine: M,
}

impl<M: Machine> Ring<M> {
    /// A ring of the calling thread.
    pub fn new(machine: M, limits: RingLimits) -> Result<Self, RingError> {
        let mut ring = Self {
            uring: setup::set_up(limits.files, limits.submissions, limits.operations)?,
            ops: Slots::new(limits.operations),
            gather: Gather::default(),
            wake_count: vec![0; size_of::<u64>()],
            peers: (0..limits.listeners).map(|_| Peer::default()).collect(),
            ended: Vec::new(),
            tried: Vec::new(),
            enters: 0,
            machine,
        };
        ring.register_buffers();
        Ok(ring)
    }

    /// The machine, to ask.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The machine, to drive.
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// System calls made so far.
    pub fn enters(&self) -> u64 {
        self.enters
    }

    /// Operations in flight.
    pub fn in_flight(&self) -> usize {
        self.ops.len()
    }

    /// Puts a file into the table; the caller may close its own descriptor.
    pub fn set_file(&self, index: FileIndex, file: BorrowedFd<'_>) -> io::Result<()> {
        self.uring.submitter().register_files_update(index.0, &[file.as_raw_fd()]).map(drop)
    }

    /// Takes a file out of the table. It is closed when nothing in flight uses it any more.
    pub fn clear_file(&self, index: FileIndex) -> io::Result<()> {
        self.uring.submitter().register_files_update(index.0, &[-1]).map(drop)
    }

    /// Waits for a client. Its socket is an ordinary descriptor, so that a connection can leave this thread; what is done
    /// with it here is done by a place in the table of files nevertheless, see [`Ring::set_file`].
    pub fn accept(&mut self, file: FileIndex, listener: usize) {
        let peer = &mut self.peers[listener];
        peer.len_bytes = PEER_BYTES_MAX;
        let entry = opcode::Accept::new(fixed(file), peer.address.as_mut_ptr().cast(), &raw mut peer.len_bytes)
            .flags(libc::SOCK_CLOEXEC)
            .build();
        self.push(entry, Op::Accept { listener });
    }

    /// Address of the client the listener accepted last; none on a unix socket.
    pub fn peer(&self, listener: usize) -> Option<SocketAddr> {
        let bytes = &self.peers[listener].address;
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        match libc::c_int::from(u16::from_ne_bytes([bytes[0], bytes[1]])) {
            libc::AF_INET => Some((<[u8; 4]>::try_from(&bytes[4..8]).ok()?, port).into()),
            libc::AF_INET6 => Some((<[u8; 16]>::try_from(&bytes[8..24]).ok()?, port).into()),
            _ => None,
        }
    }

    /// Waits for the eventfd.
    pub fn await_wake(&mut self, file: FileIndex) {
        let entry = opcode::Read::new(fixed(file), self.wake_count.as_mut_ptr(), length(&self.wake_count)).build();
        self.push(entry, Op::Wake);
    }

    /// Receives into the connection's target. `patient`: the socket is known to be empty, so wait first.
    pub fn receive(&mut self, file: FileIndex, conn: ConnId, patient: bool) {
        let target = self.machine.receive_target(conn);
        assert!(!target.is_empty(), "a receive has room for a byte at least");
        let poll_first = if patient { POLL_FIRST } else { 0 };
        let entry = opcode::Recv::new(fixed(file), target.as_mut_ptr(), length(target)).ioprio(poll_first).build();
        self.push(entry, Op::Receive { conn });
    }

    /// Sends what the connection has to say, or the first part of it. If that is `awaited` its end comes when the kernel
    /// is done. If not it is tried once, when it is submitted: all goes out, which is told with the next completions and
    /// wakes nobody, or as much as the socket takes.
    pub fn send(&mut self, file: FileIndex, conn: ConnId, awaited: bool) {
        let Gathered { message, len_bytes, is_all } = self.gather.gather(self.machine.send_source(conn));
        let awaited = awaited || !is_all || len_bytes > TRANSFER_BYTES_MAX;
        let flags = if awaited { SEND_FLAGS } else { SEND_FLAGS | libc::MSG_DONTWAIT };
        let entry = match message {
            Message::One(slice) => {
                opcode::Send::new(fixed(file), slice.iov_base.cast(), clamp(slice.iov_len)).flags(flags).build()
            }
            Message::Many(header) => opcode::SendMsg::new(fixed(file), header).flags(flags.cast_unsigned()).build(),
        };
        let op = Op::Send { conn };
        if awaited {
            self.push(entry, op);
        } else {
            // With MSG_DONTWAIT the kernel never goes on with it later, and with MSG_WAITALL a part is not a success.
            self.push_and(entry.flags(squeue::Flags::SKIP_SUCCESS), op, |ring, key| {
                ring.tried.push(Tried { key, conn, len_bytes: clamp(len_bytes) });
            });
        }
    }

    /// Writes what is left of a batch.
    pub fn write(&mut self, file: FileIndex, io: IoId, at: PoolOffset, progress: Progress) {
        let (bytes, fixed_buffer) = self.machine.write_source(io);
        let rest = &bytes[progress.done_bytes..];
        let (source, len, offset) = (rest.as_ptr(), length(rest), at.0 + progress.done_bytes as u64);
        let entry = match fixed_buffer {
            Some(buffer) => opcode::WriteFixed::new(fixed(file), source, len, buffer).offset(offset).build(),
            None => opcode::Write::new(fixed(file), source, len).offset(offset).build(),
        };
        self.push(entry, Op::Write { io, at, progress });
    }

    /// Reads what is left of a buffer.
    pub fn read(&mut self, file: FileIndex, io: IoId, at: PoolOffset, progress: Progress) {
        let (bytes, fixed_buffer) = self.machine.read_target(io);
        let rest = &mut bytes[progress.done_bytes..];
        let (target, len, offset) = (rest.as_mut_ptr(), length(rest), at.0 + progress.done_bytes as u64);
        let entry = match fixed_buffer {
            Some(buffer) => opcode::ReadFixed::new(fixed(file), target, len, buffer).offset(offset).build(),
            None => opcode::Read::new(fixed(file), target, len).offset(offset).build(),
        };
        self.push(entry, Op::Read { io, at, progress });
    }

    /// fdatasync.
    pub fn sync(&mut self, file: FileIndex, io: IoId) {
        let entry = opcode::Fsync::new(fixed(file)).flags(FsyncFlags::DATASYNC).build();
        self.push(entry, Op::Sync { io });
    }

    /// Cancels every operation on a file; each ends with a completion of its own.
    pub fn cancel(&mut self, file: FileIndex) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(fixed(file)).all()).build();
        self.push(entry, Op::Cancel);
    }

    /// Hands everything queued to the kernel and waits: the one system call of a turn.
    pub fn submit(&mut self, wait: Wait) -> io::Result<()> {
        self.enters += 1;
        // What was collected in the middle of the turn may be all there is to wait for.
        let wait = if self.ended.is_empty() { wait } else { Wait::No };
        let submitted = match wait {
            Wait::No => self.uring.submit(),
            Wait::Forever => self.uring.submit_and_wait(1),
            Wait::AtMost(limit) => {
                let timespec = Timespec::from(limit);
                self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timespec))
            }
        };
        if self.uring.submission().is_empty() {
            self.gather.clear();
            self.conclude();
        }
        match submitted.map_err(|error| (Errno::from_io_error(&error), error)) {
            // A timeout, a signal, or a backlog that reaping completions resolves.
            Ok(_) | Err((Some(Errno::TIME | Errno::INTR | Errno::AGAIN | Errno::BUSY), _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }

    /// Takes over every completion there is.
    pub fn reap(&mut self, into: &mut Vec<Completion>) {
        self.collect();
        into.append(&mut self.ended);
    }

    /// Of the sends that were tried, those that did not fail went out. Failures are in the completion queue as soon as
    /// the call that submitted them returns.
    fn conclude(&mut self) {
        if self.tried.is_empty() {
            return;
        }
        self.collect();
        if self.uring.submission().cq_overflow() {
            return;
        }
        for Tried { key, conn, len_bytes } in self.tried.drain(..) {
            if self.ops.remove(key).is_some() {
                let op = Op::Send { conn };
                self.ended.push(Completion { op, result: Ok(len_bytes), accepted: None, more_received: false });
            }
        }
    }

    fn collect(&mut self) {
        for entry in self.uring.completion() {
            let op = self.ops.remove(Key::from_bits(entry.user_data()));
            let op = op.expect("the kernel completes an operation once, with the name it was given");
            self.ended.push(Completion {
                op,
                result: outcome(entry.result()),
                accepted: accepted(op, entry.result()),
                more_received: cqueue::sock_nonempty(entry.flags()),
            });
        }
    }

    /// Registers the machine's long-lived buffers. Without the right to lock memory they are used unregistered.
    fn register_buffers(&mut self) {
        let mut buffers = self.machine.preallocated();
        let slices: Vec<libc::iovec> = buffers.iter_mut().map(|pages| iovec(pages.bytes())).collect();
        if slices.is_empty() {
            return;
        }
        // SAFETY: preallocated buffers stay where they are until the machine is dropped, which is after the ring has
        // been drained.
        match unsafe { self.uring.submitter().register_buffers(&slices) } {
            Ok(()) => {
                for (pages, index) in buffers.into_iter().zip(0..) {
                    pages.set_fixed(index);
                }
            }
            Err(error) => tracing::info!(
                %error, buffers = slices.len(),
                "buffers are not registered with the kernel, which costs some speed; RLIMIT_MEMLOCK (ulimit -l) decides"
            ),
        }
    }

    /// Queues an operation. Afterwards there is room for the next one, whatever it is: were room made when it is needed,
    /// the slices of a send that is being put together would be given away.
    fn push(&mut self, entry: squeue::Entry, op: Op) {
        self.push_and(entry, op, |_, _| {});
    }

    /// As above; `note` learns the operation's name before it is submitted.
    fn push_and(&mut self, entry: squeue::Entry, op: Op, note: impl FnOnce(&mut Self, Key)) {
        let key = self.ops.insert(op);
        note(self, key);
        let entry = entry.user_data(key.to_bits());
        // SAFETY: what the entry points to is memory of the machine, valid until the operation ends by the contract of
        // `Buffers`; or `wake_count` or `peers`, each used by one operation at a time and not moved; or `gather`, which
        // is kept until submission, up to which the kernel needs it (IORING_FEAT_SUBMIT_STABLE, part of every kernel we
        // accept). The ring is drained before any of them is dropped.
        unsafe { self.uring.submission().push(&entry) }.expect("there is room between two operations");
        if self.uring.submission().is_full() || !self.gather.has_room() {
            self.submit_early();
        }
    }

    /// Makes room in the queues in the middle of a turn.
    fn submit_early(&mut self) {
        while !self.uring.submission().is_empty() {
            self.submit(Wait::No).expect("the kernel takes what it took before");
            // Should the completion queue be full, this is what helps.
            self.collect();
        }
    }
}

impl<M: Machine> Drop for Ring<M> {
    /// Waits until the kernel uses none of the machine's memory, however long a device takes.
    fn drop(&mut self) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
        if self.in_flight() > 0 && self.ops.has_room() {
            self.push(entry, Op::Cancel);
        }
        let mut ended = Vec::new();
        while self.in_flight() > 0 {
            let submitted = self.submit(Wait::AtMost(DRAIN_PATIENCE));
            self.reap(&mut ended);
            if ended.is_empty() {
                tracing::warn!(operations = self.in_flight(), "waiting for the kernel to end operations in flight");
            }
            if let Err(error) = submitted {
                tracing::error!(%error, "the ring cannot be drained, so its memory cannot be freed: aborting");
                std::process::abort();
            }
            ended.clear();
        }
        // The kernel takes a ring apart some time after its process is gone; listeners and the pool are let go of now.
        if let Err(error) = self.uring.submitter().unregister_files() {
            tracing::debug!(%error, "files stay registered until the kernel takes the ring apart");
        }
    }
}

/// `IORING_RECVSEND_POLL_FIRST`.
const POLL_FIRST: u16 = 1;
/// No SIGPIPE, and the kernel goes on after a partial send by itself.
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// Size of the largest socket address (`sockaddr_storage`).
const PEER_BYTES_MAX: libc::socklen_t = 128;

/// Where the kernel puts a client's address.
#[derive(Debug)]
struct Peer {
    address: Vec<u8>,
    len_bytes: libc::socklen_t,
}

impl Default for Peer {
    fn default() -> Self {
        Self { address: vec![0; PEER_BYTES_MAX as usize], len_bytes: PEER_BYTES_MAX }
    }
}

/// The slices of this turn's sends, where the kernel finds them until they are submitted. Never grows, so that
/// addresses hold.
struct Gather {
    slices: Vec<libc::iovec>,
    headers: Vec<libc::msghdr>,
}

/// What a send sends.
struct Gathered {
    message: Message,
    len_bytes: usize,
    /// Nothing is left for the next one.
    is_all: bool,
}

enum Message {
    One(libc::iovec),
    Many(*const libc::msghdr),
}

impl Default for Gather {
    fn default() -> Self {
        let headers = Vec::with_capacity(SLICES_MAX / 2);
        Self { slices: Vec::with_capacity(SLICES_MAX), headers }
    }
}

impl Gather {
    fn has_room(&self) -> bool {
        self.slices.len() + SLICES_PER_SEND_MAX <= SLICES_MAX
    }

    fn clear(&mut self) {
        self.slices.clear();
        self.headers.clear();
    }

    fn gather<'a>(&mut self, mut source: impl Iterator<Item = &'a [u8]>) -> Gathered {
        let first = self.slices.len();
        self.slices.extend(source.by_ref().take(SLICES_PER_SEND_MAX).map(iovec));
        let is_all = source.next().is_none();
        let len_bytes = self.slices[first..].iter().map(|slice| slice.iov_len).sum();
        Gathered { message: self.message(first), len_bytes, is_all }
    }

    /// The slices from `first` on.
    fn message(&mut self, first: usize) -> Message {
        let count = self.slices.len() - first;
        assert!(count > 0, "a send has a byte to send at least");
        if count == 1 {
            return Message::One(self.slices.pop().expect("there is one"));
        }
        // SAFETY: a msghdr of zeroes is one without name, slices and control data.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = self.slices[first..].as_mut_ptr();
        header.msg_iovlen = count;
        // Each header stands for two slices at least, so there is room whenever there is room for slices.
        self.headers.push(header);
        Message::Many(self.headers.last().expect("just pushed"))
    }
}

fn iovec(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

fn fixed(file: FileIndex) -> Fixed {
    Fixed(file.0)
}

fn length(bytes: &[u8]) -> u32 {
    clamp(bytes.len())
}

#[expect(clippy::cast_possible_truncation, reason = "TRANSFER_BYTES_MAX fits")]
fn clamp(len_bytes: usize) -> u32 {
    len_bytes.min(TRANSFER_BYTES_MAX) as u32
}

/// Takes possession of an accepted socket.
fn accepted(op: Op, result: i32) -> Option<OwnedFd> {
    match op {
        // SAFETY: the kernel opened this descriptor for us, and this completion, which comes once, is all that names it.
        Op::Accept { .. } if result >= 0 => Some(unsafe { OwnedFd::from_raw_fd(result) }),
        Op::Accept { .. }
        | Op::Wake
        | Op::Receive { .. }
        | Op::Send { .. }
        | Op::Write { .. }
        | Op::Read { .. }
        | Op::Sync { .. }
        | Op::Cancel => None,
    }
}

fn outcome(result: i32) -> Result<u32, Errno> {
    u32::try_from(result).map_err(|_| Errno::from_raw_os_error(-result))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use block::{Instant, Outbox, Pages};
    use node::{ConnId, Effect, Event};
    use rustix::io::Errno;
    use store::IoId;

    use super::{FileIndex, Ring, RingLimits, Wait};
    use crate::buffers::Buffers;
    use crate::machine::{Holding, Machine, Observed};

    /// Has something of its own to say on every connection, in many slices.
    struct Chorus(Vec<Outbox>);

    impl Chorus {
        fn new(voices: usize, slices: usize) -> Self {
            let outbox = |voice: usize| {
                let mut outbox = Outbox::default();
                let kept = outbox.keep(Pages::zeroed(1));
                for slice in 0..slices {
                    outbox.push(format!("{voice}.{slice}").as_bytes());
                    outbox.push_payload(kept, 0..voice % 7 + 1);
                }
                outbox.seal();
                outbox
            };
            Self((0..voices).map(outbox).collect())
        }

        fn text(&self, voice: usize) -> Vec<u8> {
            self.0[voice].slices().flatten().copied().collect()
        }
    }

    impl Machine for Chorus {
        fn handle(&mut self, _now: Instant, _event: Event, _effects: &mut Vec<Effect>) {
            unreachable!("nobody tells it anything")
        }

        fn deadline(&self) -> Option<Instant> {
            None
        }

        fn observe(&self) -> Observed {
            Observed::default()
        }

        fn holding(&self) -> Option<Holding> {
            None
        }
    }

    // SAFETY: the outboxes are not changed.
    unsafe impl Buffers for Chorus {
        fn receive_target(&mut self, _conn: ConnId) -> &mut [u8] {
            unreachable!("it does not listen")
        }

        fn send_source(&self, conn: ConnId) -> impl Iterator<Item = &[u8]> {
            self.0[conn.slot as usize].slices()
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

    #[test]
    fn every_connection_gets_its_own_bytes_however_small_the_queues_are() {
        const VOICES: u32 = 200;
        let sizes = [(1, 3), (2, 3), (64, 3), (512, 3), (512, 60)];
        for ((submissions, slices), awaited) in sizes.into_iter().flat_map(|size| [(size, true), (size, false)]) {
            let limits = RingLimits { files: VOICES, submissions, operations: 1024, listeners: 0 };
            let mut ring = Ring::new(Chorus::new(VOICES as usize, slices), limits).expect("set up");
            let streams: Vec<_> = (0..VOICES).map(|_| UnixStream::pair().expect("a pair")).collect();
            for ((near, _), voice) in streams.iter().zip(0..) {
                ring.set_file(FileIndex(voice), near.as_fd()).expect("set");
                ring.send(FileIndex(voice), ConnId { slot: voice, generation: 0 }, awaited);
            }
            ring.submit(Wait::No).expect("submitted");
            for ((_, far), voice) in streams.iter().zip(0..) {
                let expected = ring.machine().text(voice);
                let mut heard = vec![0; expected.len()];
                let mut far = far;
                far.read_exact(&mut heard).expect("heard");
                assert!(heard == expected, "{submissions} submissions, voice {voice}: {}", heard.escape_ascii());
            }
            let mut ended = Vec::new();
            ring.reap(&mut ended);
            assert_eq!((ended.len(), ring.in_flight()), (VOICES as usize, 0));
        }
    }

    #[test]
    fn a_send_that_nobody_awaits_tells_how_much_went_out_and_waits_for_nobody() {
        let mut outbox = Outbox::default();
        let kept = outbox.keep(Pages::zeroed(1024));
        outbox.push(b"begin");
        outbox.push_payload(kept, 0..4 << 20);
        outbox.seal();
        let limits = RingLimits { files: 1, submissions: 8, operations: 8, listeners: 0 };
        let mut ring = Ring::new(Chorus(vec![outbox]), limits).expect("set up");
        let (near, mut far) = UnixStream::pair().expect("a pair");
        ring.set_file(FileIndex(0), near.as_fd()).expect("set");
        let mut send = || {
            ring.send(FileIndex(0), ConnId { slot: 0, generation: 0 }, false);
            ring.submit(Wait::No).expect("submitted");
            let mut ended = Vec::new();
            ring.reap(&mut ended);
            assert_eq!(ring.in_flight(), 0);
            ended.pop().expect("it ended").result
        };
        let sent = send().expect("some went out") as usize;
        assert!(0 < sent && sent < 4 << 20, "{sent} bytes");
        assert_eq!(send(), Err(Errno::AGAIN), "nobody has taken anything");
        far.read_exact(&mut vec![0; sent]).expect("exactly what was told");
        assert!(send().is_ok_and(|more| more > 0));
    }
}
