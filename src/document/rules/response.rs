//! What a document may put into responses (pure).

use super::field_name;

/// Fields that say how a response is sent, which the proxy writes itself.
const FRAMING: [&str; 16] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "date",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-accel-buffering",
    "x-request-id",
];

/// Fields that mean something only in some responses.
const OF_ONE_RESPONSE: [&str; 7] = [
    "content-type",
    "etag",
    "last-modified",
    "location",
    "retry-after",
    "set-cookie",
    "www-authenticate",
];

/// Fields by which one application would speak for all that share its host.
const OF_THE_SITE: [&str; 4] = [
    "alt-svc",
    "clear-site-data",
    "refresh",
    "service-worker-allowed",
];

/// The name of a field that all responses of an application get.
pub(crate) fn response_field(name: &str) -> Result<(), String> {
    field_name(name)?;
    let is_one_of = |names: &[&str]| names.iter().any(|own| name.eq_ignore_ascii_case(own));
    if name.eq_ignore_ascii_case("strict-transport-security") {
        return Err("is what the field tls.hsts says".to_owned());
    }
    if is_one_of(&FRAMING) {
        return Err("cannot be set: it says how a response is sent".to_owned());
    }
    if is_one_of(&OF_ONE_RESPONSE) {
        return Err(
            "cannot be set: it is about one response, and this is for all of the application"
                .to_owned(),
        );
    }
    if is_one_of(&OF_THE_SITE) {
        return Err(
            "cannot be set: it is about the whole site, which other applications may share"
                .to_owned(),
        );
    }
    Ok(())
}

/// The value of a field of a response, which may be a policy of many words.
pub(crate) fn long_field_value(text: &str) -> Result<String, String> {
    let is_value = |b: u8| b == b' ' || b.is_ascii_graphic();
    if text.trim() != text || text.is_empty() || text.len() > 4096 || !text.bytes().all(is_value) {
        return Err(
            "must be the value of a field: 1 to 4096 printable ASCII characters without blanks at the ends"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_says_how_a_response_is_sent_or_speaks_for_the_whole_site() {
        for name in [
            "Content-Length",
            "set-cookie",
            "Strict-Transport-Security",
            "Service-Worker-Allowed",
            "alt-svc",
            "Clear-Site-Data",
            "a b",
            "",
        ] {
            assert!(response_field(name).is_err(), "{name}");
        }
        for name in ["X-Frame-Options", "Server", "Cache-Control"] {
            assert_eq!(response_field(name), Ok(()));
        }
    }
}
