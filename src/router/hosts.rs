//! [`Hosts`]: the names in `hosts` of all apps, found by hashes (pure): a thousand apps cost a request what one does.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::HashMap;

use crate::document::host_name::HostName;

/// The names of all routes.
#[derive(Debug, Default)]
pub struct Hosts {
    exact: HashMap<Arc<str>, Owner>,
    /// By what follows the wildcard.
    wildcard: HashMap<Arc<str>, Owner>,
}

/// The process type of an app that a request is for: `web`, or one of the route's others by its position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessType {
    #[default]
    Web,
    Other(usize),
}

/// Whose name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The position of the route.
    pub route: usize,
    pub process_type: ProcessType,
}

impl Owner {
    /// The `web` of a route.
    pub(super) fn web(route: usize) -> Self {
        Self {
            route,
            process_type: ProcessType::Web,
        }
    }
}

impl Hosts {
    /// Of names and whose they are: of two that have the same name the first gets it.
    pub(super) fn of<'a>(names: impl Iterator<Item = (&'a HostName, Owner)>) -> Self {
        let mut all = Self::default();
        for (name, owner) in names {
            let entry = match name.parent() {
                Some(parent) => all.wildcard.entry(parent.into()),
                None => all.exact.entry(name.shared()),
            };
            if let Entry::Vacant(free) = entry {
                free.insert(owner);
            }
        }
        all
    }

    /// Who has `host`: by the name itself, else by a wildcard for its first label.
    #[must_use]
    pub fn find(&self, host: &str) -> Option<Owner> {
        self.exact(host).or_else(|| self.wildcard(host))
    }

    /// All that have it, at most two.
    pub(super) fn all(&self, host: &str) -> impl Iterator<Item = Owner> {
        self.exact(host).into_iter().chain(self.wildcard(host))
    }

    fn exact(&self, host: &str) -> Option<Owner> {
        self.exact.get(host).copied()
    }

    fn wildcard(&self, host: &str) -> Option<Owner> {
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
        let routes = routes.iter().enumerate();
        let names = routes.flat_map(|(route, names)| names.iter().map(move |name| (route, name)));
        let parsed: Vec<_> = names
            .map(|(route, name)| (route, HostName::parse(name).unwrap()))
            .collect();
        Hosts::of(
            parsed
                .iter()
                .map(|(route, name)| (name, Owner::web(*route))),
        )
    }

    fn found(hosts: &Hosts, host: &str) -> Option<usize> {
        hosts.find(host).map(|owner| owner.route)
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
            assert_eq!(found(&hosts, host), first, "{host}");
            let owners = hosts.all(host).map(|owner| owner.route);
            assert_eq!(owners.collect::<Vec<_>>(), all, "{host}");
        }
    }

    #[test]
    fn of_two_routes_with_a_name_the_first_has_it() {
        let hosts = hosts(&[&[], &["a.org", "*.b.org"], &["a.org", "*.b.org"]]);
        let both = (found(&hosts, "a.org"), found(&hosts, "x.b.org"));
        assert_eq!(both, (Some(1), Some(1)));
    }
}
