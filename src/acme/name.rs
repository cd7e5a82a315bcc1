//! [`Name`]: what is known of one name that is wanted, and when it is due.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::schedule::{self, Window};
use super::status::{Row, State};
use super::storage::{Kept, Meta};
use super::wish::Wish;
use crate::tls::certificate::Certificate;

/// How long a CA that says nothing of renewals, or cannot be asked, is not asked again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(6);

/// What is known of one name that is wanted.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) wish: Wish,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) meta: Meta,
    /// There is an order that is not over, or somebody asked: whatever the certificate's age is.
    pub(super) is_asked_for: bool,
    /// The CA is being asked something for it.
    pub(super) is_busy: bool,
    /// That is an order.
    pub(super) is_ordering: bool,
}

impl Name {
    pub(super) fn new(kept: Kept, wish: Wish) -> Self {
        Self {
            wish,
            certificate: kept.certificate.map(Arc::new),
            meta: kept.meta,
            is_asked_for: kept.order.is_some(),
            is_busy: false,
            is_ordering: false,
        }
    }

    /// When the next order may begin; `None` when none is wanted, or it has failed for so long that only a person asks
    /// again.
    pub(super) fn due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.wish == Wish::Keep {
            return None;
        }
        let allowed = self.meta.attempts.next(now)?;
        match &self.certificate {
            Some(certificate) if !self.is_asked_for => {
                let (before, after) = (certificate.not_before, certificate.not_after);
                let chance = chance(certificate);
                let wanted = schedule::renewal(before, after, self.meta.window, chance);
                Some(wanted.max(allowed))
            }
            _ => Some(allowed),
        }
    }

    /// When the CA is asked next when it wants a renewal.
    pub(super) fn window_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.certificate.as_ref()?;
        if self.wish == Wish::Keep {
            return None;
        }
        Some(self.meta.ask_again.unwrap_or(now))
    }

    /// Takes what the CA said of a renewal, or that it said nothing.
    pub(super) fn take_window(&mut self, now: Timestamp, said: Option<(Window, Timestamp)>) {
        let usual = now.saturating_add(ASK_AGAIN).unwrap_or(Timestamp::MAX);
        match said {
            // RFC 9773 §4.3.2: neither all the time nor never again.
            Some((window, again)) => {
                let soonest = now.saturating_add(SignedDuration::from_mins(1));
                self.meta.window = Some(window);
                self.meta.ask_again = Some(again.clamp(soonest.unwrap_or(now), usual));
            }
            None => self.meta.ask_again = Some(usual),
        }
    }

    /// Takes a new certificate. One that is to be renewed at once counts as a failure: else nothing else would be done.
    pub(super) fn issued(&mut self, certificate: Certificate, now: Timestamp) {
        let until = certificate.not_after;
        *self = Self {
            certificate: Some(Arc::new(certificate)),
            is_busy: self.is_busy,
            ..Self::new(Kept::default(), self.wish)
        };
        if self.due(now).is_some_and(|due| due <= now) {
            let error = format!(
                "the certificate that came lasts until {until} only, which is nearly over: is the clock right?"
            );
            self.meta.attempts.failed(now, error);
        }
    }

    /// A person asks: failures before count no more.
    pub(super) fn ask(&mut self) {
        self.meta.attempts = schedule::Attempts::default();
        self.is_asked_for = true;
    }

    /// Whether users are told of it: not of a name that has no certificate and wants none.
    pub(super) fn is_shown(&self) -> bool {
        self.wish == Wish::Order || self.certificate.is_some()
    }

    pub(super) fn row(&self, name: &str, now: Timestamp) -> Row {
        let certificate = self.certificate.as_ref();
        let error = &self.meta.attempts.error;
        let state = match (certificate, error) {
            (Some(certificate), _) if certificate.not_after < now => State::Expired,
            (_, Some(_)) => State::Failing,
            (Some(_), None) => State::Valid,
            (None, None) => State::Pending,
        };
        Row {
            names: certificate.map_or_else(|| vec![name.to_owned()], |found| found.names.clone()),
            issuer: certificate.map(|certificate| certificate.issuer.clone()),
            source: "acme",
            not_after: certificate.map(|certificate| certificate.not_after),
            state,
            error: error.clone(),
            next_attempt: self.due(now).map(|due| due.max(now)),
        }
    }
}

/// A number from 0 to 1 that is another for each certificate, and the same after a restart.
fn chance(certificate: &Certificate) -> f64 {
    let leaf = certificate.key.cert.first();
    let digest = Sha256::digest(leaf.map_or(&[][..], |leaf| leaf));
    let first = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    f64::from(first) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::tls::certificate::Source;
    use crate::tls::server_config::provider;

    /// Valid from 2026-01-01 to 2026-03-02: 60 days.
    fn made() -> Certificate {
        let mut parameters = CertificateParams::new(["a.test".to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(2026, 1, 1);
        parameters.not_after = date_time_ymd(2026, 3, 2);
        let key = KeyPair::generate().unwrap();
        let chain = parameters.self_signed(&key).unwrap().pem();
        let key = key.serialize_pem();
        let made =
            Certificate::from_pem(chain.as_bytes(), key.as_bytes(), Source::Acme, &provider());
        made.unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_due_at_once_and_then_at_two_thirds_of_the_lifetime() {
        let now = at("2026-01-05T00:00:00Z");
        let mut name = Name::new(Kept::default(), Wish::Order);
        assert_eq!(name.due(now), Some(now));
        assert_eq!(name.row("a.test", now).state, State::Pending);
        name.issued(made(), now);
        assert_eq!(name.due(now), Some(at("2026-02-10T00:00:00Z")));
        assert_eq!(name.row("a.test", now).state, State::Valid);
        name.ask();
        assert_eq!(name.due(now), Some(now));
    }

    #[test]
    fn a_certificate_that_is_nearly_over_when_it_comes_is_not_asked_for_without_end() {
        let now = at("2026-02-20T00:00:00Z");
        let mut name = Name::new(Kept::default(), Wish::Order);
        name.issued(made(), now);
        assert_eq!(name.due(now), Some(at("2026-02-20T00:01:00Z")));
        assert_eq!(name.row("a.test", now).state, State::Failing);
    }

    #[test]
    fn a_failure_is_told_and_the_old_certificate_stays() {
        let now = at("2026-02-11T00:00:00Z");
        let mut name = Name::new(Kept::default(), Wish::Order);
        name.issued(made(), at("2026-01-01T00:00:00Z"));
        name.meta.attempts.failed(now, "no address".to_owned());
        let row = name.row("a.test", now);
        assert_eq!(row.state, State::Failing);
        assert_eq!(row.not_after, Some(at("2026-03-02T00:00:00Z")));
        assert_eq!(row.next_attempt, Some(at("2026-02-11T00:01:00Z")));
        let later = at("2026-03-03T00:00:00Z");
        assert_eq!(name.row("a.test", later).state, State::Expired);
    }

    #[test]
    fn a_window_of_the_ca_brings_a_renewal_forward() {
        let now = at("2026-01-05T00:00:00Z");
        let mut name = Name::new(Kept::default(), Wish::Order);
        assert_eq!(name.window_due(now), None, "there is nothing to renew");
        name.issued(made(), now);
        assert_eq!(name.window_due(now), Some(now));
        let window = Window {
            start: at("2026-01-01T00:00:00Z"),
            end: at("2026-01-02T00:00:00Z"),
        };
        name.take_window(now, Some((window, now)));
        assert_eq!(name.due(now), Some(now));
        assert_eq!(name.window_due(now), Some(at("2026-01-05T00:01:00Z")));
        name.take_window(now, None);
        assert_eq!(name.window_due(now), Some(at("2026-01-05T06:00:00Z")));
    }
}
