//! The control socket between host and zygote: whole packets, with descriptors beside the bytes.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

/// Largest packet in bytes.
pub const PACKET_BYTES_MAX: usize = 32 * 1024;
/// Most descriptors in one packet.
pub const DESCRIPTORS_MAX: usize = 4;

/// Two connected ends. Packets keep their borders; an end whose peer is gone reads as end of file.
///
/// # Errors
/// What the kernel said: no descriptors left.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = SocketType::SEQPACKET;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// Sends one packet.
///
/// # Errors
/// What the kernel said; `BrokenPipe` if the peer is gone.
///
/// # Blocking
/// While the peer's buffer is full.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    loop {
        match rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Says that nothing more will be sent; what the peer sends still arrives.
pub fn end_sending(socket: impl AsFd) {
    // Fails only if the peer is gone, and then it needs no telling.
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Write);
}

/// One received packet.
#[derive(Debug)]
pub struct Packet {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its descriptors, owned by the receiver now.
    pub descriptors: Vec<OwnedFd>,
}

/// Receives one packet; none if the peer is gone, or if `wait` is false and nothing has come.
///
/// # Errors
/// What the kernel said; `WouldBlock` if `wait` is false and nothing has come; `InvalidData` for a packet
/// that does not fit. Descriptors this process has no room for are missing from the packet.
///
/// # Blocking
/// If `wait`, until a packet comes or the peer goes.
pub fn receive(socket: impl AsFd, wait: bool) -> io::Result<Option<Packet>> {
    let mut bytes = vec![0_u8; PACKET_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    let received = loop {
        match rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags) {
            Ok(received) => break received,
            Err(Errno::INTR) => {}
            // A peer that died with packets of ours unread.
            Err(Errno::CONNRESET) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    };
    let descriptors: Vec<OwnedFd> = ancillary
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
            _ => Vec::new(),
        })
        .collect();
    if received.bytes == 0 {
        return Ok(None);
    }
    // Descriptors cut off (CTRUNC) are the receiver's own limit on them: what was said is still worth hearing.
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    bytes.truncate(received.bytes);
    Ok(Some(Packet { bytes, descriptors }))
}

/// Connects to the packet socket with this abstract name.
///
/// # Errors
/// What the kernel said; `ConnectionRefused` if nobody listens.
pub fn connect_abstract(name: &str) -> io::Result<OwnedFd> {
    let address = rustix::net::SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// Listens under this abstract name.
///
/// # Errors
/// What the kernel said; `AddrInUse` if somebody else does.
pub fn listen_abstract(name: &str) -> io::Result<OwnedFd> {
    let address = rustix::net::SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}

/// [`connect_abstract`], and never waits: [`listen_abstract`]'s side may be stopped.
///
/// # Errors
/// What the kernel said; `ConnectionRefused` if nobody listens, `WouldBlock` if too many wait to be taken.
pub fn try_connect_abstract(name: &str) -> io::Result<OwnedFd> {
    let address = rustix::net::SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// Ends a connection in both directions, whoever has its descriptor still.
pub fn hang_up(socket: impl AsFd) {
    // Fails only if the peer is gone already.
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
}

/// Takes the next connection; none if nobody is waiting.
///
/// # Errors
/// What the kernel said.
pub fn accept(listener: impl AsFd) -> io::Result<Option<OwnedFd>> {
    match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Who is behind the other end, as it was when it connected or began to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// Process id; 0 for one that has none here.
    pub pid: u32,
    /// User id.
    pub user: u32,
    /// Group id, the first one.
    pub group: u32,
}

/// Who is behind the other end.
///
/// # Errors
/// What the kernel said.
pub fn peer_credentials(socket: impl AsFd) -> io::Result<Credentials> {
    let found = rustix::net::sockopt::socket_peercred(socket)?;
    let pid = u32::try_from(found.pid.as_raw_nonzero().get()).unwrap_or(0);
    Ok(Credentials { pid, user: found.uid.as_raw(), group: found.gid.as_raw() })
}

/// The user id behind the other end, as it was when it connected.
///
/// # Errors
/// What the kernel said.
pub fn peer_user(socket: impl AsFd) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(socket)?.uid.as_raw())
}
