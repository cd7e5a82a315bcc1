//! Reads the PROXY header of a connection that a trusted proxy opened, and says whose connection it is then.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::exchange::client::Endpoints;
use super::proxy_header::{self, HeaderError, LONGEST, Named};

/// Space for a header before it turns out to be longer.
const SPACE: usize = 256;

/// Why a connection has no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHeader {
    /// Nothing came: a balancer looked whether somebody listens.
    #[error("the connection ended before its first byte")]
    Nothing,
    #[error("{0}")]
    Wrong(#[from] HeaderError),
    #[error("the PROXY header is cut off")]
    CutOff,
    #[error("no PROXY header came in {0:?}")]
    Slow(Duration),
}

/// Reads the header within `limit`, and not a byte behind it.
pub(super) async fn header(stream: &mut TcpStream, limit: Duration) -> Result<Named, NoHeader> {
    let named = tokio::time::timeout(limit, read(stream)).await;
    named.unwrap_or(Err(NoHeader::Slow(limit)))
}

async fn read(stream: &mut TcpStream) -> Result<Named, NoHeader> {
    let (mut space, mut read) = (vec![0; SPACE], 0);
    loop {
        if read == space.len() {
            space.resize(LONGEST, 0);
        }
        let ended = |_: io::Error| match read {
            0 => NoHeader::Nothing,
            _ => NoHeader::CutOff,
        };
        let count = stream.peek(&mut space[read..]).await.map_err(ended)?;
        if count == 0 {
            return Err(ended(io::ErrorKind::UnexpectedEof.into()));
        }
        let header = proxy_header::parse(&space[..read + count])?;
        // What was looked at is there, so this takes it at once.
        let end = header.map_or(read + count, |header| header.length);
        let taken = stream.read_exact(&mut space[read..end]).await;
        taken.map_err(ended)?;
        if let Some(header) = header {
            return Ok(header.named);
        }
        read = end;
    }
}

/// Whose connection it is once its proxy has `named` a client. Forwarding fields are believed if the client is a trusted
/// proxy itself. Of a connection that names nobody they are not: whoever wrote them, the proxy that is trusted with a
/// header looked at none of them.
pub(super) fn endpoints(
    of_proxy: &Endpoints,
    named: Named,
    trusts: impl Fn(std::net::SocketAddr) -> bool,
) -> Endpoints {
    match named {
        Named::Client { from, to } => Endpoints {
            peer: from,
            local: match to.port() {
                0 => of_proxy.local,
                _ => to,
            },
            is_trusted: trusts(from),
            ..*of_proxy
        },
        Named::Nobody => Endpoints {
            is_trusted: false,
            ..*of_proxy
        },
    }
}
