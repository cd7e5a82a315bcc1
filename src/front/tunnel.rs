//! After a 101: bytes both ways, until both sides closed or nothing moved for the idle limit.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::buffer::{Buffer, Spare};
use super::deadline::Deadline;
use super::flow::Flow;
use super::framing::Framing;

/// Bytes of each direction in memory.
const SPACE: usize = 16 * 1024;

/// One direction: what was read, what is pending, and whether its end was passed on.
struct Direction {
    input: Buffer,
    flow: Flow,
    ended: bool,
    closed: bool,
}

impl Direction {
    fn new(head: Vec<u8>, input: Buffer) -> Self {
        Self {
            input,
            flow: Flow::new(head, Framing::UntilClose, Framing::UntilClose),
            ended: false,
            closed: false,
        }
    }

    /// Moves what can be moved; ready once something was.
    fn poll<F, T>(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&mut F, &mut T),
        spare: &Spare,
    ) -> Poll<io::Result<()>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        let mut moved = false;
        if !self.ended && !self.input.holds(SPACE) {
            match self.input.poll_fill(cx, from, SPACE, spare)? {
                Poll::Ready(0) => (self.ended, moved) = (true, true),
                Poll::Ready(_) => moved = true,
                Poll::Pending => {}
            }
        }
        self.flow.take(&mut self.input).map_err(io::Error::other)?;
        if !self.flow.is_clear() {
            if self.flow.poll_write(cx, to, &mut self.input)?.is_ready() {
                moved = true;
            }
        } else if self.ended && !self.closed && Pin::new(to).poll_shutdown(cx)?.is_ready() {
            (self.closed, moved) = (true, true);
        }
        if moved {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

/// Runs a tunnel: `head` and what came behind it go to the client first, what the client already sent to the backend.
///
/// # Errors
/// What a read or write returned; [`io::ErrorKind::TimedOut`] when nothing moved for `idle`.
pub async fn run<C, U>(
    (client, client_in): (&mut C, Buffer),
    (upstream, upstream_in): (&mut U, Buffer),
    head: Vec<u8>,
    (idle, spare): (Duration, &Spare),
) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Direction::new(Vec::new(), client_in);
    let mut down = Direction::new(head, upstream_in);
    let mut deadline = Deadline::new(idle);
    while !(up.closed && down.closed) {
        poll_fn(|cx| {
            let upward = up.poll(cx, (client, upstream), spare)?;
            let downward = down.poll(cx, (upstream, client), spare)?;
            if upward.is_ready() || downward.is_ready() {
                return Poll::Ready(Ok(()));
            }
            deadline
                .poll(cx)
                .map(|()| Err(io::Error::from(io::ErrorKind::TimedOut)))
        })
        .await?;
        deadline.set(idle);
    }
    Ok(())
}
