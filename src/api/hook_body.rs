//! Reads the body of a webhook: from strangers, and up to what GitHub sends, so that all of them together are bounded.

use actix_web::http::StatusCode;
use actix_web::web::{BytesMut, Payload};
use futures::StreamExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::problem::Problem;

/// GitHub's own limit for a delivery.
const LARGEST: usize = 25 << 20;

/// What is in memory of one more permit.
const PIECE: usize = 64 << 10;

/// The bodies that are being read, in permits: 64 MiB.
static ROOM: Semaphore = Semaphore::const_new(1024);

/// A body, and the room that it takes.
pub(super) struct HookBody {
    pub(super) bytes: BytesMut,
    _room: Option<SemaphorePermit<'static>>,
}

/// Reads it all.
pub(super) async fn read(mut payload: Payload) -> Result<HookBody, Problem> {
    let mut body = HookBody {
        bytes: BytesMut::new(),
        _room: None,
    };
    let mut room = 0;
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|error| {
            let detail = format!("The body could not be read: {error}");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        })?;
        let length = body.bytes.len() + piece.len();
        if length > LARGEST {
            let detail = format!("The body is larger than {} MiB.", LARGEST >> 20);
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        while room < length {
            let busy = |_| Problem::unavailable("Too many webhooks are being received: try again.");
            let permit = ROOM.try_acquire().map_err(busy)?;
            room += PIECE;
            match &mut body._room {
                Some(all) => all.merge(permit),
                none => *none = Some(permit),
            }
        }
        body.bytes.extend_from_slice(&piece);
    }
    Ok(body)
}
