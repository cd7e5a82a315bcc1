//! Takes a request's body before the request is sent, so that a slow client holds no process.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::body_end::BodyEnd;
use super::client::{Client, Interrupted};
use super::client_end::ClientStream;
use super::pace::Pace;
use super::request_info::RequestInfo;
use super::spool::Spool;
use super::spool_space::Held;
use super::stored::Stored;
use crate::front::http::framing::{BadBody, Framing};
use crate::front::http::local_reply::LocalReply;
use crate::front::worker::Worker;

/// Bytes of a body in memory at first, and each time it turns out to be larger. A body beyond the last step is in a
/// file.
const STEPS: [usize; 3] = [64 * 1024, 256 * 1024, 1024 * 1024];

impl From<BadBody> for Interrupted {
    fn from(bad: BadBody) -> Self {
        Self::Refused(LocalReply::bad_body(bad.0))
    }
}

/// A body that was taken. It is in the buffer behind the head, or `stored`.
pub(crate) struct Collected {
    pub(crate) stored: Option<Stored>,
    /// Counts the memory that it takes.
    _held: Held,
}

/// Whether there is a body that is still to come; `behind` came behind the head. A client that waits for a 100 sends
/// none before somebody takes it, so its body does not count.
pub(crate) fn is_to_come(request_info: &RequestInfo, behind: &[u8]) -> bool {
    if request_info.framing == Framing::Empty
        || request_info.expects_continue
        || request_info.upgrade.is_some()
    {
        return false;
    }
    match request_info.framing {
        Framing::Length(bytes) => bytes > behind.len() as u64,
        framing => {
            let mut end = BodyEnd::new(framing);
            // Whoever takes a malformed body answers it.
            end.look(behind).is_ok() && !end.is_found()
        }
    }
}

/// What is known of a body while it comes.
struct Coming {
    end: BodyEnd,
    pace: Pace,
    limit: u64,
    /// The longest time between two pieces.
    idle: Duration,
    /// Bytes behind the head that were looked at.
    looked: usize,
}

impl Coming {
    /// Looks at what came. Returns whether the body is whole.
    fn look(&mut self, behind: &[u8]) -> Result<bool, Interrupted> {
        self.looked += self.end.look(&behind[self.looked..])?;
        if self.end.at_least() > self.limit {
            return Err(Interrupted::Refused(LocalReply::body_too_large(self.limit)));
        }
        Ok(self.end.is_found())
    }
}

/// Takes the body of the request whose head is the first `head` bytes of the buffer.
pub(crate) async fn collect<S: ClientStream>(
    client: &mut Client<S>,
    worker: &Worker,
    head: usize,
    request_info: &RequestInfo,
) -> Result<Collected, Interrupted> {
    let settings = &worker.settings;
    let mut coming = Coming {
        end: BodyEnd::new(request_info.framing),
        pace: Pace::new(settings.timeouts.body),
        limit: request_info.body_limit(settings),
        idle: request_info.timeouts(settings).idle,
        looked: 0,
    };
    let mut held = Held::new(&worker.spool_space);
    for space in STEPS {
        if space > STEPS[0] && !held.more(space) {
            break;
        }
        loop {
            if coming.look(&client.input.bytes()[head..])? {
                return Ok(Collected {
                    stored: None,
                    _held: held,
                });
            }
            if client.input.holds(head + space) {
                break;
            }
            read_body(client, worker, head + space, &mut coming).await?;
        }
    }
    let stored = store(client, worker, head, coming).await?;
    held.less();
    Ok(Collected {
        stored: Some(stored),
        _held: held,
    })
}

/// Takes the rest of a body that is too large for memory, as much of it as the file may have.
async fn store<S: ClientStream>(
    client: &mut Client<S>,
    worker: &Worker,
    head: usize,
    mut coming: Coming,
) -> Result<Stored, Interrupted> {
    let mut spool = Spool::on_disk(Rc::clone(&worker.spool_space));
    loop {
        let whole = coming.look(&client.input.bytes()[head..])?;
        while coming.looked > 0 {
            let body = &client.input.bytes()[head..head + coming.looked];
            let kept = spool.append(body);
            client.input.cut(head, kept);
            coming.looked -= kept;
            if kept == 0 {
                if spool.is_full() {
                    return Ok(Stored::new(spool));
                }
                let worked = poll_fn(|cx| spool.poll(cx)).await;
                worked.map_err(|_| Interrupted::Refused(LocalReply::lost()))?;
            }
        }
        if whole {
            return Ok(Stored::new(spool));
        }
        read_body(client, worker, head + STEPS[0], &mut coming).await?;
    }
}

/// Reads once, so that the buffer holds at most `size` bytes.
async fn read_body<S: ClientStream>(
    client: &mut Client<S>,
    worker: &Worker,
    size: usize,
    coming: &mut Coming,
) -> Result<(), Interrupted> {
    let idle = coming.idle;
    let spare = &worker.spare;
    let mut waits = false;
    let read = poll_fn(|cx| {
        if let Poll::Ready(read) = client.input.poll_fill(cx, &mut client.stream, size, spare) {
            return Poll::Ready(match read {
                Ok(1..) => Ok(()),
                Ok(0) | Err(_) => Err(Interrupted::Gone),
            });
        }
        if !std::mem::replace(&mut waits, true) {
            coming.pace.wait(true, Instant::now());
            let left = coming.pace.left(coming.end.payload());
            client.deadline.set(left.unwrap_or_default().min(idle));
        }
        let late = || Err(Interrupted::Refused(LocalReply::slow_client()));
        client.deadline.poll(cx).map(|()| late())
    });
    let read = read.await;
    if coming.pace.is_waiting() {
        coming.pace.wait(false, Instant::now());
    }
    read
}
