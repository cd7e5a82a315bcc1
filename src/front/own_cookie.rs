//! The server's own cookies, which no app is sent (pure): those of the dashboard, and the one that keeps a client with a
//! process.
//!
//! A browser keeps cookies by host, whatever the port, and whoever has one of the dashboard's acts for the person who
//! logged in.

use std::borrow::Cow;

/// What the name of each of the dashboard's begins with.
pub const OWN: &str = "procserver_ui";

/// What may stand before it: a browser takes such a cookie over TLS and for one host alone (RFC 6265bis §4.1.3.2).
pub const HOST_PREFIX: &str = "__Host-";

/// The value of a `Cookie` field without them; `None` where nothing is left. `sticky` names that of the application's
/// processes, if it has one.
#[must_use]
pub fn without_own<'v>(value: &'v [u8], sticky: Option<&str>) -> Option<Cow<'v, [u8]>> {
    let is_sticky = |pair: &[u8]| {
        let rest = sticky.and_then(|name| pair.trim_ascii().strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first().is_none_or(|b| *b == b'='))
    };
    let is_ours = |pair: &&[u8]| is_own(pair) || is_sticky(pair);
    let pairs = || value.split(|b| *b == b';');
    if !pairs().any(|pair| is_ours(&pair)) {
        return Some(Cow::Borrowed(value));
    }
    let others = pairs().filter(|pair| !is_ours(pair));
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

    fn left(value: &str, sticky: Option<&str>) -> Option<String> {
        without_own(value.as_bytes(), sticky)
            .map(|left| String::from_utf8(left.into_owned()).unwrap())
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
            assert_eq!(left(came, None).as_deref(), wanted, "{came}");
        }
    }
    #[test]
    fn the_cookie_of_a_process_goes_with_them_and_none_whose_name_is_longer() {
        let left = |came| left(came, Some("node"));
        assert_eq!(left("node=1; a=b; procserver_ui=2").as_deref(), Some("a=b"));
        assert_eq!(left("a=b;c=d; node").as_deref(), Some("a=b; c=d"));
        assert_eq!(left("node=1; procserver_ui=2"), None);
        assert_eq!(left("nodes=1;a=node").as_deref(), Some("nodes=1;a=node"));
    }
}
