//! The body of a request of git's, piece by piece: perhaps compressed, and never as a whole in memory.

use std::io::{self, Write};
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Bytes, Payload};
use flate2::write::GzDecoder;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Sender;
use tokio::time::timeout;

/// The most that git is given of one request; bytes. It looks by itself at the size of a pack.
const LARGEST: u64 = 1 << 31;

/// So much is decompressed at a time: a thousand times as much comes of it at most.
const PIECE: usize = 4096;

/// Hands a body on to git, which may end before it has taken all of it: the rest is read all the same, since most clients
/// look at the answer, which says why, only after they have sent everything. Between two pieces may be as long as `idle`.
pub(super) async fn feed(
    headers: &HeaderMap,
    mut payload: Payload,
    git: Sender,
    idle: Duration,
) -> io::Result<()> {
    let fed = pass_on(headers, &mut payload, git, idle).await;
    if fed.is_err() {
        let mut left = LARGEST;
        while let Ok(Some(Ok(piece))) = timeout(idle, payload.next()).await {
            match left.checked_sub(piece.len() as u64) {
                Some(less) => left = less,
                None => break,
            }
        }
    }
    fed
}

async fn pass_on(
    headers: &HeaderMap,
    payload: &mut Payload,
    mut git: Sender,
    idle: Duration,
) -> io::Result<()> {
    let encoding = headers.get(header::CONTENT_ENCODING);
    let mut gzip = encoding
        .is_some_and(|is| is == "gzip" || is == "x-gzip")
        .then(|| GzDecoder::new(Vec::new()));
    let mut given = 0;
    while let Some(piece) = timeout(idle, payload.next()).await? {
        let piece: Bytes = piece.map_err(io::Error::other)?;
        let Some(gzip) = &mut gzip else {
            give(&mut git, &piece, &mut given).await?;
            continue;
        };
        for part in piece.chunks(PIECE) {
            gzip.write_all(part)?;
            let plain = std::mem::take(gzip.get_mut());
            give(&mut git, &plain, &mut given).await?;
        }
    }
    if let Some(gzip) = gzip {
        let rest = gzip.finish()?;
        give(&mut git, &rest, &mut given).await?;
    }
    Ok(())
}

async fn give(git: &mut Sender, piece: &[u8], given: &mut u64) -> io::Result<()> {
    *given += piece.len() as u64;
    if *given > LARGEST {
        return Err(io::Error::other("the body is too large"));
    }
    git.write_all(piece).await
}
