//! The sockets that listen, from the kernel's own table of them: see sock_diag(7).
//!
//! `/proc/net/tcp` lists all sockets, for which the kernel looks into every slot of its table of connections: half a
//! million on a machine with much memory, ten milliseconds for each reading. Asked for those that listen it looks at
//! those only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recvfrom, send, socket_with,
};

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLMSG_DONE`.
const DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `AF_UNIX`, `UDIAG_SHOW_VFS`, and the attribute that this asks for, `UNIX_DIAG_VFS`.
const UNIX: u8 = 1;
const SHOW_FILE: u32 = 2;
const FILE: u16 = 1;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// `1 << TCP_LISTEN`.
const LISTENING: u32 = 1 << 10;
const TCP: u8 = 6;
const INET: u8 = 2;
const INET6: u8 = 10;

/// The kernel answers at once.
const LONGEST: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) uid: u32,
    /// The socket's own number: `/proc/PID/fd` has it as `socket:[INODE]`.
    pub(super) inode: u64,
}

/// A socket to ask the kernel with, which waits for an answer for [`LONGEST`].
fn open() -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(LONGEST))?;
    Ok(socket)
}

/// All TCP sockets of this network namespace that listen. Blocks.
///
/// # Errors
/// The kernel has no sock_diag, or this process may not ask it.
pub(super) fn listeners() -> io::Result<Vec<Listener>> {
    let socket = open()?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    for family in [INET, INET6] {
        send(&socket, &request(family), SendFlags::empty())?;
        loop {
            let (length, _, from) = recvfrom(&socket, &mut buffer[..], RecvFlags::empty())?;
            let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
            // Its number is 0: others may write to us, too.
            if from.is_none_or(|from| from.pid() != 0) {
                continue;
            }
            match take(&buffer[..length], &mut found)? {
                Progress::Over => break,
                Progress::More => {}
            }
        }
    }
    Ok(found)
}

/// The inode, its lower 32 bits, of the file that the Unix socket with this number is bound to; `None` if it is bound
/// to none. Blocks.
///
/// # Errors
/// The kernel does not tell: it has no `unix_diag`.
pub(crate) fn file_of_unix_socket(inode: u64) -> io::Result<Option<u32>> {
    let inode = u32::try_from(inode).map_err(io::Error::other)?;
    let socket = open()?;
    send(&socket, &unix_request(inode), SendFlags::empty())?;
    let mut buffer = vec![0; 4096];
    loop {
        let (length, _, from) = recvfrom(&socket, &mut buffer[..], RecvFlags::empty())?;
        let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
        if from.is_some_and(|from| from.pid() == 0) {
            return unix_file(&buffer[..length]);
        }
    }
}

/// `struct nlmsghdr` and `struct unix_diag_req`.
fn unix_request(inode: u32) -> Vec<u8> {
    const LENGTH: u32 = HEADER as u32 + 24;
    let mut bytes = LENGTH.to_ne_bytes().to_vec();
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([UNIX, 0, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(inode.to_ne_bytes());
    bytes.extend(SHOW_FILE.to_ne_bytes());
    // No cookie.
    bytes.extend([0xff; 8]);
    bytes
}

/// Finds the file's inode among the attributes behind `struct unix_diag_msg`.
fn unix_file(answer: &[u8]) -> io::Result<Option<u32>> {
    let kind = answer
        .get(4..6)
        .map(|two| u16::from_ne_bytes([two[0], two[1]]));
    if kind == Some(ERROR) {
        let errno = u32_at(answer, HEADER).cast_signed();
        return Err(io::Error::from_raw_os_error(errno.saturating_neg()));
    }
    let mut rest = answer.get(HEADER + 16..).unwrap_or_default();
    while let Some(head) = rest.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        if u16::from_ne_bytes([head[2], head[3]]) == FILE && length >= 8 && rest.len() >= 8 {
            return Ok(Some(u32_at(rest, 4)));
        }
        let next = length.max(4).next_multiple_of(4).min(rest.len());
        rest = &rest[next..];
    }
    Ok(None)
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    More,
    Over,
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(family: u8) -> Vec<u8> {
    const LENGTH: u32 = HEADER as u32 + 56;
    let mut bytes = LENGTH.to_ne_bytes().to_vec();
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, TCP, 0, 0]);
    bytes.extend(LISTENING.to_ne_bytes());
    bytes.resize(LENGTH as usize, 0);
    bytes
}

/// Takes the sockets out of one answer.
fn take(mut answer: &[u8], found: &mut Vec<Listener>) -> io::Result<Progress> {
    while let Some(header) = answer.first_chunk::<HEADER>() {
        let length = u32_at(header, 0) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let body = answer.get(HEADER..length);
        let body = body.ok_or_else(|| io::Error::other("sock_diag: a message that is cut off"))?;
        match kind {
            DONE => return Ok(Progress::Over),
            ERROR => {
                let errno = body
                    .first_chunk()
                    .map_or(0, |four| i32::from_ne_bytes(*four));
                return Err(io::Error::from_raw_os_error(errno.saturating_neg()));
            }
            BY_FAMILY => found.extend(body.first_chunk().and_then(listener)),
            _ => {}
        }
        let next = length.next_multiple_of(4).min(answer.len());
        answer = &answer[next..];
    }
    Ok(Progress::More)
}

/// Family in the first byte; port and address of the socket, in the network's order, from bytes 4 and 8; user and inode
/// in the last eight.
fn listener(message: &[u8; MESSAGE]) -> Option<Listener> {
    let port = u16::from_be_bytes([message[4], message[5]]);
    let ip = match message[0] {
        INET => IpAddr::from(Ipv4Addr::from(*message[8..].first_chunk()?)),
        INET6 => IpAddr::from(Ipv6Addr::from(*message[8..].first_chunk()?)),
        _ => return None,
    };
    Some(Listener {
        address: SocketAddr::new(ip, port),
        uid: u32_at(message, 64),
        inode: u64::from(u32_at(message, 68)),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..).and_then(<[u8]>::first_chunk);
    four.map_or(0, |four| u32::from_ne_bytes(*four))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn own_listeners_of_both_families_are_found() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let bound = listener.local_addr().unwrap();
            let own = || {
                let all = listeners().unwrap();
                all.into_iter().find(|l| l.address == bound)
            };
            let found = own().unwrap();
            assert_eq!(found.uid, nix::unistd::geteuid().as_raw());
            assert!(super::super::procfs::sockets(std::process::id()).any(|i| i == found.inode));
            drop(listener);
            assert_eq!(own(), None);
        }
    }

    #[test]
    fn answers_are_read_to_their_end_and_no_further() {
        let mut socket = [0; MESSAGE];
        socket[0] = INET;
        socket[4..6].copy_from_slice(&8001_u16.to_be_bytes());
        socket[8..12].copy_from_slice(&[127, 0, 0, 1]);
        socket[64..68].copy_from_slice(&33_u32.to_ne_bytes());
        socket[68..].copy_from_slice(&7_u32.to_ne_bytes());
        let one = message(BY_FAMILY, &socket);
        let mut found = Vec::new();
        let both = [one.clone(), message(99, b"odd"), one.clone()].concat();
        assert_eq!(take(&both, &mut found).unwrap(), Progress::More);
        let expected = Listener {
            address: "127.0.0.1:8001".parse().unwrap(),
            uid: 33,
            inode: 7,
        };
        assert_eq!(found, [expected, expected]);
        let over = [message(DONE, &[0; 4]), one.clone()].concat();
        assert_eq!(take(&over, &mut Vec::new()).unwrap(), Progress::Over);
        let refused = message(ERROR, &(-2_i32).to_ne_bytes());
        let error = take(&refused, &mut Vec::new()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(2));
        for length in HEADER..one.len() {
            assert!(take(&one[..length], &mut Vec::new()).is_err(), "{length}");
        }
        let short = message(BY_FAMILY, &socket[..MESSAGE - 1]);
        let mut none = Vec::new();
        assert_eq!(take(&short, &mut none).unwrap(), Progress::More);
        assert_eq!(
            take(&[0; HEADER], &mut none).map_err(|e| e.kind()).err(),
            Some(io::ErrorKind::Other)
        );
        assert!(none.is_empty());
    }
}
