//! What a client sends behind its last response is read for a while and dropped. A reset would cost a client the
//! response that sends its whole body before it reads (RFC 9112 §9.6).

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};

use super::departure::MOMENT;
use super::worker::Worker;

/// How long it is waited for more, and how long that goes on at most (nginx has 5 and 30 s).
pub(super) const QUIET: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);

/// Bytes that are read at a time. No memory is kept for them while nothing comes.
const SPACE: usize = 8 * 1024;

/// Reads on until there is nothing more, nothing came for a while, or it has gone on for too long.
pub(super) async fn linger(from: &mut (impl AsyncRead + Unpin), worker: &Worker) {
    let begun = Instant::now();
    let is_soft = worker.drain.is_soft();
    let longest = || match worker.is_draining() {
        true if is_soft => MOMENT,
        true => QUIET,
        false => LONGEST,
    };
    let quiet = if is_soft { MOMENT } else { QUIET };
    while begun.elapsed() < longest() {
        let read = poll_fn(|cx| {
            let mut space = [MaybeUninit::uninit(); SPACE];
            let mut dropped = ReadBuf::uninit(&mut space);
            let read = Pin::new(&mut *from).poll_read(cx, &mut dropped);
            read.map(|read| read.map_or(0, |()| dropped.filled().len()))
        });
        if !matches!(tokio::time::timeout(quiet, read).await, Ok(1..)) {
            return;
        }
    }
}
