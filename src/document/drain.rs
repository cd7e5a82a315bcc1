//! [`DrainConfig`]: a receiver of logs (pure).

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::target_url::TargetUrl;

/// Each as it is written in a URL.
const SCHEMES: [&str; 7] = [
    "syslog+tls",
    "syslog+tcp",
    "syslog+udp",
    "https",
    "http",
    "loki+https",
    "loki+http",
];

/// The logs that an application has, by their names.
pub const STREAMS: [&str; 4] = ["stdout", "stderr", "install", "access"];

/// Those that a drain gets that names none.
pub const USUAL_STREAMS: [&str; 2] = ["stdout", "stderr"];

/// Bytes of the certificates of a receiver.
pub const MAX_CA: usize = 64 * 1024;

/// Where Loki takes what is pushed.
const LOKI_PATH: &str = "/loki/api/v1/push";

/// One entry of `drains`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    pub url: TargetUrl,
    pub protocol: Protocol,
    /// Which logs, of [`STREAMS`].
    pub streams: Vec<String>,
    /// Only of these process types; empty: of all.
    pub types: Vec<String>,
    /// PEM of those who are trusted instead of whom the machine trusts.
    pub ca: Option<Arc<str>>,
}

/// How a receiver is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    SyslogTls,
    SyslogTcp,
    SyslogUdp,
    /// JSON objects, one a line, by HTTP.
    Ndjson,
    Loki,
}

impl DrainConfig {
    /// A drain to `url` with the usual logs of all types.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn to(url: &str) -> Result<Self, String> {
        let mut url = TargetUrl::parse(url, &SCHEMES)?;
        let protocol = match &*url.scheme {
            "syslog+tls" => Protocol::SyslogTls,
            "syslog+tcp" => Protocol::SyslogTcp,
            "syslog+udp" => Protocol::SyslogUdp,
            "loki+https" | "loki+http" => Protocol::Loki,
            _ => Protocol::Ndjson,
        };
        let is_syslog = !matches!(protocol, Protocol::Ndjson | Protocol::Loki);
        if is_syslog && (url.credentials.is_some() || url.path.len() > 1) {
            return Err(
                "has a user or a path, which syslog has no place for: write scheme://HOST:PORT"
                    .to_owned(),
            );
        }
        if protocol == Protocol::Loki && url.path.len() < 2 {
            url.path = LOKI_PATH.to_owned();
        }
        Ok(Self {
            url,
            protocol,
            streams: USUAL_STREAMS.map(str::to_owned).to_vec(),
            types: vec![],
            ca: None,
        })
    }

    /// The port, where the URL names none: those of RFC 5425 and RFC 5426, and of HTTP.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.url.port.unwrap_or(match &*self.url.scheme {
            "syslog+tls" => 6514,
            "syslog+tcp" | "syslog+udp" => 514,
            "http" | "loki+http" => 80,
            _ => 443,
        })
    }

    /// Whether what goes there is encrypted.
    #[must_use]
    pub fn is_by_tls(&self) -> bool {
        matches!(&*self.url.scheme, "syslog+tls" | "https" | "loki+https")
    }
}

/// The name of a log, as `streams` has it.
pub fn stream(text: &str) -> Result<String, String> {
    match STREAMS.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("must be one of {}", STREAMS.join(", "))),
    }
}

/// The certificates of a receiver, as text.
pub fn ca(text: &str) -> Result<Arc<str>, String> {
    if text.len() > MAX_CA {
        return Err(format!("is longer than {MAX_CA} bytes"));
    }
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        certificate.map_err(|error| format!("must be certificates in PEM: {error}"))?;
        count += 1;
    }
    match count {
        0 => Err(
            "must be certificates in PEM, which begin with \"-----BEGIN CERTIFICATE-----\""
                .to_owned(),
        ),
        _ => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_how_a_receiver_is_spoken_to() {
        let port = |url: &str| DrainConfig::to(url).map(|drain| (drain.protocol, drain.port()));
        assert_eq!(port("syslog+tls://h"), Ok((Protocol::SyslogTls, 6514)));
        assert_eq!(port("syslog+udp://h"), Ok((Protocol::SyslogUdp, 514)));
        assert_eq!(port("syslog+tcp://h:601/"), Ok((Protocol::SyslogTcp, 601)));
        assert_eq!(port("https://h/x"), Ok((Protocol::Ndjson, 443)));
        let loki = DrainConfig::to("loki+http://u:p@h:3100").unwrap();
        assert_eq!(
            (loki.protocol, &*loki.url.path),
            (Protocol::Loki, LOKI_PATH)
        );
        for wrong in [
            "syslog://h",
            "syslog+tls://u:p@h",
            "syslog+tcp://h/x",
            "h:514",
        ] {
            assert!(DrainConfig::to(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn certificates_are_text_that_holds_one() {
        assert!(ca("/etc/ssl/private/key.pem").is_err());
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        assert!(ca(&made.cert.pem()).is_ok());
        assert!(stream("stdout").is_ok() && stream("all").is_err());
    }
}
