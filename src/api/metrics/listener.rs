//! The listeners of `metrics_listen`: `GET /metrics` for everybody who reaches them, and nothing else.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Resource, guard};

use super::show_to_all;
use crate::api::problem::Problem;
use crate::api::state::ApiState;

/// Connections at a time, of all who scrape.
const CONNECTIONS: usize = 256;

/// How long a client may take for a head.
const HEAD: Duration = Duration::from_secs(5);

/// How long a client may take nothing of an answer: then the kernel ends the connection (TCP_USER_TIMEOUT of tcp(7), which
/// the sockets of clients have of their listener). 256 that never read would else keep all others out.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a connection is kept between two requests: longer than most intervals of Prometheus.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Answers on `listeners`, on a thread of its own, until it is stopped.
///
/// # Errors
/// A thread or a descriptor cannot be had.
pub fn serve(listeners: Vec<TcpListener>, state: &ApiState) -> io::Result<ServerHandle> {
    let state = Data::new(state.clone());
    let app = move || {
        App::new()
            .app_data(state.clone())
            .service(metrics())
            .default_service(web::to(nothing_else))
    };
    let mut server = HttpServer::new(app)
        .workers(1)
        .max_connections(CONNECTIONS)
        .client_request_timeout(HEAD)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(1)
        .disable_signals();
    for listener in listeners {
        let silence = u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(&listener, silence)?;
        server = server.listen(listener)?;
    }
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok(handle)
}

fn metrics() -> Resource {
    let get_or_head = guard::Any(guard::Get()).or(guard::Head());
    web::resource("/metrics")
        .route(web::route().guard(get_or_head).to(show_to_all))
        .default_service(web::to(only_get))
}

async fn only_get(request: HttpRequest) -> Result<HttpResponse, Problem> {
    Err(Problem::method_not_allowed(
        request.method().as_str(),
        "GET, HEAD",
    ))
}

async fn nothing_else() -> Result<HttpResponse, Problem> {
    let detail = "There is nothing here but /metrics; the API is at the addresses of `listen`.";
    Err(Problem::new(StatusCode::NOT_FOUND, detail.to_owned()))
}
