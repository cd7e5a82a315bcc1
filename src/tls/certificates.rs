//! [`Certificates`]: which certificate answers a handshake.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;

/// All certificates by the names that they are for. Immutable: whoever changes something makes a new one.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    by_name: HashMap<String, Arc<Certificate>>,
    /// Wildcards (`*.example.org`), by what follows their label. To look for one makes no text of its own.
    by_parent: HashMap<String, Arc<Certificate>>,
    /// The best that is for an address: clients that ask for an address send no name.
    by_address: Option<Arc<Certificate>>,
    /// What answers clients that ask for no name, or for one that is not here.
    default: Option<Arc<Certificate>>,
}

impl Certificates {
    /// Takes these, and for each name the best of them at `now`.
    #[must_use]
    pub fn new(
        all: &[Arc<Certificate>],
        default: Option<Arc<Certificate>>,
        now: Timestamp,
    ) -> Self {
        let mut by_name: HashMap<String, Arc<Certificate>> = HashMap::new();
        let for_addresses = all.iter().filter(|one| !one.addresses.is_empty());
        let by_address = for_addresses.max_by_key(|one| rank(one, now)).cloned();
        for certificate in all {
            for name in &certificate.names {
                let best = by_name
                    .get(name)
                    .is_none_or(|other| rank(certificate, now) > rank(other, now));
                if best {
                    by_name.insert(name.clone(), Arc::clone(certificate));
                }
            }
        }
        let (mut exact, mut by_parent) = (HashMap::new(), HashMap::new());
        for (name, certificate) in by_name {
            match name.strip_prefix("*.") {
                Some(parent) => by_parent.insert(parent.to_owned(), certificate),
                None => exact.insert(name, certificate),
            };
        }
        Self {
            by_name: exact,
            by_parent,
            by_address,
            default,
        }
    }

    /// The certificate for the name that a client asks for: exact before one-label wildcard (RFC 6125 §6.4.3) before
    /// the default. A client that names none gets the default, else one for addresses. `name` is in lower case, as
    /// rustls gives it.
    #[must_use]
    pub fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let chosen = match name {
            Some(name) => self.find(name).or(self.default.as_ref())?,
            None => self.default.as_ref().or(self.by_address.as_ref())?,
        };
        Some(Arc::clone(&chosen.key))
    }

    /// The certificate that covers this name, the default aside.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Certificate>> {
        self.by_name.get(name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_parent.get(parent)
        })
    }

    /// Whether clients get a certificate for this very host that they may trust at the time that `now` says. `host` is
    /// in any case, and may have a dot at its end.
    #[must_use]
    pub fn has_valid(&self, host: &str, now: impl FnOnce() -> Timestamp) -> bool {
        let name = host.strip_suffix('.').unwrap_or(host);
        let name: Cow<'_, str> = match name.bytes().any(|b| b.is_ascii_uppercase()) {
            true => name.to_ascii_lowercase().into(),
            false => name.into(),
        };
        let found = self.find(&name);
        found.is_some_and(|certificate| certificate.is_valid_at(now()))
    }
}

/// A valid one before one that is not, then a file's before the CA's, then the one that lasts longer.
fn rank(certificate: &Certificate, now: Timestamp) -> impl Ord {
    (
        certificate.is_valid_at(now),
        certificate.source,
        certificate.not_after,
    )
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::tls::certificate::Source;
    use crate::tls::server_config::provider;

    fn made(names: &[&str], years: (i32, i32), source: Source) -> Arc<Certificate> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.not_before = date_time_ymd(years.0, 1, 1);
        parameters.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let chain = parameters.self_signed(&key).unwrap().pem();
        let key = key.serialize_pem();
        let read = Certificate::from_pem(chain.as_bytes(), key.as_bytes(), source, &provider());
        Arc::new(read.unwrap())
    }

    fn now() -> Timestamp {
        "2026-11-29T00:00:00Z".parse().unwrap()
    }

    fn is(chosen: Option<Arc<CertifiedKey>>, expected: &Arc<Certificate>) -> bool {
        chosen.is_some_and(|chosen| Arc::ptr_eq(&chosen, &expected.key))
    }

    #[test]
    fn exact_before_wildcard_before_default() {
        let exact = made(&["a.example.org"], (2026, 2027), Source::File);
        let wildcard = made(&["*.example.org"], (2026, 2027), Source::File);
        let default = made(&["x.test"], (2026, 2027), Source::File);
        let all = [Arc::clone(&exact), Arc::clone(&wildcard)];
        let chooses = Certificates::new(&all, Some(Arc::clone(&default)), now());
        assert!(is(chooses.choose(Some("a.example.org")), &exact));
        assert!(is(chooses.choose(Some("b.example.org")), &wildcard));
        assert!(is(chooses.choose(Some("example.org")), &default));
        assert!(
            is(chooses.choose(Some("c.b.example.org")), &default),
            "one label"
        );
        assert!(is(chooses.choose(None), &default));
        let without = Certificates::new(&all, None, now());
        assert!(without.choose(Some("example.org")).is_none());
        assert!(without.choose(None).is_none());
        let address = made(&["192.0.2.1"], (2026, 2027), Source::File);
        let all = [exact, Arc::clone(&address)];
        let with_address = Certificates::new(&all, None, now());
        assert!(is(with_address.choose(None), &address));
        assert!(with_address.choose(Some("x.test")).is_none());
        let both = Certificates::new(&all, Some(Arc::clone(&default)), now());
        assert!(is(both.choose(None), &default));
    }

    #[test]
    fn of_two_for_a_name_the_valid_one_then_the_file_then_the_longer_one() {
        let expired = made(&["a.test"], (2020, 2021), Source::File);
        let acme = made(&["a.test"], (2026, 2028), Source::Acme);
        let longer = made(&["a.test"], (2026, 2029), Source::Acme);
        let file = made(&["a.test"], (2026, 2027), Source::File);
        let chosen = |all: &[&Arc<Certificate>], expected: &Arc<Certificate>| {
            let mut all: Vec<_> = all
                .iter()
                .map(|&certificate| Arc::clone(certificate))
                .collect();
            for _ in 0..all.len() {
                all.rotate_left(1);
                let chooses = Certificates::new(&all, None, now());
                assert!(is(chooses.choose(Some("a.test")), expected));
            }
        };
        chosen(&[&expired, &acme], &acme);
        chosen(&[&acme, &longer], &longer);
        chosen(&[&expired, &acme, &longer, &file], &file);
        chosen(&[&expired], &expired);
    }
}
