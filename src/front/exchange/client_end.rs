//! [`ClientEnd`]: tells that a client has ended while nothing is read from it.
//!
//! Once the buffer is full, what a client sends behind its request waits in the kernel, and its end waits behind that.
//! A read does not reach the end then, but the kernel tells it all the same (EPOLLRDHUP).

use std::fmt;
use std::future::Future as _;
use std::io;
use std::os::fd::AsFd as _;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, Interest};
use tokio::net::TcpStream;

pub trait ClientStream: AsyncRead + AsyncWrite + Unpin {
    /// Returns what tells the stream's end while nothing is read from it, if anything can.
    fn end(&self) -> Option<ClientEnd>;
}

impl ClientStream for TcpStream {
    fn end(&self) -> Option<ClientEnd> {
        ClientEnd::of(self).ok()
    }
}

impl ClientStream for DuplexStream {
    fn end(&self) -> Option<ClientEnd> {
        None
    }
}

/// Tells the end of a connection. It has a descriptor of its own, because what tokio knows of the stream's readiness
/// must stay as it is.
pub struct ClientEnd(Told);

/// Who tells it.
enum Told {
    Socket(TcpStream),
    /// What carries the stream.
    Carrier(Box<PollEnd>),
}

type PollEnd = dyn Fn(&mut Context<'_>) -> Poll<()>;

impl fmt::Debug for ClientEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientEnd")
    }
}

impl ClientEnd {
    fn of(stream: &TcpStream) -> io::Result<Self> {
        let own = stream.as_fd().try_clone_to_owned()?;
        let own = TcpStream::from_std(own.into())?;
        Ok(Self(Told::Socket(own)))
    }

    /// The end of a stream that is no connection of its own: `poll` tells it.
    pub fn told_by(poll: impl Fn(&mut Context<'_>) -> Poll<()> + 'static) -> Self {
        Self(Told::Carrier(Box::new(poll)))
    }

    /// Ready once the client sends no more, or the connection broke.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.0 {
            Told::Socket(socket) => poll_socket(socket, cx),
            Told::Carrier(poll) => poll(cx),
        }
    }
}

fn poll_socket(socket: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        let broken = ready!(socket.poll_read_ready(cx)).is_err();
        let is_known = std::pin::pin!(socket.ready(Interest::READABLE)).poll(cx);
        if broken || matches!(is_known, Poll::Ready(Ok(ready)) if ready.is_read_closed()) {
            return Poll::Ready(());
        }
        // More bytes came. This clears their readiness, so that the next event wakes.
        let _nothing = socket.try_io(Interest::READABLE, || {
            Err::<(), _>(io::ErrorKind::WouldBlock.into())
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn the_end_is_told_behind_whatever_was_not_read_and_that_stays_readable() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut near, _) = listener.accept().await.unwrap();
        far.write_all(&[7; 100_000]).unwrap();
        let end = near.end().expect("a descriptor");
        let waits = tokio::time::timeout(Duration::from_millis(20), poll_fn(|cx| end.poll(cx)));
        assert!(waits.await.is_err(), "it goes on");
        far.write_all(&[8; 100]).unwrap();
        drop(far);
        let waits = tokio::time::timeout(Duration::from_secs(20), poll_fn(|cx| end.poll(cx)));
        waits.await.expect("it has ended");
        let mut all = Vec::new();
        near.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 100_100);
    }
}
