//! [`Sender`]: sends batches to a receiver in its protocol.

use super::batch::Batch;
use super::stream_sender::StreamSender;
use super::udp_sender::UdpSender;
use crate::document::drain::{DrainConfig, Protocol};
use crate::document::mask::Mask;
use crate::outgoing::post::{NotTaken, Poster};

pub(super) enum Sender {
    Stream(StreamSender),
    Datagrams(UdpSender),
    Post(PostSender),
}

impl Sender {
    /// Nothing is connected yet.
    pub(super) fn new(config: &DrainConfig, mask: &Mask) -> Self {
        let config = config.clone();
        match config.protocol {
            Protocol::SyslogTls | Protocol::SyslogTcp => Self::Stream(StreamSender::new(config)),
            Protocol::SyslogUdp => Self::Datagrams(UdpSender::new(config)),
            Protocol::Ndjson | Protocol::Loki => Self::Post(PostSender {
                config,
                mask: mask.clone(),
                poster: None,
            }),
        }
    }

    /// Sends what is not out of a batch, once.
    pub(super) async fn send(&mut self, batch: &mut Batch) -> Result<(), NotTaken> {
        match self {
            Self::Stream(sender) => sender.send(batch).await,
            Self::Datagrams(sender) => sender.send(batch).await,
            Self::Post(sender) => sender.send(batch).await,
        }
    }

    /// Resolves when a receiver closes its connection, which is better known before the next line is written to it;
    /// and, with why, when the last lines were in vain.
    pub(super) async fn closed(&mut self) -> Option<String> {
        match self {
            Self::Stream(sender) => {
                sender.closed().await;
                None
            }
            Self::Datagrams(sender) => Some(sender.failed().await.to_string()),
            Self::Post(_) => std::future::pending().await,
        }
    }
}

/// A batch is one request; it is taken whole or not at all.
pub(super) struct PostSender {
    config: DrainConfig,
    mask: Mask,
    poster: Option<Poster>,
}

impl PostSender {
    async fn send(&mut self, batch: &mut Batch) -> Result<(), NotTaken> {
        let poster = match &mut self.poster {
            Some(poster) => poster,
            none => {
                let DrainConfig { url, ca, .. } = &self.config;
                none.insert(Poster::new(url, ca.clone(), &self.mask).await?)
            }
        };
        let media_type = match self.config.protocol {
            Protocol::Loki => "application/json",
            _ => "application/x-ndjson",
        };
        let fields = [("Idempotency-Key", &*batch.id)];
        let taken = poster.post(media_type, &fields, batch.bytes.clone()).await;
        if taken.is_ok() {
            batch.done = batch.ends.len();
        }
        taken
    }
}
