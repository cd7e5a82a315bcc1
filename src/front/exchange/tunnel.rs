//! Carries bytes both ways after a 101, until both sides close, nothing moves for the idle limit, or it is cut.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::buffer::{Buffer, Spare};
use super::deadline::Deadline;
use super::flow::Flow;
use crate::front::http::framing::Framing;

/// Bytes of each direction in memory.
const SPACE: usize = 16 * 1024;

/// The time that a tunnel has to close in good order once it is cut.
pub const CLOSING: Duration = Duration::from_millis(500);

/// One end of a tunnel.
pub struct Side<'s, S> {
    pub stream: &'s mut S,
    /// Bytes that came from it before the tunnel began.
    pub input: Buffer,
}

/// One direction: the bytes that were read, those that are pending, and whether the end was passed on.
struct Direction<'h> {
    input: Buffer,
    flow: Flow<'h>,
    ended: bool,
    closed: bool,
}

impl<'h> Direction<'h> {
    fn new(head: &'h [u8], input: Buffer) -> Self {
        Self {
            input,
            flow: Flow::new(head, Framing::UntilClose, Framing::UntilClose),
            ended: false,
            closed: false,
        }
    }

    /// Moves what can be moved. Ready once something moved.
    fn poll<F, T>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
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
        // What TLS has taken may wait for the socket.
        if Pin::new(&mut *to).poll_flush(cx)?.is_pending() && self.flow.is_clear() {
            return if moved {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        }
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

/// Runs a tunnel. The client gets `head` first and what came behind it, the backend what the client sent already.
/// `carried` counts the bytes from the client and to it. Once `cut` resolves it reads nothing more, passes on what it
/// read, and closes both sides.
///
/// # Errors
/// What a read or write returns, or [`io::ErrorKind::TimedOut`] when nothing moved for `idle` or closing took too long.
pub async fn run<C, U>(
    client: Side<'_, C>,
    upstream: Side<'_, U>,
    head: Vec<u8>,
    idle: Duration,
    spare: &Spare,
    carried: &Cell<(u64, u64)>,
    cut: impl Future<Output = ()>,
) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Direction::new(b"", client.input);
    let mut down = Direction::new(&head, upstream.input);
    let (client, upstream) = (client.stream, upstream.stream);
    let mut deadline = Deadline::new(idle);
    let (mut cut, mut is_cut) = (pin!(cut), false);
    while !(up.closed && down.closed) {
        poll_fn(|cx| {
            if !is_cut && cut.as_mut().poll(cx).is_ready() {
                (is_cut, up.ended, down.ended) = (true, true, true);
                deadline.set(CLOSING);
            }
            let upward = up.poll(cx, client, upstream, spare)?;
            let downward = down.poll(cx, upstream, client, spare)?;
            carried.set((up.flow.payload(), down.flow.payload()));
            if upward.is_ready() || downward.is_ready() {
                return Poll::Ready(Ok(()));
            }
            deadline
                .poll(cx)
                .map(|()| Err(io::Error::from(io::ErrorKind::TimedOut)))
        })
        .await?;
        if !is_cut {
            deadline.set(idle);
        }
    }
    if is_cut {
        // Bytes that nobody reads become a reset, which would cost the other end what it has not read yet.
        poll_fn(|cx| {
            let both = (poll_rest(cx, client), poll_rest(cx, upstream));
            if both.0.is_ready() && both.1.is_ready() {
                return Poll::Ready(());
            }
            deadline.poll(cx)
        })
        .await;
    }
    Ok(())
}

/// Reads and drops. Ready once the stream has ended, well or not.
fn poll_rest<S: AsyncRead + Unpin>(cx: &mut Context<'_>, stream: &mut S) -> Poll<()> {
    let mut space = [0; 4096];
    loop {
        let mut space = ReadBuf::new(&mut space);
        let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut space));
        if read.is_err() || space.filled().is_empty() {
            return Poll::Ready(());
        }
    }
}
