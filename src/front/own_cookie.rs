//! The server's own cookies, which no app is sent nor sets (pure): those of the dashboard, and the one that keeps a client with a
//! process.
//!
//! A browser keeps cookies by host, whatever the port, and whoever has one of the dashboard's acts for the person who
//! logged in.

use std::borrow::Cow;

pub use crate::document::policies::OWN_COOKIE as OWN;

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

/// Whether the value of a `Set-Cookie` field is one of the dashboard's, or would come back as one: browsers take one without
/// a name, too, and send its value alone (RFC 6265bis §5.8.3).
#[must_use]
pub fn sets_own(value: &[u8]) -> bool {
    let is_left_out = |b: &u8| b.is_ascii_whitespace() || *b == b'=';
    let from = value.iter().position(|b| !is_left_out(b));
    from.is_some_and(|from| is_own(&value[from..]))
}

/// The values of the cookies with this name in the values of `Cookie` fields.
pub fn values<'v>(
    fields: impl Iterator<Item = &'v [u8]>,
    name: &str,
) -> impl Iterator<Item = &'v str> {
    let pairs = fields
        .filter_map(|field| std::str::from_utf8(field).ok())
        .flat_map(|field| field.split(';'));
    pairs.filter_map(move |pair| {
        let (own, value) = pair.trim().split_once('=')?;
        (own == name).then_some(value)
    })
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
    fn what_an_app_sets_is_its_own_and_comes_back_as_nothing_else() {
        for own in [
            "procserver_ui=x; Path=/",
            " procserver_ui_9000 = x",
            "__Host-procserver_ui=x; Secure; Path=/",
            "=procserver_ui=x",
            " = procserver_ui=x",
            "procserver_ui",
        ] {
            assert!(sets_own(own.as_bytes()), "{own}");
        }
        for other in [
            "",
            "=",
            "a=procserver_ui",
            "procserver_sticky=1",
            "my_procserver_ui=1",
        ] {
            assert!(!sets_own(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_cookie_is_found_in_all_fields_by_its_whole_name() {
        let fields = ["a=1; b=2;a = 3", "ab=4", "a=5=6"];
        let fields = fields.iter().map(|field| field.as_bytes());
        let broken = [&b"a=7; \xff"[..]].into_iter();
        assert_eq!(
            values(fields.chain(broken), "a").collect::<Vec<_>>(),
            ["1", "5=6"]
        );
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
