//! How an answer of the proxy itself is written: as problem+json (RFC 9457), or HTML for browsers (pure).

use std::collections::BTreeMap;
use std::io::Write as _;

use super::LocalReply;
use crate::document::policies::ResponseHeader;
use crate::front::http::field::Name;
use crate::front::http::fields::Fields;
use crate::front::http::quality::weight;

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

/// Writes `reply` as a whole response.
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
