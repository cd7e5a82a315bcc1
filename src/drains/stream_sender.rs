//! [`StreamSender`]: syslog over TCP and TLS (RFC 6587 §3.4.1, RFC 5425).
//!
//! Nothing in the protocol says what was taken. A message is out when it was written to the connection; one that was
//! begun on a connection that broke is sent again whole on the next. So no message comes twice, and what a receiver had
//! not read of a connection that it broke off is lost.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::batch::Batch;
use crate::document::drain::DrainConfig;
use crate::outgoing::post::NotTaken;
use crate::outgoing::trusted;

/// For connecting and the handshake.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a receiver may take nothing, and the network may confirm nothing.
const STALLED: Duration = Duration::from_secs(30);

/// Written at once: a record of TLS.
const PIECE: usize = 16 * 1024;

trait Connection: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Connection for T {}

pub(super) struct StreamSender {
    config: DrainConfig,
    connection: Option<Box<dyn Connection>>,
}

impl StreamSender {
    pub(super) fn new(config: DrainConfig) -> Self {
        Self {
            config,
            connection: None,
        }
    }

    /// Resolves when the receiver has closed the connection; never while there is none.
    pub(super) async fn closed(&mut self) {
        let Some(connection) = &mut self.connection else {
            return std::future::pending().await;
        };
        // Whatever it says, syslog has no place for answers.
        let mut answer = [0; 512];
        while connection
            .read(&mut answer)
            .await
            .is_ok_and(|length| length > 0)
        {}
        self.connection = None;
    }

    pub(super) async fn send(&mut self, batch: &mut Batch) -> Result<(), NotTaken> {
        let sent = self.try_to_send(batch).await;
        if sent.is_err() {
            self.connection = None;
        }
        sent.map_err(|why| NotTaken::Failed(why, None))
    }

    async fn try_to_send(&mut self, batch: &mut Batch) -> Result<(), String> {
        let is_closed = {
            let closed = std::pin::pin!(self.closed());
            matches!(futures::poll!(closed), Poll::Ready(()))
        };
        if is_closed || self.connection.is_none() {
            self.connection = Some(self.connect().await?);
        }
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let mut out = batch.rest();
        while out < batch.bytes.len() {
            let piece = &batch.bytes[out..batch.bytes.len().min(out + PIECE)];
            let written = async {
                let length = connection.write(piece).await?;
                connection.flush().await.map(|()| length)
            };
            match timeout(STALLED, written).await {
                Ok(Ok(0)) => return Err("the connection was closed".to_owned()),
                Ok(Ok(length)) => out += length,
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err(format!("it took nothing for {} seconds", STALLED.as_secs())),
            }
            batch.is_out_up_to(out);
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, String> {
        match timeout(CONNECT, self.connect_in_time()).await {
            Ok(connected) => connected,
            Err(_) => Err(format!(
                "no connection within {} seconds",
                CONNECT.as_secs()
            )),
        }
    }

    async fn connect_in_time(&self) -> Result<Box<dyn Connection>, String> {
        let DrainConfig { url, ca, .. } = &self.config;
        let stream = TcpStream::connect((&*url.host, self.config.port()));
        let stream = stream.await.map_err(|error| error.to_string())?;
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new().with_time(Duration::from_mins(1));
        let set = socket
            .set_tcp_keepalive(&keepalive)
            .and_then(|()| socket.set_tcp_user_timeout(Some(STALLED)));
        set.map_err(|error| error.to_string())?;
        if !self.config.is_by_tls() {
            return Ok(Box::new(stream));
        }
        let config = trusted::config(ca.clone(), &[]).await;
        let config = config.map_err(|error| error.to_string())?;
        let name = ServerName::try_from(url.host.clone()).map_err(|error| error.to_string())?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
        let secure = connector.connect(name, stream).await;
        Ok(Box::new(secure.map_err(|error| error.to_string())?))
    }
}
