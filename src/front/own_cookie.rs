//! The cookies of the server's own dashboard, which no app is sent (pure).
//!
//! A browser keeps cookies by host, whatever the port, and whoever has one of these acts for the person who logged in.

use std::borrow::Cow;

/// What the name of each of them begins with.
pub const OWN: &str = "procserver_ui";

/// What may stand before it: a browser takes such a cookie over TLS and for one host alone (RFC 6265bis §4.1.3.2).
pub const HOST_PREFIX: &str = "__Host-";

/// The value of a `Cookie` field without them; `None` where nothing is left.
#[must_use]
pub fn without_own(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr::memmem::find(value, OWN.as_bytes()).is_none() {
        return Some(Cow::Borrowed(value));
    }
    let others = value.split(|b| *b == b';').filter(|pair| !is_own(pair));
    let others: Vec<&[u8]> = others.map(<[u8]>::trim_ascii).collect();
    (!others.is_empty()).then(|| Cow::Owned(others.join(&b"; "[..])))
}

fn is_own(pair: &[u8]) -> bool {
    // Some servers take what stands before a quoted value, or a second name, for the name: all of the pair counts.
    let pair = pair.trim_ascii();
    let name = pair.strip_prefix(HOST_PREFIX.as_bytes()).unwrap_or(pair);
    name.starts_with(OWN.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(value: &str) -> Option<String> {
        without_own(value.as_bytes()).map(|left| String::from_utf8(left.into_owned()).unwrap())
    }

    #[test]
    fn own_cookies_go_and_others_stay_as_they_are() {
        for (came, wanted) in [
            ("a=b;c=d", Some("a=b;c=d")),
            ("procserver_ui=x", None),
            ("a=b; procserver_ui=x; c=\"d\"", Some("a=b; c=\"d\"")),
            ("__Host-procserver_ui=x;a=b", Some("a=b")),
            (
                " procserver_ui_local = x; procserver=y",
                Some("procserver=y"),
            ),
            (
                "a=procserver_ui; my_procserver_ui=1",
                Some("a=procserver_ui; my_procserver_ui=1"),
            ),
            ("", Some("")),
        ] {
            assert_eq!(left(came).as_deref(), wanted, "{came}");
        }
    }
}
