//! The values of `[traces]`, valid by construction.

use std::str::FromStr;

use awc::http::Uri;

use super::value::{ValueError, deserialize_from_text};

deserialize_from_text! {
    CollectorUrl;
    Share;
}

/// Where spans are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorUrl(pub Uri);

impl FromStr for CollectorUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let url: Option<Uri> = text.parse().ok();
        let is_whole = |url: &Uri| {
            let authority = url.authority().map_or("", |authority| authority.as_str());
            url.scheme_str() == Some("http") && url.host().is_some() && !authority.contains('@')
        };
        url.filter(is_whole).map(Self).ok_or_else(|| {
            // It may hold a password, and is no URL whose parts are known.
            let shown = match text.contains(['@', '?']) {
                true => "what is there".to_owned(),
                false => format!("\"{text}\""),
            };
            ValueError(format!(
                "{shown} is no URL of a collector: write http://HOST:PORT/v1/traces. To send spans over HTTPS, or with a \
                 password, run a collector on this machine that does"
            ))
        })
    }
}

/// A part of the whole, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
        part.map(Self).ok_or_else(|| {
            ValueError(format!(
                "\"{text}\" is no part: write a number from 0 to 1, as in 0.01 for one request of a hundred"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_reached_by_plain_http_and_a_part_is_at_most_all() {
        for good in [
            "http://127.0.0.1:4318/v1/traces",
            "http://collector/v1/traces",
        ] {
            assert!(good.parse::<CollectorUrl>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:4318",
            "https://c/v1/traces",
            "http://",
            "http://a:b@c/",
            "/v1/traces",
        ] {
            assert!(bad.parse::<CollectorUrl>().is_err(), "{bad}");
        }
        for secret in [
            "http://a:sesame@c/",
            "https://sesame@c",
            "https://c/x?key=sesame",
        ] {
            let error = secret.parse::<CollectorUrl>().unwrap_err().to_string();
            assert!(!error.contains("sesame"), "{error}");
        }
        assert_eq!("0.5".parse(), Ok(Share(0.5)));
        for bad in ["", "2", "-0.1", "NaN", "half"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}
