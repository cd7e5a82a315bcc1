//! [`TlsSettings`]: certificates from files and from a certificate authority.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use actix_web::http::Uri;

use super::error::SettingsError;
use super::raw::{RawAcme, RawSettings};
use super::tls_value::CertificatePair;
use super::value::Listen;
use crate::acme::settings as acme;
use crate::tls::server_config::MinVersion;
use crate::tls::store::Configured;

/// What handshakes are made with.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    pub min_version: MinVersion,
    pub certificates: Configured,
    /// The certificate authority that is asked for others.
    pub acme: Option<Arc<acme::Settings>>,
}

pub(super) fn resolve(raw: &RawSettings) -> Result<TlsSettings, SettingsError> {
    let acme = acme_settings(&raw.acme)?.map(Arc::new);
    let raw = &raw.tls;
    let pair = |pair: &CertificatePair| pair.0.clone();
    Ok(TlsSettings {
        acme,
        min_version: raw
            .min_version
            .map_or(MinVersion::Tls12, |version| version.0),
        certificates: Configured {
            pairs: raw.certificates.iter().flatten().map(pair).collect(),
            default: raw.default_certificate.as_ref().map(pair),
        },
    })
}

/// Where handshakes are made: by default at port 443 of a server of root that has certificates.
pub(super) fn listen(
    raw: &RawSettings,
    tls: &TlsSettings,
    is_root: bool,
) -> Result<Vec<SocketAddr>, SettingsError> {
    let has_certificates = tls.certificates != Configured::default() || tls.acme.is_some();
    let listen: Vec<_> = match &raw.tls_listen {
        Some(listen) => listen.iter().map(|Listen(address)| *address).collect(),
        None if is_root && has_certificates => vec![(Ipv6Addr::UNSPECIFIED, 443).into()],
        None => Vec::new(),
    };
    if !listen.is_empty() && !has_certificates {
        return Err(SettingsError::NoCertificate);
    }
    let method = tls.acme.as_ref().map(|acme| acme.method);
    if listen.is_empty() && method == Some(acme::Method::TlsAlpn) {
        return Err(SettingsError::NoTlsListener);
    }
    Ok(listen)
}

/// Whether it is a URL that can be asked by HTTPS, without a user's name in it.
fn is_https(url: &str) -> bool {
    let parsed: Option<Uri> = url.parse().ok();
    parsed.is_some_and(|uri| {
        let host = uri.host().is_some_and(|host| !host.is_empty());
        let user = uri
            .authority()
            .is_some_and(|all| all.as_str().contains('@'));
        uri.scheme_str() == Some("https") && host && !user
    })
}

fn acme_settings(raw: &RawAcme) -> Result<Option<acme::Settings>, SettingsError> {
    if *raw == RawAcme::default() {
        return Ok(None);
    }
    let directory = raw.directory.clone();
    let directory = directory.unwrap_or_else(|| acme::USUAL_DIRECTORY.to_owned());
    if raw.agree_terms != Some(true) {
        return Err(SettingsError::TermsNotAgreed);
    }
    if !is_https(&directory) {
        return Err(SettingsError::AcmeDirectory(directory));
    }
    let method = raw
        .challenge
        .map_or(acme::Method::Http, |challenge| challenge.0);
    if method == acme::Method::Dns && raw.dns_hook.is_none() {
        return Err(SettingsError::NoDnsHook);
    }
    let account = raw
        .eab
        .as_ref()
        .map(|eab| acme::ExternalAccount::new(eab.id.clone(), &eab.key));
    Ok(Some(acme::Settings {
        email: raw.email.as_ref().map(|email| email.0.clone()),
        directory,
        method,
        profile: raw.profile.clone(),
        external_account: account.transpose().map_err(|_| SettingsError::AcmeKey)?,
        dns_hook: raw.dns_hook.clone(),
        root_ca: raw.root_ca.clone(),
        check_first: raw.check_first.unwrap_or(true),
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn tls_is_listened_for_where_there_are_certificates() {
        let resolve = |root, text: &str| {
            let raw = RawSettings::from_toml(text, Path::new("x")).unwrap();
            let tls = resolve(&raw)?;
            listen(&raw, &tls, root)
        };
        let listen = |root, text| resolve(root, text).unwrap();
        let named = "tls.default_certificate = { cert = \"/c\", key = \"/k\" }";
        assert_eq!(listen(true, named), ["[::]:443".parse().unwrap()]);
        assert_eq!(listen(false, named), []);
        assert_eq!(listen(true, ""), []);
        assert_eq!(
            listen(true, "acme.agree_terms = true"),
            ["[::]:443".parse().unwrap()]
        );
        for url in [
            "https://x/d ",
            "https://",
            "https://a:b@x/d",
            "https://bücher.test/d",
        ] {
            assert!(!is_https(url), "{url}");
        }
        for (text, told) in [
            ("acme.email = \"a@b.c\"", "agree_terms = true"),
            (
                "acme = { agree_terms = true, directory = \"http://x\" }",
                "https://",
            ),
            (
                "acme = { agree_terms = true, challenge = \"dns-01\" }",
                "dns_hook",
            ),
            (
                "acme = { agree_terms = true, challenge = \"tls-alpn-01\" }\ntls_listen = []",
                "tls_listen",
            ),
            (
                "acme = { agree_terms = true, eab = { id = \"a\", key = \"?\" } }",
                "base64url",
            ),
        ] {
            let error = resolve(true, text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        let error = resolve(true, "tls_listen = [\":443\"]").unwrap_err();
        assert!(error.to_string().contains("certificates = [{"), "{error}");
    }
}
