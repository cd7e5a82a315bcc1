//! [`Snapshot`]: the newest certificates as one thread sees them.

use std::cell::RefCell;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use super::certificates::Certificates;

/// The newest certificates on one thread. As long as there are no newer ones it touches nothing that other threads
/// write to: it is asked for each request by plain HTTP.
#[derive(Debug)]
pub struct Snapshot {
    published: RefCell<watch::Receiver<Arc<Certificates>>>,
    newest: RefCell<Arc<Certificates>>,
}

impl Snapshot {
    #[must_use]
    pub fn new(mut published: watch::Receiver<Arc<Certificates>>) -> Self {
        let newest = Arc::clone(&published.borrow_and_update());
        Self {
            published: RefCell::new(published),
            newest: RefCell::new(newest),
        }
    }

    /// Whether clients get a certificate for this very host that they may trust now. `host` is in any case.
    #[must_use]
    pub fn has_valid(&self, host: &str) -> bool {
        let mut published = self.published.borrow_mut();
        if published.has_changed().unwrap_or(false) {
            *self.newest.borrow_mut() = Arc::clone(&published.borrow_and_update());
        }
        self.newest.borrow().has_valid(host, Timestamp::now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::certificate::{Certificate, Source};
    use crate::tls::server_config::provider;

    #[test]
    fn what_is_published_is_true_for_the_next_question() {
        let (publish, published) = watch::channel(Arc::<Certificates>::default());
        let snapshot = Snapshot::new(published);
        assert!(!snapshot.has_valid("a.test"));
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let read =
            Certificate::from_pem(chain.as_bytes(), key.as_bytes(), Source::File, &provider());
        let all = [Arc::new(read.unwrap())];
        let certificates = Certificates::new(&all, None, Timestamp::now());
        publish.send_replace(Arc::new(certificates));
        for (host, has) in [
            ("a.test", true),
            ("A.Test.", true),
            ("b.test", false),
            ("", false),
        ] {
            assert_eq!(snapshot.has_valid(host), has, "{host}");
        }
        publish.send_replace(Arc::default());
        assert!(!snapshot.has_valid("a.test"));
        // Its publisher is gone: what was known last goes on.
        drop(publish);
        assert!(!snapshot.has_valid("a.test"));
    }
}
