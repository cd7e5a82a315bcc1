//! [`Traffic`]: what a connection carries, and [`Counted`], the stream that counts it.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flood;

/// Bytes of a connection and of what they carry, both ways.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    read: Cell<u64>,
    written: Cell<u64>,
    payload: Cell<u64>,
    /// The client takes nothing at the moment.
    is_stuck: Cell<bool>,
}

impl Traffic {
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
        let before = buf.filled().len();
        let read = Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, buf);
        add(&self.traffic.read, buf.filled().len() - before);
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
        let flushed = Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx);
        self.traffic.is_stuck.set(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }
}
