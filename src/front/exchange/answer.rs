//! Answers that this server gives itself: errors, redirects, OPTIONS.

use tokio::io::AsyncWriteExt as _;

use super::client::Client;
use super::client_end::ClientStream;
use super::next::Next;
use super::request_info::RequestInfo;
use crate::front::access::entry::Notes;
use crate::front::http::head_end;
use crate::front::http::local_reply::{self, LocalReply, Page};
use crate::front::worker::Worker;

/// Answers a request. The connection is kept if the client wants that and the request was read to its end, that is, if
/// it `is_complete`.
pub(crate) async fn answer<S: ClientStream>(
    client: &mut Client<S>,
    worker: &Worker,
    reply: &LocalReply,
    request_info: &RequestInfo,
    is_complete: bool,
) -> Next {
    let keep_alive = request_info.keep_alive && is_complete && !worker.is_draining();
    let policies = request_info.policies.borrow().clone();
    let page = Page {
        html: request_info.html,
        head_only: request_info.head,
        keep_alive,
        minor: request_info.minor,
        request_id: &request_info.request_id,
        now: jiff::Timestamp::now(),
        fields: policies
            .as_ref()
            .map(|policies| &policies.of.response_headers),
    };
    let written = write_page(client, worker, reply, &page).await;
    request_info.note(|notes| notes.fails(reply, written.unwrap_or(0)));
    match (written, keep_alive) {
        (None, _) => Next::Close,
        (Some(_), true) => Next::Again,
        (Some(_), false) => Next::Linger,
    }
}

/// Answers what is no request. What began as HEAD is answered as one: its sender reads no body.
pub(crate) async fn refuse<S: ClientStream>(
    client: &mut Client<S>,
    worker: &Worker,
    reply: &LocalReply,
) -> Next {
    let id = worker.request_id();
    let page = Page {
        html: false,
        head_only: client.input.bytes().starts_with(b"HEAD "),
        keep_alive: false,
        minor: 1,
        request_id: &id,
        now: jiff::Timestamp::now(),
        fields: None,
    };
    let endpoints = &client.endpoints;
    let notes = match &worker.access {
        Some(to) => Notes::unread(to.space(), endpoints.peer.ip(), endpoints.spoken()),
        None => Notes::without_line(),
    };
    let written = write_page(client, worker, reply, &page).await;
    notes.fails(reply, written.unwrap_or(0));
    worker.record(notes, &id);
    Next::Linger
}

/// Writes the page. Returns the bytes of its body, or `None` if it could not be sent.
async fn write_page<S: ClientStream>(
    client: &mut Client<S>,
    worker: &Worker,
    reply: &LocalReply,
    page: &Page<'_>,
) -> Option<u64> {
    let mut out = Vec::new();
    local_reply::write(&mut out, reply, page);
    let limit = worker.settings.timeouts.idle;
    let write = async {
        client.stream.write_all(&out).await?;
        client.stream.flush().await
    };
    let written = tokio::time::timeout(limit, write).await;
    let head = head_end::find_end(&out, 0).ok().flatten()?;
    matches!(written, Ok(Ok(()))).then_some((out.len() - head) as u64)
}
