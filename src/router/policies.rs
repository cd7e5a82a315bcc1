//! [`Policies`]: what a route carries of the document's policies, made once when they change. A route for which the
//! document says nothing has none, so that its requests pay for nothing.

pub mod gate;
pub mod limiter;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::document::policies as document;
use gate::Gate;
use limiter::Limiter;

/// The policies of an application, with what all workers count and remember for them.
#[derive(Debug)]
pub struct Policies {
    pub of: document::Policies,
    /// The directory of the release, where it has the page that is shown in maintenance.
    pub root: Option<PathBuf>,
    /// That page, once somebody asked for it; `None` in it if it cannot be read.
    pub page: OnceLock<Option<Arc<[u8]>>>,
    /// What `rate` counts.
    pub limiter: Option<Arc<Limiter>>,
    /// Who is let in by `auth`.
    pub gate: Option<Arc<Gate>>,
}

impl Policies {
    /// Makes the policies that `of` says for a release in `root`. What `before` counts and remembers stays where the
    /// field did not change: a route is published whenever a process comes or goes, and an address must not begin anew
    /// then.
    #[must_use]
    pub fn after(
        before: Option<&Arc<Self>>,
        of: &document::Policies,
        root: Option<&Path>,
    ) -> Option<Arc<Self>> {
        if of.is_empty() {
            return None;
        }
        let has_page = of.maintenance.as_ref().is_some_and(|m| m.page.is_some());
        let root = root.filter(|_| has_page);
        if let Some(same) = before.filter(|b| b.of == *of && b.root.as_deref() == root) {
            return Some(Arc::clone(same));
        }
        let limiter = of.rate.map(|rate| {
            let same = before.filter(|b| b.of.rate == Some(rate));
            let same = same.and_then(|b| b.limiter.clone());
            same.unwrap_or_else(|| Arc::new(Limiter::new(rate)))
        });
        let gate = of.auth.as_ref().map(|auth| {
            let same = before.filter(|b| b.of.auth.as_ref() == Some(auth));
            let same = same.and_then(|b| b.gate.clone());
            same.unwrap_or_else(|| Arc::new(Gate::new(auth.clone())))
        });
        Some(Arc::new(Self {
            of: of.clone(),
            root: root.map(Path::to_owned),
            page: OnceLock::new(),
            limiter,
            gate,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::document::policies::rate::Rate;

    fn of(rate: &str) -> document::Policies {
        document::Policies {
            rate: Some(Rate::parse(rate).unwrap()),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_counted_stays_until_its_field_changes() {
        assert!(Policies::after(None, &document::Policies::default(), None).is_none());
        let client: IpAddr = [192, 0, 2, 1].into();
        let first = Policies::after(None, &of("1/h"), None).unwrap();
        let takes = |policies: &Policies| policies.limiter.as_ref().unwrap().take(client).is_ok();
        assert!(takes(&first) && !takes(&first));

        let same = Policies::after(Some(&first), &of("1/h"), Some(Path::new("/release"))).unwrap();
        assert!(Arc::ptr_eq(&first, &same));
        let maintained = document::Policies {
            maintenance: Some(document::Maintenance::default()),
            ..of("1/h")
        };
        let maintained = Policies::after(Some(&same), &maintained, None).unwrap();
        assert!(!takes(&maintained));
        let faster = Policies::after(Some(&maintained), &of("2/h"), None).unwrap();
        assert!(takes(&faster));
    }

    #[test]
    fn the_page_is_that_of_the_release() {
        let of = document::Policies {
            maintenance: Some(document::Maintenance {
                page: Some("a.html".into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let first = Policies::after(None, &of, Some(Path::new("/1"))).unwrap();
        let second = Policies::after(Some(&first), &of, Some(Path::new("/2"))).unwrap();
        assert_eq!(second.root.as_deref(), Some(Path::new("/2")));
        let again = Policies::after(Some(&second), &of, Some(Path::new("/2"))).unwrap();
        assert!(Arc::ptr_eq(&second, &again));
    }
}
