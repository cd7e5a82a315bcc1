//! [`Traffic`]: what a connection carries, and [`Counted`], the stream that counts it.

use std::cell::{Cell, RefCell};
use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flood;

/// Bytes that are read at a time, before others have their turn. A client can send faster than its frames are read,
/// and a frame can be as short as 9 bytes.
const TURN: usize = 32 * 1024;

/// Bytes of a connection and of what they carry, both ways.
#[derive(Debug)]
pub(super) struct Traffic {
    read: Cell<u64>,
    written: Cell<u64>,
    payload: Cell<u64>,
    /// The client takes nothing at the moment.
    is_stuck: Cell<bool>,
    /// Bytes that may be read yet before others have their turn.
    turn: Cell<usize>,
    /// Flushes are left to the connection.
    gathers: Cell<bool>,
}

impl Traffic {
    pub(super) fn new() -> Self {
        Self {
            read: Cell::new(0),
            written: Cell::new(0),
            payload: Cell::new(0),
            is_stuck: Cell::new(false),
            turn: Cell::new(TURN),
            gathers: Cell::new(false),
        }
    }

    /// From now on the connection flushes, once all frames are written that there are. h2 flushes behind each frame
    /// with data.
    pub(super) fn gather(&self) {
        self.gathers.set(true);
    }

    /// Notes whether the client took all that was flushed.
    pub(super) fn flushed<T>(&self, flushed: &Poll<T>) {
        self.is_stuck.set(flushed.is_pending());
    }

    /// The others have had their turn, or have it next.
    pub(super) fn begin_turn(&self) {
        self.turn.set(TURN);
    }

    /// Counts bytes of a head or a body.
    pub(super) fn carry(&self, payload: usize) {
        add(&self.payload, payload);
    }

    pub(super) fn is_empty_talk(&self) -> bool {
        let frames = self.read.get().saturating_add(self.written.get());
        flood::is_empty_talk(frames, self.payload.get())
    }

    /// While the client takes nothing of what waits for it: how much it has taken.
    pub(super) fn stuck(&self) -> Option<u64> {
        self.is_stuck.get().then_some(self.written.get())
    }
}

fn add(count: &Cell<u64>, bytes: usize) {
    count.set(count.get().saturating_add(bytes as u64));
}

/// Counts what goes through it.
#[derive(Debug)]
pub(super) struct Counted<S> {
    /// Shared with who reads on behind the last frame.
    stream: Rc<RefCell<S>>,
    traffic: Rc<Traffic>,
}

impl<S> Counted<S> {
    pub(super) fn new(stream: Rc<RefCell<S>>, traffic: Rc<Traffic>) -> Self {
        Self { stream, traffic }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.traffic.is_stuck.set(written.is_pending());
        if let Poll::Ready(Ok(count)) = written {
            add(&self.traffic.written, count);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let turn = &self.traffic.turn;
        if turn.get() == 0 {
            // It is polled again once the sockets were looked at. Its own waker would have it polled again before that.
            return pin!(tokio::task::yield_now()).poll(cx).map(Ok);
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, buf);
        let count = buf.filled().len() - before;
        add(&self.traffic.read, count);
        turn.set(turn.get().saturating_sub(count));
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.stream.borrow_mut()).poll_write_vectored(cx, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.traffic.gathers.get() {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx);
        self.traffic.flushed(&flushed);
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_sends_without_end_is_read_in_turns() {
        let traffic = Rc::new(Traffic::new());
        let endless = Rc::new(RefCell::new(tokio::io::repeat(0)));
        let mut counted = Counted::new(endless, Rc::clone(&traffic));
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut space = [0; 1000];
        let mut turn = || {
            let mut reads = 0;
            loop {
                let mut buf = ReadBuf::new(&mut space);
                match Pin::new(&mut counted).poll_read(&mut cx, &mut buf) {
                    Poll::Ready(read) => read.unwrap(),
                    Poll::Pending => return reads,
                }
                reads += 1;
                assert!(reads < 100, "it never ends");
            }
        };
        assert_eq!(turn(), 33);
        // Nothing else will wake it: the bytes are there.
        assert!(woken.0.load(Ordering::Relaxed));
        assert_eq!(turn(), 0);
        traffic.begin_turn();
        assert_eq!(turn(), 33);
    }
}
