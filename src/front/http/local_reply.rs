//! Answers of the proxy itself: problem+json (RFC 9457), or HTML for browsers (pure).

use std::io::Write as _;

use super::field::Name;
use super::fields::Fields;
use super::head::Refusal;
use super::quality::weight;

/// The methods that the proxy passes on.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// An answer of the proxy itself, which mostly tells what went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    pub status: u16,
    /// The code that Heroku's router has for it, if any.
    pub code: Option<&'static str>,
    /// A sentence for people.
    pub detail: String,
    /// The seconds after which to ask again.
    pub retry_after: Option<u32>,
    /// The methods that are allowed, if this was none of them.
    pub allow: Option<&'static str>,
    pub location: Option<String>,
    /// The whole body, where this is no error.
    pub text: Option<String>,
}

impl LocalReply {
    fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: (!code.is_empty()).then_some(code),
            detail: detail.into(),
            retry_after: None,
            allow: None,
            location: None,
            text: None,
        }
    }

    /// A redirect: an app by path begins at a slash, or its relative links lead out of it.
    #[must_use]
    pub fn moved(location: String) -> Self {
        Self {
            location: Some(location),
            ..Self::new(308, "", "")
        }
    }

    /// A redirect to the same by HTTPS. Only GET and HEAD may lose their method (RFC 9110 §15.4.2).
    #[must_use]
    pub fn by_https(location: String, method: &str) -> Self {
        let status = match method {
            "GET" | "HEAD" => 301,
            _ => 308,
        };
        Self {
            location: Some(location),
            ..Self::new(status, "", "")
        }
    }

    /// A token of the API came by plain HTTP, and is not passed on.
    #[must_use]
    pub fn token_in_clear(host: &str) -> Self {
        Self::new(
            403,
            "",
            format!(
                "The token came unencrypted: whoever saw it on its way may use it. Write https://{host} in the address, and \
                 give the server a new token if that way was not yours alone."
            ),
        )
    }

    /// What a certificate authority looks for (RFC 8555 §8.3).
    #[must_use]
    pub fn challenge(text: String) -> Self {
        Self {
            text: Some(text),
            ..Self::new(200, "", "")
        }
    }

    /// The app wants no HTTP/2, and the client came by it (RFC 9110 §15.5.20).
    #[must_use]
    pub fn misdirected() -> Self {
        Self::new(
            421,
            "",
            "This host is not served by HTTP/2: open a connection for it, and offer HTTP/1.1.",
        )
    }

    /// No app has this host, name or path.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            404,
            "",
            "No application answers here. See GET /routes of the API for who would answer what.",
        )
    }

    /// The app consists of files, and this is none of them.
    #[must_use]
    pub fn no_file() -> Self {
        Self::new(404, "", "There is no such file.")
    }

    /// The app consists of files, which are only read.
    #[must_use]
    pub fn only_files() -> Self {
        Self {
            allow: Some("GET, HEAD"),
            ..Self::new(
                405,
                "",
                "The application consists of files: use GET or HEAD.",
            )
        }
    }

    /// The answer to an OPTIONS that goes no further.
    #[must_use]
    pub fn options() -> Self {
        Self {
            allow: Some(METHODS),
            ..Self::new(200, "", "")
        }
    }

    #[must_use]
    pub fn stopped(app: &str) -> Self {
        Self::new(503, "H14", format!("The application \"{app}\" is stopped."))
    }

    #[must_use]
    pub fn crashed(app: &str) -> Self {
        Self::new(
            503,
            "H10",
            format!("The application \"{app}\" crashed. Its log says why."),
        )
    }

    /// No deployment of it was ever ready.
    #[must_use]
    pub fn undeployed(app: &str) -> Self {
        let detail = format!(
            "The application \"{app}\" has not been deployed yet: \"procserver logs {app} --install\" says why."
        );
        Self::new(503, "H10", detail)
    }

    /// No process of the app takes requests.
    #[must_use]
    pub fn no_process(app: &str, process_type: &str) -> Self {
        Self::new(
            503,
            "H14",
            format!(
                "The application \"{app}\" runs no {process_type} process: it has none, is scaled to 0, or all have ended. \
                 \"procserver ps {app}\" says more."
            ),
        )
    }

    /// The app was not ready while the request was held.
    #[must_use]
    pub fn not_ready(app: &str) -> Self {
        Self {
            retry_after: Some(5),
            ..Self::new(
                503,
                "H20",
                format!("The application \"{app}\" is not ready yet."),
            )
        }
    }

    /// Too many requests are held already.
    #[must_use]
    pub fn backlog(app: &str) -> Self {
        Self {
            retry_after: Some(5),
            ..Self::new(
                503,
                "H11",
                format!("Too many requests wait for the application \"{app}\"."),
            )
        }
    }

    /// The front end cannot route now, because its replica restarts.
    #[must_use]
    pub fn unroutable() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(503, "", "The server is restarting a part of itself.")
        }
    }

    #[must_use]
    pub fn refused() -> Self {
        Self::new(502, "H21", "The application refused the connection.")
    }

    /// The connection failed for another reason than a refusal.
    #[must_use]
    pub fn unreachable() -> Self {
        Self::new(502, "H19", "The application could not be connected to.")
    }

    /// The backend closed before a whole response head came.
    #[must_use]
    pub fn closed() -> Self {
        Self::new(
            502,
            "H13",
            "The application closed the connection without a response.",
        )
    }

    /// The backend sent what is no response.
    #[must_use]
    pub fn bad_response() -> Self {
        Self::new(502, "H17", "The application sent a malformed response.")
    }

    /// The file that kept the request's body cannot be read.
    #[must_use]
    pub fn lost() -> Self {
        let detail = "What was kept of the request's body on disk cannot be read. The server's own log says more.";
        Self::new(500, "", detail)
    }

    #[must_use]
    pub fn timeout() -> Self {
        Self::new(504, "H12", "The application did not respond in time.")
    }

    /// The client did not send its head or body in time.
    #[must_use]
    pub fn slow_client() -> Self {
        Self::new(408, "H28", "The request did not arrive in time.")
    }

    #[must_use]
    pub fn bad_body(why: &str) -> Self {
        Self::new(400, "", format!("The request is malformed: {why}."))
    }

    /// The body is larger than `limit` bytes.
    #[must_use]
    pub fn body_too_large(limit: u64) -> Self {
        Self::new(
            413,
            "",
            format!("The request body is too large: at most {limit} bytes are accepted."),
        )
    }
}

impl From<Refusal> for LocalReply {
    fn from(refusal: Refusal) -> Self {
        Self {
            allow: (refusal == Refusal::Method).then_some(METHODS),
            ..Self::new(refusal.status(), "", refusal.to_string())
        }
    }
}

/// How an answer is written: what the client wants and what it is told of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    pub html: bool,
    /// The request was HEAD: no body.
    pub head_only: bool,
    pub keep_alive: bool,
    /// The minor version of the client's HTTP/1.
    pub minor: u8,
    pub request_id: &'a str,
    /// The present time, for Date (RFC 9110 §6.6.1).
    pub now: jiff::Timestamp,
}

pub fn write(out: &mut Vec<u8>, reply: &LocalReply, page: &Page<'_>) {
    let title = title(reply.status);
    let body = match page.html {
        _ if reply.status < 400 => reply.text.clone().unwrap_or_default(),
        true => html(reply, title, page),
        false => problem(reply, title, page),
    };
    let kind = match page.html {
        _ if body.is_empty() => "",
        _ if reply.text.is_some() => "Content-Type: application/octet-stream\r\n",
        true => "Content-Type: text/html; charset=utf-8\r\n",
        false => "Content-Type: application/problem+json\r\n",
    };
    let _ = write!(
        out,
        "HTTP/1.1 {} {title}\r\n{kind}Content-Length: {}\r\nCache-Control: no-store\r\n\
         X-Request-ID: {}\r\nDate: {}\r\nServer: procserver\r\n",
        reply.status,
        body.len(),
        page.request_id,
        page.now.strftime("%a, %d %b %Y %H:%M:%S GMT")
    );
    if let Some(methods) = reply.allow {
        let _ = write!(out, "Allow: {methods}\r\n");
    }
    if let Some(location) = &reply.location {
        let _ = write!(out, "Location: {location}\r\n");
    }
    if let Some(seconds) = reply.retry_after {
        let _ = write!(out, "Retry-After: {seconds}\r\n");
    }
    match (page.keep_alive, page.minor) {
        (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (true, 0) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (true, _) => {}
    }
    out.extend_from_slice(b"\r\n");
    if !page.head_only {
        out.extend_from_slice(body.as_bytes());
    }
}

/// Whether the client would rather see HTML. Browsers name it, and programs seldom do, or with less weight than JSON
/// (RFC 9110 §12.5.1).
#[must_use]
pub fn prefers_html(fields: &Fields<'_>) -> bool {
    let accepts = || fields.named(Name::Accept);
    let names_html = |value: &[u8]| {
        let mut words = value.windows(9);
        words.any(|w| w.eq_ignore_ascii_case(b"text/html"))
    };
    if !accepts().any(|f| names_html(f.value)) {
        return false;
    }
    let lines = accepts().filter_map(|f| std::str::from_utf8(f.value).ok());
    let (mut html, mut json) = (0.0f32, 0.0f32);
    for item in lines.flat_map(|line| line.split(',')) {
        let (kind, parameters) = item.split_once(';').unwrap_or((item, ""));
        let is = |own: &str| kind.trim().eq_ignore_ascii_case(own);
        if is("text/html") {
            html = html.max(weight(parameters));
        } else if is("application/json") || is("application/problem+json") {
            json = json.max(weight(parameters));
        }
    }
    html > 0.0 && html >= json
}

fn problem(reply: &LocalReply, title: &str, page: &Page<'_>) -> String {
    let mut problem = serde_json::json!({
        "type": "about:blank",
        "title": title,
        "status": reply.status,
        "detail": reply.detail,
        "request_id": page.request_id,
    });
    if let Some(code) = reply.code {
        problem["code"] = code.into();
    }
    format!("{problem}\n")
}

fn html(reply: &LocalReply, title: &str, page: &Page<'_>) -> String {
    let escape = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
    };
    let code = reply
        .code
        .map(|c| format!("{c} &middot; "))
        .unwrap_or_default();
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{status} {title}</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:12vh auto;padding:0 1em}}\
         small{{color:#767676}}</style>\n<h1>{title}</h1>\n<p>{detail}</p>\n\
         <p><small>{status} &middot; {code}request {id}</small></p>\n</html>\n",
        status = reply.status,
        detail = escape(&reply.detail),
        id = escape(page.request_id),
    )
}

fn title(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::http::field::Field;
    use crate::front::http::head_end;
    use crate::front::http::parse;

    fn page(html: bool) -> Page<'static> {
        Page {
            html,
            head_only: false,
            keep_alive: false,
            minor: 1,
            request_id: "id1",
            now: "1994-11-06T08:49:37.9Z".parse().unwrap(),
        }
    }

    #[test]
    fn an_answer_is_a_response_with_code_id_and_length() {
        for html in [false, true] {
            let mut out = Vec::new();
            write(&mut out, &LocalReply::not_ready("a"), &page(html));
            let end = head_end::find_end(&out, 0).unwrap().unwrap();
            let parsed = parse::response(&out[..end], false).unwrap();
            assert_eq!(parsed.length, Some((out.len() - end) as u64));
            let text = String::from_utf8(out).unwrap();
            for part in [
                "H20",
                "id1",
                "Retry-After: 5",
                "Connection: close",
                "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            ] {
                assert!(text.contains(part), "{part} in {text}");
            }
            assert_eq!(text.contains("<h1>"), html);
        }
    }

    #[test]
    fn html_is_shown_to_who_likes_it_no_less_than_json() {
        for (accept, html) in [
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                true,
            ),
            ("Text/HTML", true),
            ("application/json, text/html", true),
            ("application/json;q=0.5, text/html;q=0.9", true),
            ("application/json, text/html;q=0.9", false),
            ("application/problem+json, text/html;q=0.1", false),
            ("text/html;q=0, */*", false),
            ("text/html-sandboxed", false),
            ("application/json", false),
            ("*/*", false),
            ("", false),
        ] {
            let fields = Fields::from_iter(Field::new("Accept", accept.as_bytes()));
            assert_eq!(prefers_html(&fields), html, "{accept}");
        }
        assert!(!prefers_html(&Fields::default()));
    }

    #[test]
    fn what_is_shown_is_escaped() {
        let mut out = Vec::new();
        write(&mut out, &LocalReply::crashed("<b>"), &page(true));
        assert!(String::from_utf8(out).unwrap().contains("&lt;b&gt;"));
    }
}
