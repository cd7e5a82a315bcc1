//! [`Field`]: a field of a head, with its name recognized (pure).
//!
//! Some thirty names mean something to this front end, and it asks for each many times a request. To compare letters
//! each time was a third of the cost of parsing and rewriting a head.

use super::token::is_token;

/// One field of a head, without the blanks around its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'b> {
    /// The name, in its own case.
    pub name: &'b str,
    pub value: &'b [u8],
    like: Name,
    /// The name has `_` or `.` where the one that it is like has `-`.
    odd: bool,
}

impl<'b> Field<'b> {
    /// Makes a field. Returns `None` if the name is no token (RFC 9110 §5.6.2).
    #[must_use]
    pub fn new(name: &'b str, value: &'b [u8]) -> Option<Self> {
        // Without an early end, since most names are short and sound.
        let found = name
            .bytes()
            .fold(0, |found, b| found | KIND[usize::from(b)]);
        if name.is_empty() || found & NO_TOKEN != 0 {
            return None;
        }
        let has_other_dashes = found & OTHER_DASH != 0;
        let like = Name::like(name, has_other_dashes);
        let odd = like != Name::Other && has_other_dashes;
        Some(Self {
            name,
            value,
            like,
            odd,
        })
    }

    #[must_use]
    pub fn is(&self, name: Name) -> bool {
        self.like == name && !self.odd
    }

    /// Whether it has this name, which is none of [`Name`].
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Returns the name that it has, or would have with `-` for `_` and `.`. To programs that get fields as variables
    /// `_` and `-` are the same, and to PHP `.` is, too.
    #[must_use]
    pub fn like(&self) -> Name {
        self.like
    }

    /// Whether its name has `_` or `.` where the one that it is like has `-`.
    #[must_use]
    pub fn is_odd(&self) -> bool {
        self.odd
    }
}

/// What each byte tells of a name that it is in.
const KIND: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < kinds.len() {
        if !is_token(byte as u8) {
            kinds[byte] = NO_TOKEN;
        }
        byte += 1;
    }
    (kinds[b'_' as usize], kinds[b'.' as usize]) = (OTHER_DASH, OTHER_DASH);
    kinds
};
const NO_TOKEN: u8 = 1;
const OTHER_DASH: u8 = 2;

/// Names that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Accept,
    Authorization,
    ClearSiteData,
    Connection,
    ContentLength,
    Cookie,
    Date,
    Expect,
    Forwarded,
    /// `X-Forwarded-For`.
    ForwardedFor,
    /// `X-Forwarded-Host`.
    ForwardedHost,
    /// `X-Forwarded-Port`.
    ForwardedPort,
    /// `X-Forwarded-Prefix`.
    ForwardedPrefix,
    /// `X-Forwarded-Proto`.
    ForwardedProto,
    /// Others that say who asks, or for what, and that some frameworks believe.
    FromProxy,
    /// Other `X-Forwarded-*`, such as `-Ssl` and `-Scheme`, which some frameworks believe too.
    ForwardedOther,
    Host,
    /// Others that concern one connection only.
    HopByHop,
    MaxForwards,
    /// `X-Real-IP`.
    RealIp,
    /// `X-Request-Start`.
    RequestStart,
    ServiceWorkerAllowed,
    SetCookie,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    /// `X-App`.
    XApp,
    XRequestId,
    Other,
}

/// The beginning of those whose end does not matter.
const FORWARDED: &str = "x-forwarded-";

impl Name {
    /// Returns the names of this length that begin with this letter.
    fn candidates(length: usize, first: u8) -> &'static [(&'static str, Self)] {
        match (length, first | 0x20) {
            (2, b't') => &[("te", Self::Te)],
            (4, b'd') => &[("date", Self::Date)],
            (4, b'h') => &[("host", Self::Host)],
            (5, b'x') => &[("x-app", Self::XApp)],
            (8, b'x') => &[("x-scheme", Self::FromProxy)],
            (9, b'x') => &[("x-real-ip", Self::RealIp)],
            (9, b'c') => &[("client-ip", Self::FromProxy)],
            // Gunicorn takes these two from its proxy to learn where the app begins.
            (9, b'p') => &[("path-info", Self::FromProxy)],
            (11, b's') => &[("script-name", Self::FromProxy)],
            (10, b's') => &[("set-cookie", Self::SetCookie)],
            (11, b'x') => &[
                ("x-client-ip", Self::FromProxy),
                ("x-remote-ip", Self::FromProxy),
                ("x-forwarded", Self::FromProxy),
            ],
            (12, b'x') => &[
                ("x-request-id", Self::XRequestId),
                ("x-url-scheme", Self::FromProxy),
            ],
            (13, b'a') => &[("authorization", Self::Authorization)],
            (13, b'x') => &[
                ("x-rewrite-url", Self::FromProxy),
                ("x-remote-addr", Self::FromProxy),
            ],
            (14, b'x') => &[
                ("x-original-url", Self::FromProxy),
                ("x-original-for", Self::FromProxy),
            ],
            (14, b't') => &[("true-client-ip", Self::FromProxy)],
            (15, b'f') => &[("front-end-https", Self::FromProxy)],
            (13, b'f') => &[("fly-client-ip", Self::FromProxy)],
            (15, b'p') => &[("proxy-client-ip", Self::FromProxy)],
            (15, b'c') => &[("clear-site-data", Self::ClearSiteData)],
            (16, b'c') => &[("cf-connecting-ip", Self::FromProxy)],
            (16, b'f') => &[("fastly-client-ip", Self::FromProxy)],
            (18, b'c') => &[("cf-connecting-ipv6", Self::FromProxy)],
            (18, b'w') => &[("wl-proxy-client-ip", Self::FromProxy)],
            (19, b'x') => &[("x-cluster-client-ip", Self::FromProxy)],
            (22, b's') => &[("service-worker-allowed", Self::ServiceWorkerAllowed)],
            // It is no such field, but programs that run as CGI take it for the address of their own proxy (httpoxy).
            (5, b'p') => &[("proxy", Self::HopByHop)],
            (6, b'a') => &[("accept", Self::Accept)],
            (6, b'c') => &[("cookie", Self::Cookie)],
            (6, b'e') => &[("expect", Self::Expect)],
            (7, b'u') => &[("upgrade", Self::Upgrade)],
            (7, b't') => &[("trailer", Self::Trailer)],
            (9, b'f') => &[("forwarded", Self::Forwarded)],
            (10, b'c') => &[("connection", Self::Connection)],
            (10, b'u') => &[("user-agent", Self::UserAgent)],
            (10, b'k') => &[("keep-alive", Self::HopByHop)],
            (12, b'm') => &[("max-forwards", Self::MaxForwards)],
            (14, b'c') => &[("content-length", Self::ContentLength)],
            (14, b'h') => &[("http2-settings", Self::HopByHop)],
            (15, b'x') => &[
                ("x-forwarded-for", Self::ForwardedFor),
                ("x-request-start", Self::RequestStart),
                ("x-original-host", Self::FromProxy),
            ],
            (16, b'x') => &[
                ("x-original-proto", Self::FromProxy),
                ("x-originating-ip", Self::FromProxy),
                ("x-forwarded-host", Self::ForwardedHost),
                ("x-forwarded-port", Self::ForwardedPort),
            ],
            (16, b'p') => &[("proxy-connection", Self::HopByHop)],
            (17, b't') => &[("transfer-encoding", Self::TransferEncoding)],
            (17, b'x') => &[("x-forwarded-proto", Self::ForwardedProto)],
            (18, b'x') => &[("x-forwarded-prefix", Self::ForwardedPrefix)],
            (18, b'p') => &[("proxy-authenticate", Self::HopByHop)],
            (19, b'p') => &[("proxy-authorization", Self::HopByHop)],
            (25, b'p') => &[("proxy-authentication-info", Self::HopByHop)],
            _ => &[],
        }
    }

    /// Returns what a token is as a name, or would be with `-` for `_` and `.`.
    fn like(name: &str, has_other_dashes: bool) -> Self {
        let same = if has_other_dashes { same } else { is };
        let first = name.as_bytes().first().copied().unwrap_or_default();
        let mut known = Self::candidates(name.len(), first).iter();
        if let Some((_, like)) = known.find(|(own, _)| same(own, name)) {
            return *like;
        }
        let begins = |start: &str| same(FORWARDED, start);
        match name.get(..FORWARDED.len()) {
            Some(start) if first | 0x20 == b'x' && begins(start) => Self::ForwardedOther,
            _ => Self::Other,
        }
    }

    /// Whether it concerns one connection only (RFC 9110 §7.6.1), or each hop makes it anew.
    #[must_use]
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::ContentLength
                | Self::HopByHop
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }

    /// Whether it says who asks and what for. Only trusted peers are believed that.
    #[must_use]
    pub fn is_forwarding(self) -> bool {
        self.is_x_forwarded()
            || matches!(
                self,
                Self::Forwarded
                    | Self::FromProxy
                    | Self::RealIp
                    | Self::RequestStart
                    | Self::XApp
                    | Self::XRequestId
            )
    }

    /// Whether it is one of `X-Forwarded-*`.
    #[must_use]
    pub fn is_x_forwarded(self) -> bool {
        matches!(
            self,
            Self::ForwardedFor
                | Self::ForwardedHost
                | Self::ForwardedOther
                | Self::ForwardedPort
                | Self::ForwardedPrefix
                | Self::ForwardedProto
        )
    }
}

/// Whether a token is `own` in any case. `own` has lower-case letters, digits and dashes only, so the bit for case
/// changes no other byte of a token into one of its own.
fn is(own: &str, token: &str) -> bool {
    let pairs = own.bytes().zip(token.bytes());
    own.len() == token.len() && pairs.fold(true, |all, (own, b)| all & (own == b | 0x20))
}

/// Whether a name is `own` in any case, with `_` or `.` for its dashes, too. `own` is in lower case.
pub(super) fn same(own: &str, name: &str) -> bool {
    own.len() == name.len()
        && own.bytes().zip(name.bytes()).all(|(own, b)| match b {
            b'_' | b'.' => own == b'-',
            b => own == b.to_ascii_lowercase(),
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(name: &str) -> Field<'_> {
        Field::new(name, b"").expect("a token")
    }

    #[test]
    fn a_name_is_itself_in_any_case() {
        for (text, name) in [
            ("TE", Name::Te),
            ("hOSt", Name::Host),
            ("Content-Length", Name::ContentLength),
            ("Proxy-Authentication-Info", Name::HopByHop),
            ("X-Forwarded-For", Name::ForwardedFor),
            ("X-Forwarded-", Name::ForwardedOther),
            (
                "X-Forwarded-Of-Some-Proxy-That-Says-Much",
                Name::ForwardedOther,
            ),
            ("X-Forwarded", Name::FromProxy),
            ("X-Real-IP", Name::RealIp),
            ("CF-Connecting-IP", Name::FromProxy),
            ("Hostx", Name::Other),
            ("Proxy-Authentication-Info-", Name::Other),
        ] {
            let field = field(text);
            assert!(field.is(name) && !field.is_odd(), "{text}: {field:?}");
            assert!(field.is_named(&text.to_ascii_uppercase()));
        }
    }

    #[test]
    fn other_spellings_are_like_a_name_and_are_not_it() {
        for (odd, like) in [
            ("Content_Length", Name::ContentLength),
            ("X.Forwarded_FOR", Name::ForwardedFor),
            ("x_forwarded_ssl", Name::ForwardedOther),
            ("X_App", Name::XApp),
            ("X_Real.Ip", Name::RealIp),
            ("SCRIPT_NAME", Name::FromProxy),
        ] {
            let field = field(odd);
            assert_eq!((field.like(), field.is_odd()), (like, true), "{odd}");
            assert!(!field.is(like));
        }
        let other = field("X_Other.Name");
        assert!(other.is(Name::Other) && !other.is_odd());
        assert!(same("set-cookie", "Set_Cookie") && !same("set-cookie", "Set-Cookies"));
    }

    #[test]
    fn what_is_no_token_is_no_name() {
        for name in [
            "",
            " ",
            "a b",
            "a:",
            "a\u{e4}",
            "x-forwarded-of-some-proxy-that-says(much)",
        ] {
            assert_eq!(Field::new(name, b""), None, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_like_what_it_is_with_dashes(name in "[A-Za-z_.-]{1,30}|[xX][-_.]forwarded[-_.][a-zA-Z]{0,20}") {
            let folded = name.to_ascii_lowercase().replace(['_', '.'], "-");
            prop_assert_eq!(field(&name).like(), field(&folded).like());
            prop_assert!(same(&folded, &name));
        }

        #[test]
        fn comparing_by_the_bit_for_case_is_comparing_without_case(
            own in prop_oneof!["x-app", "x-request-id", "http2-settings"],
            token in "[xX`@][-_M.r]([aA!][pPp0][p~P^]|[rR]equest[-mM][Ii][dD$])|[hH]ttp[2Rr][-M_]settings",
        ) {
            prop_assert_eq!(is(&own, &token), own.eq_ignore_ascii_case(&token));
        }
    }
}
