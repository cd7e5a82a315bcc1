//! The TLS handshake of a connection, and the stream that it becomes.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::server::Acceptor;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::exchange::client_end::{ClientEnd, ClientStream};
use super::worker::Worker;
use crate::acme::challenges::ALPN;
use crate::tls::server_config::{HTTP2, Tls, proving};

/// Bytes that rustls keeps for a socket that takes none. A second write waits for them.
const UNSENT: usize = 16 * 1024;

/// The same by HTTP/2, where so much is gathered for one system call.
const GATHERED: usize = 64 * 1024;

/// What a client gets that speaks HTTP where TLS is expected. Its request is not read: nothing of it was protected.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 59\r\n\
    Connection: close\r\n\r\nThis port speaks HTTPS: begin the address with \"https://\".\n";

/// The content type of a record with a ClientHello (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// A record with a fatal alert (RFC 8446 §6.2). rustls would say "access denied".
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

/// A connection whose handshake is done.
pub(super) struct SecureStream {
    stream: Box<TlsStream<TcpStream>>,
    /// The client chose HTTP/2: what is written is encrypted and waits for a flush, or until there is much of it. The
    /// frames of many streams go in one system call then.
    is_http2: bool,
}

impl SecureStream {
    fn new(mut stream: TlsStream<TcpStream>) -> Self {
        let session = stream.get_mut().1;
        let is_http2 = session.alpn_protocol() == Some(HTTP2);
        let limit = if is_http2 { GATHERED } else { UNSENT };
        session.set_buffer_limit(Some(limit));
        let stream = Box::new(stream);
        Self { stream, is_http2 }
    }

    /// Whether the client chose HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// Encrypts what there is room for. Waits for the socket only if there is none.
    fn poll_gather(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            let session = self.stream.get_mut().1;
            let gathered = session.writer().write_vectored(slices)?;
            if gathered > 0 {
                return Poll::Ready(Ok(gathered));
            }
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        }
    }
}

/// Shakes hands within `limit`. `None`: the client did not, and was told if it can understand it.
pub(super) async fn accept(
    worker: &Worker,
    tls: &Tls,
    stream: TcpStream,
    limit: Duration,
) -> Option<SecureStream> {
    match tokio::time::timeout(limit, shake_hands(worker, tls, stream)).await {
        Ok(Ok(stream)) => return Some(SecureStream::new(stream)),
        Ok(Err(error)) => log::debug!("a TLS handshake failed: {error}"),
        Err(_) => log::debug!("a TLS handshake took longer than {limit:?}"),
    }
    None
}

async fn shake_hands(
    worker: &Worker,
    tls: &Tls,
    mut stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        stream.write_all(PLAIN).await?;
        // Only so much is read that the answer is not lost to a reset.
        stream.shutdown().await?;
        let _dropped = stream.read(&mut [0; 8192]).await?;
        return Err(io::Error::other("the client does not speak TLS"));
    }
    let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    // A certificate authority offers this alone (RFC 8737 §3). What offers others, too, wants one of these.
    let is_challenge = hello
        .alpn()
        .is_some_and(|mut all| all.next() == Some(ALPN) && all.next().is_none());
    if is_challenge {
        let name = hello.server_name();
        let key = name.and_then(|name| worker.challenges.borrow().certificate(name));
        return Err(prove(start, key).await);
    }
    let name = hello.server_name();
    if !tls.has_certificate(name) {
        start.io.write_all(UNRECOGNIZED_NAME).await?;
        return Err(io::Error::other(
            "the client asks for a name without a certificate",
        ));
    }
    let app = name.and_then(|name| worker.routes.by_host(name));
    let config = tls.config(&hello, app.is_none_or(|app| app.tls.http2));
    start.into_stream(config).await
}

/// Shows a certificate authority the certificate that it looks for, and nothing else (RFC 8737 §3).
async fn prove(mut start: StartHandshake<TcpStream>, key: Option<Arc<CertifiedKey>>) -> io::Error {
    let done = async {
        let Some(key) = key else {
            return start.io.write_all(UNRECOGNIZED_NAME).await;
        };
        let config = proving(key, ALPN).map_err(io::Error::other)?;
        start.into_stream(Arc::new(config)).await?.shutdown().await
    };
    match done.await {
        Ok(()) => io::Error::other("a certificate authority looked whether the name leads here"),
        Err(error) => error,
    }
}

impl ClientStream for SecureStream {
    fn end(&self) -> Option<ClientEnd> {
        self.stream.get_ref().0.end()
    }
}

impl AsyncRead for SecureStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_http2 {
            return self.poll_gather(cx, &[io::IoSlice::new(buf)]);
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_http2 {
            return self.poll_gather(cx, bufs);
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
