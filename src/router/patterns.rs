//! The host patterns of all apps (pure).
//!
//! Those of one app are compiled when they come, which takes microseconds, so that they count at once. All together
//! they make one automaton that looks at a host once, however many apps there are; compiling that takes longer with
//! every app, so whoever publishes a table has it made beside ([`Patterns::join`]), and until then the apps are asked
//! in turn.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use regex::bytes::{RegexSet, RegexSetBuilder};

/// Bytes the compiled set may take: 64 patterns of 256 characters for each of some thousand apps stay far below it.
const SIZE_LIMIT: usize = 256 << 20;

/// The patterns of all routes.
#[derive(Debug, Default)]
pub struct Patterns {
    /// Of each route, in the order of the routes.
    each: Vec<Arc<Own>>,
    /// Of all routes, once they were joined; `None` if they are too large for that.
    joined: OnceLock<Option<Joined>>,
}

/// The patterns of one route.
#[derive(Debug)]
struct Own {
    sources: Vec<String>,
    /// Those that compile: documents are checked, so that one does not would be a defect. It matches nothing.
    valid: Vec<String>,
    set: RegexSet,
}

/// One automaton, and for each of its patterns the position of its route.
#[derive(Debug)]
struct Joined {
    set: RegexSet,
    owners: Vec<usize>,
}

impl Own {
    fn compile(sources: &[String]) -> Self {
        let (valid, set) = match build(sources) {
            Some(set) => (sources.to_vec(), set),
            None => {
                let compiles = |pattern: &&String| build(std::slice::from_ref(*pattern)).is_some();
                let valid: Vec<String> = sources.iter().filter(compiles).cloned().collect();
                let set = build(&valid).unwrap_or_default();
                (valid, set)
            }
        };
        Self {
            sources: sources.to_vec(),
            valid,
            set,
        }
    }
}

impl Joined {
    fn of(each: &[Arc<Own>]) -> Option<Self> {
        let patterns = each.iter().enumerate();
        let patterns = patterns.flat_map(|(at, own)| own.valid.iter().map(move |p| (at, p)));
        let (owners, patterns): (Vec<usize>, Vec<&String>) = patterns.unzip();
        let set = build(&patterns)?;
        Some(Self { set, owners })
    }
}

impl Patterns {
    /// Compiles the `domain` of each route, in the order of the routes; what `before` has is not compiled again.
    pub fn compile<'a>(domains: impl Iterator<Item = &'a [String]>, before: Option<&Self>) -> Self {
        let before = before.map_or(&[][..], |before| &before.each);
        let mut known = Known::new(before);
        let own = |sources: &[String]| match known.take(sources) {
            Some(own) => Arc::clone(own),
            None => Arc::new(Own::compile(sources)),
        };
        Self {
            each: domains.map(own).collect(),
            joined: OnceLock::new(),
        }
    }

    /// Makes one automaton of all patterns, which changes no answer. Takes some 10 microseconds a pattern.
    pub fn join(&self) {
        self.joined.get_or_init(|| Joined::of(&self.each));
    }

    /// Whether [`Self::join`] was called.
    #[must_use]
    pub fn are_joined(&self) -> bool {
        self.joined.get().is_some()
    }

    /// Whether they were compiled from exactly these.
    pub fn are_of<'a>(&self, mut domains: impl Iterator<Item = &'a [String]>) -> bool {
        let same = self
            .each
            .iter()
            .all(|own| domains.next() == Some(own.sources.as_slice()));
        same && domains.next().is_none()
    }

    /// The position of the first route with a pattern that matches `host`.
    #[must_use]
    pub fn first(&self, host: &str) -> Option<usize> {
        let Some(Some(joined)) = self.joined.get() else {
            let mut each = self.each.iter();
            return each.position(|own| own.set.is_match(host.as_bytes()));
        };
        let matched = joined.set.matches(host.as_bytes());
        let first = matched.iter().next()?;
        joined.owners.get(first).copied()
    }

    /// The positions of all routes with a pattern that matches `host`.
    #[must_use]
    pub fn all(&self, host: &str) -> Vec<usize> {
        let each = self.each.iter().enumerate();
        let matching = each.filter(|(_, own)| own.set.is_match(host.as_bytes()));
        matching.map(|(at, _)| at).collect()
    }
}

/// A host is ASCII, so ASCII classes say the same in a tenth of the space; `\p{…}` exists with Unicode only.
fn build<P: AsRef<str>>(patterns: &[P]) -> Option<RegexSet> {
    let ascii = RegexSetBuilder::new(patterns)
        .unicode(false)
        .size_limit(SIZE_LIMIT)
        .build();
    ascii
        .or_else(|_| {
            RegexSetBuilder::new(patterns)
                .size_limit(SIZE_LIMIT)
                .build()
        })
        .ok()
}

/// What was compiled before. One change among many leaves the others in their order, in which they are found without
/// an index.
struct Known<'a> {
    each: &'a [Arc<Own>],
    next: usize,
    index: Option<HashMap<&'a [String], usize>>,
}

impl<'a> Known<'a> {
    fn new(each: &'a [Arc<Own>]) -> Self {
        Self {
            each,
            next: 0,
            index: None,
        }
    }

    fn take(&mut self, sources: &[String]) -> Option<&'a Arc<Own>> {
        let own = match self.each.get(self.next) {
            Some(own) if own.sources == sources => own,
            // All of them were found; this one was added behind them.
            None if self.index.is_none() => return None,
            _ => {
                let at = *self.index().get(sources)?;
                self.next = at;
                &self.each[at]
            }
        };
        self.next += 1;
        Some(own)
    }

    fn index(&mut self) -> &HashMap<&'a [String], usize> {
        self.index.get_or_insert_with(|| {
            let each = self.each.iter().enumerate();
            each.map(|(at, own)| (own.sources.as_slice(), at)).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns(domains: &[&[&str]]) -> Patterns {
        let owned: Vec<Vec<String>> = domains
            .iter()
            .map(|d| d.iter().map(|p| (*p).to_owned()).collect())
            .collect();
        Patterns::compile(owned.iter().map(Vec::as_slice), None)
    }

    #[test]
    fn the_first_of_several_wins_and_all_are_listed_joined_or_not() {
        let three = patterns(&[&["^a\\."], &["local$", "^a"], &[]]);
        for joined in [false, true] {
            assert_eq!(three.are_joined(), joined);
            assert_eq!(three.first("a.local"), Some(0));
            assert_eq!(three.all("a.local"), [0, 1]);
            assert_eq!(three.first("b.local"), Some(1));
            assert_eq!(three.first("c.org"), None);
            three.join();
        }
    }

    #[test]
    fn a_bad_pattern_spoils_no_other() {
        let two = patterns(&[&["(", "^c$"], &["^b$", "\\p{Greek}"]]);
        for _ in ["not joined", "joined"] {
            assert_eq!(two.first("b"), Some(1));
            assert_eq!(two.first("c"), Some(0));
            assert_eq!(two.first("a"), None);
            two.join();
        }
    }

    #[test]
    fn what_was_compiled_before_is_not_compiled_again() {
        let before = patterns(&[&["^a$"], &["^b$"]]);
        let (a, c) = (vec!["^a$".to_owned()], vec!["^c$".to_owned()]);
        let after = Patterns::compile([c.as_slice(), &a].into_iter(), Some(&before));
        assert!(Arc::ptr_eq(&after.each[1], &before.each[0]));
        assert_eq!((after.first("c"), after.first("a")), (Some(0), Some(1)));
        assert_eq!(after.first("b"), None);
    }

    #[test]
    fn it_knows_what_it_was_made_of() {
        let a = vec!["a".to_owned()];
        let made = Patterns::compile([a.as_slice(), &[]].into_iter(), None);
        assert!(made.are_of([a.as_slice(), &[]].into_iter()));
        assert!(!made.are_of([a.as_slice()].into_iter()));
        assert!(!made.are_of([a.as_slice(), &[], &[]].into_iter()));
        assert!(!made.are_of([a.as_slice(), a.as_slice()].into_iter()));
    }

    proptest! {
        #[test]
        fn joining_changes_no_answer(
            domains in proptest::collection::vec(
                proptest::collection::vec("\\^?(a|b\\.|[^a]|\\.|\\\\w+|\\\\d|\\\\b|(?i:k)|\\\\p\\{Greek\\}|\\(){0,4}\\$?", 0..3),
                0..5,
            ),
            hosts in proptest::collection::vec("[abkK0.-]{0,6}", 1..6),
        ) {
            let patterns = Patterns::compile(domains.iter().map(Vec::as_slice), None);
            let answers = || -> Vec<_> {
                hosts.iter().map(|host| (patterns.first(host), patterns.all(host))).collect()
            };
            let before = answers();
            patterns.join();
            prop_assert_eq!(answers(), before.clone());
            for (first, all) in before {
                prop_assert_eq!(first, all.first().copied());
            }
        }
    }
}
