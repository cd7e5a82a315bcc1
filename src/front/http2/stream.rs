//! [`RequestStream`]: a stream of HTTP/2 as the connection that carries its request.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::reply::Reply;
use super::upload::Upload;
use crate::front::exchange::client_end::{ClientEnd, ClientStream};
use crate::front::linger::linger;
use crate::front::worker::Worker;

/// Reads as what a client of HTTP/1.1 sends behind the head of its request, and takes the bytes that such a client is
/// answered with.
#[derive(Debug)]
pub(super) struct RequestStream {
    upload: Upload,
    /// Shared with who waits for the client's end while nothing is read.
    reply: Rc<RefCell<Reply>>,
}

impl RequestStream {
    pub(super) fn new(upload: Upload, reply: Reply) -> Self {
        let reply = Rc::new(RefCell::new(reply));
        Self { upload, reply }
    }

    /// Whether the client has the whole response, or could have it.
    pub(super) fn is_answered(&self) -> bool {
        self.reply.borrow().is_whole()
    }

    /// Whether the client gave the request up, or is gone.
    pub(super) fn is_given_up(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.reply.borrow_mut().poll_reset(&mut cx).is_ready()
    }

    /// Reads on for a while. The response is whole, but to some clients a stream has failed that is reset while they
    /// send (curl 7.88).
    pub(super) async fn linger(&mut self, worker: &Worker) {
        linger(&mut self.upload, worker).await;
    }

    /// Ends it. A response that broke off must not look whole.
    pub(super) fn end(&self) {
        self.reply.borrow_mut().break_off();
    }
}

impl ClientStream for RequestStream {
    fn end(&self) -> Option<ClientEnd> {
        let reply = Rc::clone(&self.reply);
        Some(ClientEnd::told_by(move |cx| {
            reply.borrow_mut().poll_reset(cx)
        }))
    }
}

impl AsyncRead for RequestStream {
    /// Behind the request nothing comes but its end, which is an error: as long as the client waits for its answer, it
    /// is there.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.upload.is_read() {
            let before = buf.filled().len();
            let read = Pin::new(&mut self.upload).poll_read(cx, buf);
            if !matches!(read, Poll::Ready(Ok(()))) || buf.filled().len() > before {
                return read;
            }
        }
        let reset = self.reply.borrow_mut().poll_reset(cx);
        reset.map(|()| Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncWrite for RequestStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.reply.borrow_mut().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut reply = self.reply.borrow_mut();
        let mut taken = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match reply.poll_write(cx, slice) {
                Poll::Ready(Ok(count)) => {
                    taken += count;
                    if count < slice.len() {
                        break;
                    }
                }
                Poll::Pending if taken > 0 => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
