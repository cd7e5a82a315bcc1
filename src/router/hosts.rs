//! [`Hosts`]: the names in `hosts` of all apps, found by hashes (pure): a thousand apps cost a request what one does.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::HashMap;

use crate::document::host_name::HostName;

/// The names of all routes.
#[derive(Debug, Default)]
pub struct Hosts {
    exact: HashMap<Arc<str>, usize>,
    /// By what follows the wildcard.
    wildcard: HashMap<Arc<str>, usize>,
}

impl Hosts {
    /// The names of each route, in the order of the routes: of two that have the same name the first gets it.
    pub(super) fn of<'a>(routes: impl Iterator<Item = &'a [HostName]>) -> Self {
        let mut all = Self::default();
        for (at, names) in routes.enumerate() {
            for name in names {
                let entry = match name.parent() {
                    Some(parent) => all.wildcard.entry(parent.into()),
                    None => all.exact.entry(name.shared()),
                };
                if let Entry::Vacant(free) = entry {
                    free.insert(at);
                }
            }
        }
        all
    }

    /// The position of the route that has `host`: by the name itself, else by a wildcard for its first label.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<usize> {
        self.exact(host).or_else(|| self.wildcard(host))
    }

    /// All that have it, at most two.
    pub(super) fn all(&self, host: &str) -> impl Iterator<Item = usize> {
        self.exact(host).into_iter().chain(self.wildcard(host))
    }

    fn exact(&self, host: &str) -> Option<usize> {
        self.exact.get(host).copied()
    }

    fn wildcard(&self, host: &str) -> Option<usize> {
        if self.wildcard.is_empty() {
            return None;
        }
        let (label, parent) = host.split_once('.')?;
        let at = self.wildcard.get(parent).copied();
        at.filter(|_| !label.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(routes: &[&[&str]]) -> Hosts {
        let parse = |name: &&str| HostName::parse(name).unwrap();
        let names: Vec<Vec<HostName>> = routes
            .iter()
            .map(|names| names.iter().map(parse).collect())
            .collect();
        Hosts::of(names.iter().map(Vec::as_slice))
    }

    #[test]
    fn a_name_is_found_before_a_wildcard_which_is_for_one_label() {
        let hosts = hosts(&[
            &["*.example.org", "a.org"],
            &["shop.example.org", "*.shop.example.org"],
        ]);
        for (host, first, all) in [
            ("shop.example.org", Some(1), &[1, 0][..]),
            ("other.example.org", Some(0), &[0]),
            ("a.shop.example.org", Some(1), &[1]),
            ("a.b.example.org", None, &[]),
            ("example.org", None, &[]),
            (".example.org", None, &[]),
            ("a.org", Some(0), &[0]),
            ("b.a.org", None, &[]),
            ("", None, &[]),
        ] {
            assert_eq!(hosts.find(host), first, "{host}");
            assert_eq!(hosts.all(host).collect::<Vec<_>>(), all, "{host}");
        }
    }

    #[test]
    fn of_two_routes_with_a_name_the_first_has_it() {
        let hosts = hosts(&[&[], &["a.org", "*.b.org"], &["a.org", "*.b.org"]]);
        assert_eq!(
            (hosts.find("a.org"), hosts.find("x.b.org")),
            (Some(1), Some(1))
        );
    }
}
