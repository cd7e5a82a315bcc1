//! `procserver demo-web`: the demo's web process, so that a demo needs nothing but this binary.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use actix_rt::signal::unix::{SignalKind, signal};
use actix_web::http::header::ContentType;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::Context;

/// Serves on `PORT` until SIGTERM.
///
/// # Errors
/// A `PORT` that is missing or cannot be listened on.
pub fn run() -> anyhow::Result<ExitCode> {
    let port =
        std::env::var("PORT").context("PORT is not set: procserver sets it for each process")?;
    let port: u16 = port
        .parse()
        .with_context(|| format!("PORT \"{port}\" is no port"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    actix_rt::System::new().block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let server = HttpServer::new(|| App::new().default_service(web::to(answer)))
            .workers(1)
            .disable_signals()
            .bind(address)
            .with_context(|| format!("cannot listen on {address}"))?;
        say(&format!("listening on {address}"));
        tokio::select! {
            ended = server.run() => ended?,
            _ = terminate.recv() => say("stopping: SIGTERM"),
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn answer(request: HttpRequest) -> HttpResponse {
    say(&format!("{} {}", request.method(), request.uri()));
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .body(page(&request))
}

fn page(request: &HttpRequest) -> String {
    let variable = |name| escape(&std::env::var(name).unwrap_or_default());
    let mut fields: Vec<_> = request.headers().iter().collect();
    fields.sort_by_key(|(name, _)| name.as_str());
    let mut rows = String::new();
    for (name, value) in fields {
        let value = escape(&String::from_utf8_lossy(value.as_bytes()));
        // Writing to a String cannot fail.
        let _ = writeln!(rows, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    format!(
        "<!doctype html>\n<meta charset=utf-8>\n<title>procserver demo</title>\n\
         <style>body{{font:16px system-ui;margin:3em auto;max-width:48em}}th{{text-align:left;padding-right:2em}}</style>\n\
         <h1>{}</h1>\n<p>This is process <b>{}</b> of release <b>{}</b>, answering <code>{} {}</code>.</p>\n\
         <h2>What it received</h2>\n<table>\n{rows}</table>\n",
        variable("GREETING"),
        variable("PS"),
        variable("PROCSERVER_RELEASE"),
        escape(request.method().as_str()),
        escape(&request.uri().to_string()),
    )
}

/// Text that a browser does not take as markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A line of the process' log.
fn say(text: &str) {
    // Without a reader of its output a web process still serves.
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_page_shows_what_was_received_and_takes_none_of_it_as_markup() {
        let request = TestRequest::with_uri("/a?b=%3C&c")
            .insert_header(("X-Forwarded-Prefix", "/<demo>"))
            .to_http_request();
        let page = page(&request);
        assert!(page.contains("GET /a?b=%3C&amp;c"), "{page}");
        assert!(
            page.contains("<th>x-forwarded-prefix</th><td>/&lt;demo&gt;</td>"),
            "{page}"
        );
    }
}
