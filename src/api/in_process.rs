//! The API as a backend of the front end: pipes within a worker thread instead of sockets.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive};
use actix_service::{Service, ServiceFactory, map_config};
use actix_web::App;
use actix_web::dev::AppConfig;
use tokio::io::DuplexStream;
use tokio::sync::OnceCell;

use super::app::configure;
use super::auth::Access;
use super::state::ApiState;
use crate::front::upstream::in_process::{Connector, ConnectorFactory};

/// Bytes a pipe holds each way before its writer waits.
const PIPE: usize = 64 * 1024;

/// Makes the [`Connector`] of each worker: one HTTP service per thread, one pipe per call. Every caller through it must
/// know the token.
#[must_use]
pub fn connector(state: ApiState) -> ConnectorFactory {
    Arc::new(move || connector_here(state.clone()))
}

fn connector_here(state: ApiState) -> Connector {
    let service = Rc::new(OnceCell::new());
    Rc::new(move |client: SocketAddr| {
        let (near, far) = tokio::io::duplex(PIPE);
        let (service, state) = (Rc::clone(&service), state.clone());
        actix_rt::spawn(async move {
            let Some(service) = service.get_or_init(|| start(state)).await else {
                return;
            };
            if let Err(error) = service.call((far, Some(client))).await {
                log::debug!("API connection of {client}: {error}");
            }
        });
        near
    })
}

/// Builds the service of this thread. `None` would mean that actix-web cannot, for which it has no reason.
async fn start(
    state: ApiState,
) -> Option<impl Service<(DuplexStream, Option<SocketAddr>), Error = impl std::fmt::Display>> {
    let app = App::new().configure(|config| configure(config, state));
    let started = HttpService::build()
        // The front end bounds heads and idle connections, it holds the near end.
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(Duration::ZERO)
        // When the near end is gone, so is the client: stop following its log.
        .h1_allow_half_closed(false)
        .on_connect_ext(|_: &DuplexStream, data| {
            data.insert(Access::Tcp);
        })
        .h1(map_config(app, |()| AppConfig::default()))
        .new_service(())
        .await;
    if started.is_err() {
        log::error!("the API could not be started on a worker");
    }
    started.ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pipe() -> DuplexStream {
        let state = ApiState::without_apps();
        connector(state)()(([127, 0, 0, 1], 1).into())
    }

    #[actix_web::test]
    async fn a_pipe_speaks_http_and_is_kept_alive() {
        let mut pipe = pipe();
        for (authorization, wanted) in [
            ("", "HTTP/1.1 401"),
            ("Authorization: Bearer the-token\r\n", "HTTP/1.1 503"),
        ] {
            let request = format!("GET /applications HTTP/1.1\r\nHost: a\r\n{authorization}\r\n");
            pipe.write_all(request.as_bytes()).await.unwrap();
            let answer = response(&mut pipe).await;
            assert!(answer.starts_with(wanted), "{answer}");
        }
    }

    #[actix_web::test]
    async fn a_body_beyond_the_limit_is_answered_while_it_is_being_sent() {
        let (mut reader, mut writer) = tokio::io::split(pipe());
        let head = "POST /applications HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer the-token\r\n";
        let sending = actix_rt::spawn(async move {
            let head = format!("{head}Content-Length: 104857600\r\n\r\n");
            writer.write_all(head.as_bytes()).await?;
            for _ in 0..1600 {
                writer.write_all(&[b' '; 65_536]).await?;
            }
            std::io::Result::Ok(())
        });
        let deadline = Duration::from_secs(10);
        let answer = tokio::time::timeout(deadline, response(&mut reader)).await;
        let answer = answer.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        // Either all of it was read and thrown away, or the pipe was closed; nobody waits for ever.
        drop(reader);
        let _ = tokio::time::timeout(deadline, sending)
            .await
            .expect("no dead lock");
    }

    /// Reads one response with a Content-Length.
    async fn response(pipe: &mut (impl AsyncRead + Unpin)) -> String {
        let mut text = String::new();
        let mut buffer = [0; 1024];
        loop {
            let read = pipe.read(&mut buffer).await.unwrap();
            assert!(read > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let head = head.to_ascii_lowercase();
            let (_, length) = head.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                return text;
            }
        }
    }
}
