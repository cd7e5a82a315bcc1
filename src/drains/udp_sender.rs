//! [`UdpSender`]: syslog over UDP (RFC 5426), one datagram for each message. What the network drops nobody counts.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::batch::Batch;
use crate::document::drain::DrainConfig;
use crate::outgoing::post::NotTaken;

/// After which a name is looked up again.
const KNOWN: Duration = Duration::from_mins(1);

pub(super) struct UdpSender {
    config: DrainConfig,
    socket: Option<(UdpSocket, Instant)>,
}

impl UdpSender {
    pub(super) fn new(config: DrainConfig) -> Self {
        Self {
            config,
            socket: None,
        }
    }

    pub(super) async fn send(&mut self, batch: &mut Batch) -> Result<(), NotTaken> {
        let sent = self.try_to_send(batch).await;
        if sent.is_err() {
            self.socket = None;
        }
        sent.map_err(|error| NotTaken::Failed(error.to_string(), None))
    }

    /// Resolves when a datagram that went out is known not to have arrived: nobody is there.
    pub(super) async fn failed(&mut self) -> std::io::Error {
        let Some((socket, _)) = &self.socket else {
            return std::future::pending().await;
        };
        // Whatever it says, syslog has no place for answers.
        let mut answer = [0; 64];
        let error = loop {
            if let Err(error) = socket.recv(&mut answer).await {
                break error;
            }
        };
        self.socket = None;
        error
    }

    async fn try_to_send(&mut self, batch: &mut Batch) -> std::io::Result<()> {
        self.socket.take_if(|(_, since)| since.elapsed() > KNOWN);
        let socket = match &mut self.socket {
            Some((socket, _)) => socket,
            none => {
                let socket = connect(&self.config).await?;
                &mut none.insert((socket, Instant::now())).0
            }
        };
        while batch.done < batch.ends.len() {
            let (begin, end) = (batch.rest(), batch.ends[batch.done]);
            // An error is about an earlier datagram: nobody is there. This one was not sent.
            socket.send(&batch.bytes[begin..end]).await?;
            batch.done += 1;
        }
        Ok(())
    }
}

async fn connect(config: &DrainConfig) -> std::io::Result<UdpSocket> {
    let found = tokio::net::lookup_host((&*config.url.host, config.port())).await?;
    let mut failed = std::io::ErrorKind::NotFound.into();
    for address in found {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        // There may be none of this kind: a machine need not have IPv6.
        let connected = async {
            let socket = UdpSocket::bind(any).await?;
            socket.connect(address).await.map(|()| socket)
        };
        match connected.await {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::drain::Protocol;
    use crate::drains::batch::Batcher;
    use crate::logs::record::{Record, Stream};

    #[tokio::test]
    async fn that_nobody_is_there_is_known_soon_after_the_last_datagram() {
        // It hears its own peer alone: for all others nobody is at its port, which stays its own.
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        closed.connect("127.0.0.1:1").unwrap();
        let port = closed.local_addr().unwrap().port();
        let config = DrainConfig::to(&format!("syslog+udp://127.0.0.1:{port}")).unwrap();
        let mut batcher = Batcher::new(Protocol::SyslogUdp, &[], "h", "a");
        batcher.take(&[Record {
            id: 1,
            time: jiff::Timestamp::UNIX_EPOCH,
            process: "web.1".to_owned(),
            release: 1,
            stream: Stream::Stdout,
            text: b"x".to_vec(),
            partial: false,
        }]);
        let mut sender = UdpSender::new(config);
        assert_eq!(sender.send(&mut batcher.finish()).await, Ok(()));
        let failed = tokio::time::timeout(Duration::from_secs(60), sender.failed());
        let error = failed.await.expect("it is known");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}
