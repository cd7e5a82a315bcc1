//! Keeps what an app sets in a browser within the app's path, away from other apps on the same host (pure).
//!
//! A browser knows one site, whatever is behind its paths. A cookie for `/` would go to all apps and replace theirs,
//! and a service worker for `/` would answer in their place.

use super::field::Field;
use super::write;

/// Characters of an attribute. Browsers ignore a longer one (RFC 6265bis §5.6).
const MAX_ATTRIBUTE: usize = 1024;

/// Writes `Set-Cookie` with one path, which is within that of `app`. A cookie without a path, or with one that browsers
/// ignore, gets the app's. A path outside it counts as one that the app sees, and is put below. Of several the last one
/// counts (RFC 6265bis §5.6).
///
/// A cookie whose name begins with `__Host-` must be for `/`. Browsers refuse it then, as they should.
pub(super) fn cookie(out: &mut Vec<u8>, f: &Field<'_>, app: &str) {
    let mut parts = f.value.split(|b| *b == b';');
    let pair = parts.next().unwrap_or_default();
    write::all(out, [f.name.as_bytes(), b": ", pair]);
    let mut path: &[u8] = b"";
    for part in parts {
        match path_of(part) {
            Some(value) => path = value,
            None => write::all(out, [b";", part]),
        }
    }
    let is_taken = path.starts_with(b"/") && path.len() <= MAX_ATTRIBUTE;
    let path = if is_taken { path } else { b"" };
    write::all(out, [b"; Path="]);
    match within(path, app) {
        true => out.extend_from_slice(path),
        false => write::all(
            out,
            [
                b"/",
                app.as_bytes(),
                path.strip_suffix(b"/").unwrap_or(path),
            ],
        ),
    }
    out.extend_from_slice(b"\r\n");
}

/// Returns the value of an attribute that is called `Path`.
fn path_of(attribute: &[u8]) -> Option<&[u8]> {
    let equals = attribute.iter().position(|b| *b == b'=');
    let (name, value) = attribute.split_at(equals.unwrap_or(attribute.len()));
    let is_path = name.trim_ascii().eq_ignore_ascii_case(b"path");
    is_path.then(|| value.get(1..).unwrap_or_default().trim_ascii())
}

/// Whether a cookie's path is that of `app` or below, as browsers compare it: as it is written.
fn within(path: &[u8], app: &str) -> bool {
    let rest = path.strip_prefix(b"/");
    let rest = rest.and_then(|path| path.strip_prefix(app.as_bytes()));
    rest.is_some_and(|rest| rest.first().is_none_or(|b| *b == b'/'))
}

/// Writes `Service-Worker-Allowed` cut to the path of `app`. Browsers compare a scope letter by letter, so it ends with
/// a slash: `/app` would allow `/apple`, too.
pub(super) fn worker_scope(out: &mut Vec<u8>, f: &Field<'_>, app: &str) {
    // Browsers resolve it as a URL. A byte that could lead out of the path by that is none of a scope within it.
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/-_~".contains(b);
    let is_within = within(f.value, app) && f.value.len() > app.len() + 1;
    write::all(out, [f.name.as_bytes(), b": "]);
    match is_within && f.value.iter().all(plain) {
        true => out.extend_from_slice(f.value),
        false => write::all(out, [b"/", app.as_bytes(), b"/"]),
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: &str, write: fn(&mut Vec<u8>, &Field<'_>, &str)) -> String {
        let mut out = Vec::new();
        write(
            &mut out,
            &Field::new("X", value.as_bytes()).unwrap(),
            "blog",
        );
        let text = String::from_utf8(out).unwrap();
        let value = text
            .strip_prefix("X: ")
            .and_then(|v| v.strip_suffix("\r\n"));
        value.unwrap().to_owned()
    }

    #[test]
    fn a_cookie_stays_in_the_path_of_its_app() {
        for (came, left) in [
            ("a=b", "a=b; Path=/blog"),
            ("a=b; Path=/", "a=b; Path=/blog"),
            (
                "a=b; HttpOnly; path = / ; Secure",
                "a=b; HttpOnly; Secure; Path=/blog",
            ),
            ("a=b; Path", "a=b; Path=/blog"),
            ("a=b; Path=", "a=b; Path=/blog"),
            ("a=b; Path=x", "a=b; Path=/blog"),
            ("a=b; Path=\"/\"", "a=b; Path=/blog"),
            ("a=b; Path=/admin", "a=b; Path=/blog/admin"),
            ("a=b; Path=/blogger", "a=b; Path=/blog/blogger"),
            ("a=b; Path=/blog", "a=b; Path=/blog"),
            ("a=b; Path=/blog/x/", "a=b; Path=/blog/x/"),
            ("a=b; Path=/blog; Path=/", "a=b; Path=/blog"),
            ("a=b; Path=/; PATH=/blog/x", "a=b; Path=/blog/x"),
            ("a=path=/;Max-Age=1", "a=path=/;Max-Age=1; Path=/blog"),
            (
                "__Host-a=b; Secure; Path=/",
                "__Host-a=b; Secure; Path=/blog",
            ),
            ("", "; Path=/blog"),
        ] {
            assert_eq!(written(came, cookie), left, "{came}");
        }
        let long = format!("a=b; Path=/blog/{}", "x".repeat(1024));
        assert_eq!(written(&long, cookie), "a=b; Path=/blog");
    }

    #[test]
    fn a_service_worker_stays_in_the_path_of_its_app() {
        for (came, left) in [
            ("/", "/blog/"),
            ("/blog", "/blog/"),
            ("/blogger/", "/blog/"),
            ("../", "/blog/"),
            ("/blog/../", "/blog/"),
            ("/blog/%2e%2e/", "/blog/"),
            ("//blog/x", "/blog/"),
            ("/blog/", "/blog/"),
            ("/blog/x/", "/blog/x/"),
        ] {
            assert_eq!(written(came, worker_scope), left, "{came}");
        }
    }

    proptest! {
        #[test]
        fn whatever_an_app_sends_its_cookie_has_one_path_which_is_its_own(
            value in "[a=]{0,3}(; ?[pP]ath ?=? ?(/|/blog|/b)?[/.a\"]{0,4}|; [a-z=]{0,6}){0,4}",
        ) {
            let left = written(&value, cookie);
            let paths: Vec<_> = left.split(';').skip(1).filter_map(|p| path_of(p.as_bytes())).collect();
            prop_assert_eq!(paths.len(), 1);
            prop_assert!(within(paths[0], "blog"));
        }
    }
}
