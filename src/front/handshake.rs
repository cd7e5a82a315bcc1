//! The TLS handshake of a connection, and the stream that it becomes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::InvalidMessage;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::exchange::client_end::{ClientEnd, ClientStream};

/// Bytes of plaintext that rustls keeps for a socket that takes none. A second write waits for them.
const UNSENT: usize = 16 * 1024;

/// What a client gets that speaks HTTP where TLS is expected. Its request is not read: nothing of it was protected.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 61\r\n\
    Connection: close\r\n\r\nThis port speaks HTTPS: begin the address with \"https://\".\n\n";

/// A connection whose handshake is done.
pub(super) struct SecureStream(Box<TlsStream<TcpStream>>);

/// Shakes hands within `limit`. `None`: the client did not, and was told if it can understand it.
pub(super) async fn accept(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    limit: Duration,
) -> Option<SecureStream> {
    let prepare = |session: &mut rustls::ServerConnection| session.set_buffer_limit(Some(UNSENT));
    let accepting = acceptor.accept_with(stream, prepare).into_fallible();
    match tokio::time::timeout(limit, accepting).await {
        Ok(Ok(stream)) => return Some(SecureStream(Box::new(stream))),
        Ok(Err((error, mut stream))) => {
            log::debug!("a TLS handshake failed: {error}");
            if is_plain_text(&error) {
                // Whoever does not take 150 bytes at once does without.
                let _nobody = tokio::time::timeout(limit, stream.write_all(PLAIN)).await;
            }
        }
        Err(_) => log::debug!("a TLS handshake took longer than {limit:?}"),
    }
    None
}

/// Whether the first byte was none of TLS.
fn is_plain_text(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(
        cause,
        Some(rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType
        ))
    )
}

impl ClientStream for SecureStream {
    fn end(&self) -> Option<ClientEnd> {
        self.0.get_ref().0.end()
    }
}

impl AsyncRead for SecureStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
