//! Answers of the proxy itself: problem+json (RFC 9457), or HTML for browsers (pure).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::field::Name;
use super::fields::Fields;
use super::head::Refusal;
use super::quality::weight;
use crate::document::policies::ResponseHeader;

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
    /// Boxed, since each result that may be an answer is as large as one.
    pub rare: Option<Box<Rare>>,
}

/// What few answers have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rare {
    /// The whole body, where this is no error.
    text: Option<String>,
    /// A page of the app's own, for those who like HTML.
    page: Option<Arc<[u8]>>,
    /// The realm whose name and password the client is asked for.
    realm: Option<String>,
    /// The policy of the app's document that made it.
    policy: Option<&'static str>,
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
            rare: None,
        }
    }

    /// The policy of the app's document that made it, if one did.
    #[must_use]
    pub fn policy(&self) -> Option<&'static str> {
        self.rare.as_ref()?.policy
    }

    /// An answer that the app's document asks for.
    fn by_policy(policy: &'static str, status: u16, detail: impl Into<String>) -> Self {
        let rare = Rare {
            policy: Some(policy),
            ..Rare::default()
        };
        Self {
            rare: Some(Box::new(rare)),
            ..Self::new(status, "", detail)
        }
    }

    fn with(mut self, say: impl FnOnce(&mut Rare)) -> Self {
        say(self.rare.get_or_insert_default());
        self
    }

    /// The client's address is in none of the networks that are let in.
    #[must_use]
    pub fn not_allowed() -> Self {
        let detail = "Your address is not one of those that this application lets in.";
        Self::by_policy("allow", 403, detail)
    }

    /// Nobody is served for a while. H80 is Heroku's code for that.
    #[must_use]
    pub fn maintenance(app: &str, retry_after: Duration, page: Option<Arc<[u8]>>) -> Self {
        let detail = format!("The application \"{app}\" is being maintained. It will be back.");
        Self {
            code: Some("H80"),
            retry_after: Some(seconds(retry_after)),
            ..Self::by_policy("maintenance", 503, detail)
        }
        .with(|rare| rare.page = page)
    }

    /// The client's address has made too many requests, or too many with a wrong password.
    #[must_use]
    pub fn too_many(wait: Duration) -> Self {
        let detail = "Too many requests came from your address. Wait, and try again.";
        Self {
            retry_after: Some(seconds(wait)),
            ..Self::by_policy("rate", 429, detail)
        }
    }

    /// Too many passwords are looked at.
    #[must_use]
    pub fn too_many_log_in() -> Self {
        let detail = "Too many clients log in at this moment. Try again.";
        Self {
            retry_after: Some(1),
            ..Self::by_policy("auth", 503, detail)
        }
    }

    /// A name and a password are asked for, or these are wrong.
    #[must_use]
    pub fn unauthorized(realm: &str) -> Self {
        let detail = "This needs a name and a password, and these were none or wrong ones.";
        Self::by_policy("auth", 401, detail).with(|rare| rare.realm = Some(realm.to_owned()))
    }

    /// What was asked for is elsewhere.
    #[must_use]
    pub fn redirect(location: String, status: u16) -> Self {
        Self {
            location: Some(location),
            ..Self::by_policy("redirect", status, "")
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
        Self::new(200, "", "").with(|rare| rare.text = Some(text))
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
    /// Fields that the app's document sets, by their names in lower case.
    pub fields: Option<&'a BTreeMap<String, ResponseHeader>>,
}

/// Fields that an answer of the proxy has of its own, so that a document does not set them: an error must not be kept
/// by a cache because files may be.
const OWN_FIELDS: [&str; 3] = ["allow", "cache-control", "server"];

/// Whole seconds that are not less.
fn seconds(wait: Duration) -> u32 {
    let more = u64::from(wait.subsec_nanos() > 0);
    u32::try_from(wait.as_secs() + more)
        .unwrap_or(u32::MAX)
        .max(1)
}

pub fn write(out: &mut Vec<u8>, reply: &LocalReply, page: &Page<'_>) {
    let title = title(reply.status);
    let rare = reply.rare.as_deref().cloned().unwrap_or_default();
    let has_text = rare.text.is_some();
    let body = match (page.html, &rare.page) {
        _ if reply.status < 400 => rare.text.unwrap_or_default().into_bytes(),
        (true, Some(own)) => own.to_vec(),
        (true, None) => html(reply, title, page).into_bytes(),
        (false, _) => problem(reply, title, page).into_bytes(),
    };
    let kind = match page.html {
        _ if body.is_empty() => "",
        _ if has_text => "Content-Type: application/octet-stream\r\n",
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
    if let Some(realm) = &rare.realm {
        let _ = write!(
            out,
            "WWW-Authenticate: Basic realm=\"{realm}\", charset=\"UTF-8\"\r\n"
        );
    }
    for header in page.fields.iter().flat_map(|fields| fields.iter()) {
        if let (own, ResponseHeader::Set { name, value }) = header
            && !OWN_FIELDS.contains(&own.as_str())
        {
            let _ = write!(out, "{name}: {value}\r\n");
        }
    }
    match (page.keep_alive, page.minor) {
        (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (true, 0) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (true, _) => {}
    }
    out.extend_from_slice(b"\r\n");
    if !page.head_only {
        out.extend_from_slice(&body);
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
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
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
            fields: None,
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
