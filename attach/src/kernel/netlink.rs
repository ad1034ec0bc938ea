//! Commands to the kernel's nbd driver, and its word when a connection is dead. Numbers: `linux/nbd-netlink.h`.
//!
//! A command is answered in the call that sends it, which may take long when a device is busy: each has a socket of its
//! own and runs on a thread that may block.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, Nla,
    NlaBuffer, NlasIterator, ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_sys::{AsyncSocket, AsyncSocketExt, Socket, SocketAddr, TokioSocket, protocols::NETLINK_GENERIC};

const FAMILY: &str = "nbd";
const GROUP: &str = "nbd_mc_group";
const VERSION: u8 = 1;

/// The controller of generic netlink, which knows the families' numbers.
const CONTROLLER: u16 = 0x10;
const CONTROLLER_GET_FAMILY: u8 = 3;
const CONTROLLER_FAMILY_ID: u16 = 1;
const CONTROLLER_FAMILY_NAME: u16 = 2;
const CONTROLLER_GROUPS: u16 = 7;
const GROUP_NAME: u16 = 1;
const GROUP_ID: u16 = 2;

const INDEX: u16 = 1;
const SIZE_BYTES: u16 = 2;
const BLOCK_BYTES: u16 = 3;
const TIMEOUT: u16 = 4;
const SERVER_FLAGS: u16 = 5;
const SOCKETS: u16 = 7;
const DEAD_CONNECTION_TIMEOUT: u16 = 8;
const BACKEND: u16 = 10;
const SOCKET_ITEM: u16 = 1;
const SOCKET_FD: u16 = 1;
/// Says of an attribute that it is made of attributes.
const NESTED: u16 = 1 << 15;

const CONNECT: u8 = 1;
const DISCONNECT: u8 = 2;
const RECONFIGURE: u8 = 3;
const LINK_DEAD: u8 = 4;

/// A device that is to be made.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Its size.
    pub size_bytes: u64,
    /// Its sector.
    pub block_bytes: u64,
    /// What the server can.
    pub server_flags: u16,
    /// How long requests wait for a new connection when there is none.
    pub dead_connection_s: u64,
    /// By which we find the device again.
    pub backend: String,
}

/// A change of a device that is there.
#[derive(Clone, Debug)]
pub struct Reconfigure {
    /// /dev/nbdN.
    pub index: u32,
    /// What it was made with: a device of somebody else is left alone.
    pub backend: String,
    /// Its size from now on.
    pub size_bytes: Option<u64>,
}

/// A message of the family: a command and its attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Message {
    command: u8,
    attributes: Vec<DefaultNla>,
}

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        VERSION
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(buffer: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        let attributes = attributes(buffer)?.into_iter().map(|(kind, value)| DefaultNla::new(kind, value));
        Ok(Self { command: header.cmd, attributes: attributes.collect() })
    }
}

fn attributes(buffer: &[u8]) -> Result<Vec<(u16, Vec<u8>)>, DecodeError> {
    NlasIterator::new(buffer)
        .map(|one: Result<NlaBuffer<_>, _>| one.map(|nla| (nla.kind(), nla.value().to_vec())))
        .collect()
}

impl Message {
    fn number(&self, wanted: u16) -> Option<u32> {
        let found = self.attributes.iter().find(|attribute| attribute.kind() == wanted)?;
        number(&value(found))
    }
}

fn value(attribute: &DefaultNla) -> Vec<u8> {
    let mut value = vec![0; attribute.value_len()];
    attribute.emit_value(&mut value);
    value
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn long(kind: u16, value: u64) -> DefaultNla {
    DefaultNla::new(kind, value.to_ne_bytes().to_vec())
}

fn text(kind: u16, value: &str) -> DefaultNla {
    DefaultNla::new(kind, [value.as_bytes(), &[0]].concat())
}

fn nest(kind: u16, inner: &DefaultNla) -> DefaultNla {
    let mut value = vec![0; inner.buffer_len()];
    inner.emit(&mut value);
    DefaultNla::new(kind | NESTED, value)
}

fn sockets(socket: BorrowedFd<'_>) -> DefaultNla {
    let fd = DefaultNla::new(SOCKET_FD, socket.as_raw_fd().to_ne_bytes().to_vec());
    nest(SOCKETS, &nest(SOCKET_ITEM, &fd))
}

/// Makes the device of this number of a connection behind its handshake.
///
/// # Errors
/// The kernel refuses; `ResourceBusy` when the number is in use.
pub fn connect(wish: &Connect, index: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = vec![
        DefaultNla::new(INDEX, index.to_ne_bytes().to_vec()),
        long(SIZE_BYTES, wish.size_bytes),
        long(BLOCK_BYTES, wish.block_bytes),
        // A request waits as long as it takes; what a dead connection does to it is decided by the next.
        long(TIMEOUT, 0),
        long(SERVER_FLAGS, u64::from(wish.server_flags)),
        long(DEAD_CONNECTION_TIMEOUT, wish.dead_connection_s),
        text(BACKEND, &wish.backend),
        sockets(socket),
    ];
    ask(CONNECT, attributes)
}

/// Changes a device, and gives it a connection in place of a dead one. The kernel says nothing when it has no dead one,
/// and then takes none: asking again with the same changes nothing.
///
/// # Errors
/// The kernel refuses, for example because the device is another's.
pub fn reconfigure(wish: &Reconfigure, socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut attributes = vec![DefaultNla::new(INDEX, wish.index.to_ne_bytes().to_vec()), text(BACKEND, &wish.backend)];
    attributes.extend(wish.size_bytes.map(|size| long(SIZE_BYTES, size)));
    attributes.extend(socket.map(sockets));
    ask(RECONFIGURE, attributes)
}

/// Ends a device: what waits in it fails.
///
/// # Errors
/// The kernel refuses.
pub fn disconnect(index: u32) -> io::Result<()> {
    ask(DISCONNECT, vec![DefaultNla::new(INDEX, index.to_ne_bytes().to_vec())])
}

/// Whether the kernel has the driver.
pub fn is_there() -> bool {
    family().is_ok()
}

/// The kernel's word that connections are dead.
pub struct Deaths {
    socket: TokioSocket,
}

impl Deaths {
    /// Listens from now on.
    ///
    /// # Errors
    /// There is no such driver, or not for us.
    pub fn listen() -> io::Result<Self> {
        let (_, group) = family()?;
        let mut socket = TokioSocket::new(NETLINK_GENERIC)?;
        socket.socket_mut().bind_auto()?;
        socket.socket_mut().add_membership(group)?;
        Ok(Self { socket })
    }

    /// The number of the next device with a dead connection.
    ///
    /// # Errors
    /// Some may have been missed: look at the device itself.
    pub async fn next(&mut self) -> io::Result<u32> {
        loop {
            let (bytes, _) = self.socket.recv_from_full().await?;
            let message = NetlinkMessage::<GenlMessage<Message>>::deserialize(&bytes).map_err(io::Error::other)?;
            if let NetlinkPayload::InnerMessage(message) = message.payload
                && message.payload.command == LINK_DEAD
                && let Some(index) = message.payload.number(INDEX)
            {
                return Ok(index);
            }
        }
    }
}

fn ask(command: u8, attributes: Vec<DefaultNla>) -> io::Result<()> {
    let (family, _) = family()?;
    exchange(family, Message { command, attributes }).map(drop)
}

/// Numbers of the family and of its group.
fn family() -> io::Result<(u16, u32)> {
    let name = text(CONTROLLER_FAMILY_NAME, FAMILY);
    let replies = exchange(CONTROLLER, Message { command: CONTROLLER_GET_FAMILY, attributes: vec![name] })?;
    let found = replies.first().and_then(|reply| {
        let attributes = &reply.attributes;
        let id = attributes.iter().find(|one| one.kind() == CONTROLLER_FAMILY_ID).map(value)?;
        let id = u16::from_ne_bytes(*id.first_chunk()?);
        let groups = attributes.iter().find(|one| one.kind() == CONTROLLER_GROUPS).map(value)?;
        Some((id, group(&groups)?))
    });
    found.ok_or_else(|| io::Error::other("the kernel's nbd driver has no group for dead connections"))
}

fn group(groups: &[u8]) -> Option<u32> {
    attributes(groups).ok()?.into_iter().find_map(|(_, group)| {
        let of = attributes(&group).ok()?;
        let name = of.iter().find(|(kind, _)| *kind == GROUP_NAME)?;
        let id = of.iter().find(|(kind, _)| *kind == GROUP_ID)?;
        (name.1.strip_suffix(&[0]) == Some(GROUP.as_bytes())).then(|| number(&id.1)).flatten()
    })
}

/// Asks and collects the answers up to the kernel's acknowledgement.
fn exchange(family: u16, message: Message) -> io::Result<Vec<Message>> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut genl = GenlMessage::from_payload(message);
    genl.set_resolved_family_id(family);
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(genl));
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let packet = NetlinkMessage::<GenlMessage<Message>>::deserialize(rest).map_err(io::Error::other)?;
            match packet.payload {
                NetlinkPayload::InnerMessage(message) => answers.push(message.payload),
                NetlinkPayload::Error(error) => {
                    return match error.code {
                        None => Ok(answers),
                        Some(code) => Err(io::Error::from_raw_os_error(code.get().abs())),
                    };
                }
                NetlinkPayload::Done(_) => return Ok(answers),
                _ => {}
            }
            let len = usize::try_from(packet.header.length).map_err(io::Error::other)?.next_multiple_of(4);
            rest = rest.get(len.max(1)..).unwrap_or_default();
        }
    }
}
