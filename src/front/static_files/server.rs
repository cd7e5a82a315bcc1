//! [`FileServer`]: answers with static files. It is an actix-web App in this process, and leaves conditional requests,
//! ranges and media types to actix-files.
//!
//! Each answer has a pipe of its own, at whose far end the App is. The App gets the open file, not a path.

use std::cell::Cell;
use std::convert::Infallible;
use std::fs::File;
use std::rc::Rc;

use actix_files::NamedFile;
use actix_http::{HttpService, KeepAlive};
use actix_service::{Service, ServiceFactory, map_config};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentEncoding, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, web};
use tokio::io::DuplexStream;
use tokio::sync::OnceCell;

use super::compressed;
use super::compressed::{Compressed, Version};
use super::lookup::{Answer, Opened};
use super::path::Coding;

/// Bytes a pipe holds each way before its writer waits.
const PIPE: usize = 64 * 1024;

/// Answers with static files on one worker thread.
#[derive(Clone)]
pub struct FileServer(Rc<dyn Fn(Answer) -> DuplexStream>);

/// The answer that a connection still has to give.
type Pending = Cell<Option<Answer>>;

impl FileServer {
    /// Takes files in gzip from `compressed`.
    #[must_use]
    pub fn new(compressed: Compressed) -> Self {
        let service = Rc::new(OnceCell::new());
        let started = Rc::new(Pending::default());
        Self(Rc::new(move |answer| {
            let (near, far) = tokio::io::duplex(PIPE);
            let (service, started) = (Rc::clone(&service), Rc::clone(&started));
            let compressed = compressed.clone();
            actix_rt::spawn(async move {
                let starting = start(Rc::clone(&started), compressed);
                let Some(service) = service.get_or_init(|| starting).await else {
                    return;
                };
                // The call takes the answer before it returns.
                started.set(Some(answer));
                if let Err(error) = service.call((far, None)).await {
                    log::debug!("a static file was not sent: {error}");
                }
            });
            near
        }))
    }

    /// Opens a pipe at whose far end the next request gets this answer.
    #[must_use]
    pub fn open(&self, answer: Answer) -> DuplexStream {
        self.0(answer)
    }
}

/// Makes the service of this thread. Returns `None` if actix-web cannot build it, for which there is no known reason.
async fn start(
    started: Rc<Pending>,
    compressed: Compressed,
) -> Option<
    impl Service<(DuplexStream, Option<std::net::SocketAddr>), Error = impl std::fmt::Display>,
> {
    let app = App::new()
        .app_data(compressed)
        .wrap(from_fn(one_range))
        .default_service(web::to(answer));
    let service = HttpService::build()
        // The front end bounds heads and idle connections, and each pipe serves one request.
        .keep_alive(KeepAlive::Disabled)
        .client_request_timeout(std::time::Duration::ZERO)
        .h1_allow_half_closed(false)
        .on_connect_ext(move |_: &DuplexStream, data| {
            data.insert(Pending::new(started.take()));
        })
        .h1(map_config(app, |()| AppConfig::default()))
        .new_service(())
        .await;
    if service.is_err() {
        log::error!("static files cannot be served by a worker");
    }
    service.ok()
}

/// Answers a request for several ranges with the whole file, as RFC 9110 §14.2 allows: actix-files would send the first
/// range. A request for a part of an empty file gets the whole file, too: for its end, actix-files would send all bytes
/// up to the one before the first.
async fn one_range(
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let range = request.headers().get(header::RANGE);
    let several = range.is_some_and(|value| value.as_bytes().contains(&b','));
    if is(&request, |opened| opened.not_found) {
        // Nobody has a copy or wants a part of a page that was not asked for.
        for name in CONDITIONS {
            request.headers_mut().remove(name);
        }
    } else if several || range.is_some() && is(&request, is_empty) || is_of_either(&request) {
        request.headers_mut().remove(header::RANGE);
    }
    next.call(request).await
}

/// Whether the request asks for the rest of a file by its date, which the gzip form shares with the plain one. What the
/// client has may be a part of the one, and a range is always of the other.
fn is_of_either(request: &ServiceRequest) -> bool {
    let condition = request.headers().get(header::IF_RANGE);
    condition.is_some_and(|value| !value.as_bytes().contains(&b'"'))
        && is(request, |opened| opened.takes_gzip)
}

/// Fields that ask for less than the whole.
const CONDITIONS: [header::HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

fn is_empty(opened: &Opened) -> bool {
    opened.file.metadata().is_ok_and(|m| m.len() == 0)
}

/// Whether `holds` is true of the file that is asked for.
fn is(request: &ServiceRequest, holds: impl FnOnce(&Opened) -> bool) -> bool {
    let Some(pending) = request.request().conn_data::<Pending>() else {
        return false;
    };
    let answer = pending.take();
    let found = match &answer {
        Some(Answer::File(opened)) => holds(opened),
        _ => false,
    };
    pending.set(answer);
    found
}

async fn answer(request: HttpRequest) -> Result<HttpResponse, Infallible> {
    let answer = request.conn_data::<Pending>().and_then(Cell::take);
    Ok(match answer {
        Some(Answer::File(opened)) => file(opened, &request).await,
        Some(Answer::Moved(to)) => HttpResponse::MovedPermanently()
            .insert_header((header::LOCATION, to))
            .finish(),
        None => HttpResponse::NotFound().finish(),
    })
}

async fn file(opened: Opened, request: &HttpRequest) -> HttpResponse<BoxBody> {
    let Opened {
        file,
        name,
        coding,
        takes_gzip,
        not_found,
        cache_control,
    } = opened;
    let Ok(named) = NamedFile::from_file(file, name) else {
        return HttpResponse::NotFound().finish();
    };
    let mut named = named.disable_content_disposition().prefer_utf8(true);
    if let Some(coding) = coding {
        named = named.set_content_encoding(match coding {
            Coding::Brotli => ContentEncoding::Brotli,
            Coding::Gzip => ContentEncoding::Gzip,
        });
    }
    let in_gzip = InGzip::of(&named, takes_gzip, request);
    let mut response = named.into_response(request);
    if let Some(in_gzip) = in_gzip {
        response = in_gzip.instead_of(response, request).await;
    }
    // Even where no coded file lies beside it, since the next release may have one.
    let vary = HeaderValue::from_static("Accept-Encoding");
    let fields = response.headers_mut();
    fields.insert(header::VARY, vary);
    let media_type = fields
        .get(header::CONTENT_TYPE)
        .and_then(|t| t.to_str().ok());
    let is_html = media_type.is_some_and(|t| t.starts_with("text/html"));
    if let Some(text) = media_type.filter(|t| t.starts_with("text/") && !t.contains("charset")) {
        let text = HeaderValue::from_str(&format!("{text}; charset=utf-8"));
        if let Ok(text) = text {
            fields.insert(header::CONTENT_TYPE, text);
        }
    }
    // A page names the files that go with it, so it must be the newest where they may be kept for long.
    let cache_control =
        cache_control.map(|text| if is_html { "no-cache".to_owned() } else { text });
    if let Some(Ok(value)) = cache_control.map(HeaderValue::try_from) {
        fields.insert(header::CACHE_CONTROL, value);
    }
    if not_found {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

/// A file that may be sent in gzip.
struct InGzip {
    file: File,
    version: Version,
}

impl InGzip {
    /// Takes `named`, if the client takes gzip and asks for no range, which is always one of the plain file.
    fn of(named: &NamedFile, takes_gzip: bool, request: &HttpRequest) -> Option<Self> {
        let media_type = named.content_type().essence_str();
        let is_meant = takes_gzip
            && compressed::is_worth(media_type, named.metadata().len())
            && !request.headers().contains_key(header::RANGE);
        Some(Self {
            file: is_meant.then(|| named.file().try_clone().ok())??,
            version: Version::of(named.metadata()),
        })
    }

    /// Makes the response that takes the place of `plain`.
    async fn instead_of(self, plain: HttpResponse, request: &HttpRequest) -> HttpResponse<BoxBody> {
        let mut response = match (plain.status(), request.app_data::<Compressed>()) {
            (StatusCode::NOT_MODIFIED, _) => plain,
            (StatusCode::OK, Some(compressed)) => {
                let Some(made) = compressed.gzip(self.file, self.version).await else {
                    return plain;
                };
                let mut response = plain.set_body(BoxBody::new(made));
                let fields = response.headers_mut();
                let gzip = HeaderValue::from_static("gzip");
                fields.insert(header::CONTENT_ENCODING, gzip);
                fields.remove(header::ACCEPT_RANGES);
                response
            }
            _ => return plain,
        };
        // The tag stands for the same file, but not for the same bytes (RFC 9110 §8.8.1).
        let fields = response.headers_mut();
        let strong = fields.get(header::ETAG).and_then(|tag| tag.to_str().ok());
        let weak = strong.and_then(|tag| HeaderValue::try_from(format!("W/{tag}")).ok());
        if let Some(weak) = weak {
            fields.insert(header::ETAG, weak);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(server: &FileServer, answer: Answer, head: &str) -> String {
        let mut pipe = server.open(answer);
        let head = format!("{head}\r\nHost: a\r\n\r\n");
        pipe.write_all(head.as_bytes()).await.unwrap();
        let mut response = String::new();
        pipe.read_to_string(&mut response).await.unwrap();
        response
    }

    fn opened(name: &str, coding: Option<Coding>) -> Answer {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        Answer::File(Opened {
            file,
            name: name.into(),
            coding,
            takes_gzip: false,
            not_found: false,
            cache_control: None,
        })
    }

    #[actix_web::test]
    async fn each_pipe_answers_with_what_it_was_opened_for() {
        let server = FileServer::new(Compressed::default());
        let page = opened("x/a.html", None);
        let (first, second) = tokio::join!(
            ask(&server, page, "GET /whatever HTTP/1.1"),
            ask(
                &server,
                opened("b.css", Some(Coding::Gzip)),
                "HEAD / HTTP/1.1"
            ),
        );
        let (first, second) = (first.to_lowercase(), second.to_lowercase());
        assert!(first.starts_with("http/1.1 200 ok\r\n") && first.ends_with("\r\n\r\n0123456789"));
        assert!(
            first.contains("content-type: text/html; charset=utf-8\r\n"),
            "{first}"
        );
        assert!(first.contains("vary: accept-encoding\r\n") && !first.contains("disposition"));
        assert!(second.contains("content-encoding: gzip\r\n"), "{second}");
        assert!(second.contains("content-length: 10\r\n") && second.ends_with("\r\n\r\n"));
        let moved = Answer::Moved("/a/?q".into());
        let moved = ask(&server, moved, "GET /a?q HTTP/1.1").await;
        assert!(
            moved.starts_with("HTTP/1.1 301") && moved.contains("location: /a/?q\r\n"),
            "{moved}"
        );
    }

    #[actix_web::test]
    async fn one_range_is_sent_and_of_several_none() {
        let server = FileServer::new(Compressed::default());
        let get = |range: &str| format!("GET / HTTP/1.1\r\nRange: bytes={range}");
        let part = ask(&server, opened("a", None), &get("2-4")).await;
        assert!(
            part.starts_with("HTTP/1.1 206") && part.ends_with("\r\n\r\n234"),
            "{part}"
        );
        assert!(part.contains("content-range: bytes 2-4/10\r\n"), "{part}");
        let whole = ask(&server, opened("a", None), &get("0-1,4-5")).await;
        assert!(
            whole.starts_with("HTTP/1.1 200") && whole.ends_with("0123456789"),
            "{whole}"
        );
        let beyond = ask(&server, opened("a", None), &get("10-")).await;
        assert!(beyond.starts_with("HTTP/1.1 416"), "{beyond}");
    }
}
