//! The API on the Unix socket: actix-web serves it directly, the kernel says who is calling.

use std::io;
use std::os::unix::net::UnixListener;

use actix_web::dev::Server;
use actix_web::{App, HttpServer};
use tokio::net::UnixStream;

use super::app::configure;
use super::auth::{Access, Peer};
use super::state::ApiState;
use crate::threads;

/// Seconds that calls in flight may take when the daemon stops.
const DRAIN: u64 = 5;

/// A server of the API on `listener`, to be spawned; stop it by its handle. The socket's file mode should let everyone
/// connect: who is refused is told what to do.
///
/// # Errors
/// The listener cannot be used.
pub fn serve(listener: UnixListener, state: ApiState) -> io::Result<Server> {
    listener.set_nonblocking(true)?;
    let server = HttpServer::new(move || {
        threads::keep_one();
        let state = state.clone();
        App::new().configure(|config| configure(config, state))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(DRAIN)
    // A client that is gone no longer follows a log or waits for a deployment.
    .h1_allow_half_closed(false)
    .on_connect(|connection, data| {
        let stream = connection.downcast_ref::<UnixStream>();
        let credentials = stream.and_then(|stream| stream.peer_cred().ok());
        let ids = credentials.map(|c| (c.uid(), c.gid()));
        data.insert(Access::Socket(Peer::new(ids)));
    })
    .listen_uds(listener)?
    .run();
    Ok(server)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[actix_web::test]
    async fn the_daemons_own_user_needs_no_token() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let state = ApiState::without_apps();
        let server = serve(UnixListener::bind(&path).unwrap(), state).unwrap();
        let handle = server.handle();
        let running = actix_rt::spawn(server);
        let mut client = UnixStream::connect(&path).await.unwrap();
        let request = "GET /applications HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        // Let in, but there are no Apps to ask in this test.
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        handle.stop(true).await;
        running.await.unwrap().unwrap();
    }
}
