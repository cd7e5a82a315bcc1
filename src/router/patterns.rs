//! The host patterns of all apps as one automaton (pure).

use regex::bytes::{RegexSet, RegexSetBuilder};

/// Bytes the compiled set may take: 64 patterns of 256 characters for each of some thousand apps stay far below it.
const SIZE_LIMIT: usize = 256 << 20;

/// The patterns of all routes, compiled together.
#[derive(Debug, Default)]
pub struct Patterns {
    set: RegexSet,
    /// For each pattern of the set, the position of its route.
    owners: Vec<usize>,
    /// What was compiled, to know whether it is still the same.
    sources: Vec<Vec<String>>,
}

impl Patterns {
    /// Compiles the `domain` of each route, in the order of the routes. A pattern that does not compile (documents are
    /// checked, so it would be a defect) matches nothing.
    pub fn compile<'a>(domains: impl Iterator<Item = &'a [String]>) -> Self {
        let sources: Vec<Vec<String>> = domains.map(<[String]>::to_vec).collect();
        let mut owners = Vec::new();
        let mut patterns = Vec::new();
        for (route, domain) in sources.iter().enumerate() {
            for pattern in domain {
                owners.push(route);
                patterns.push(pattern.as_str());
            }
        }
        let set = build(&patterns).unwrap_or_else(|| {
            let keep: Vec<bool> = patterns.iter().map(|p| build(&[p]).is_some()).collect();
            let kept = |at: usize| keep.get(at).copied().unwrap_or(false);
            owners = retain(&owners, kept);
            build(&retain(&patterns, kept)).unwrap_or_default()
        });
        Self {
            set,
            owners,
            sources,
        }
    }

    /// Whether they were compiled from exactly these.
    pub fn are_of<'a>(&self, mut domains: impl Iterator<Item = &'a [String]>) -> bool {
        let same = self
            .sources
            .iter()
            .all(|s| domains.next() == Some(s.as_slice()));
        same && domains.next().is_none()
    }

    /// The position of the first route with a pattern that matches `host`.
    #[must_use]
    pub fn first(&self, host: &str) -> Option<usize> {
        let matched = self.set.matches(host.as_bytes());
        matched
            .iter()
            .next()
            .and_then(|p| self.owners.get(p).copied())
    }

    /// The positions of all routes with a pattern that matches `host`.
    #[must_use]
    pub fn all(&self, host: &str) -> Vec<usize> {
        let matched = self.set.matches(host.as_bytes());
        let mut routes: Vec<usize> = matched
            .iter()
            .filter_map(|p| self.owners.get(p).copied())
            .collect();
        routes.dedup();
        routes
    }
}

/// A host is ASCII, so ASCII classes say the same in a tenth of the space; `\p{…}` exists with Unicode only.
fn build(patterns: &[&str]) -> Option<RegexSet> {
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

fn retain<T: Copy>(items: &[T], keep: impl Fn(usize) -> bool) -> Vec<T> {
    let kept = items.iter().enumerate().filter(|(at, _)| keep(*at));
    kept.map(|(_, item)| *item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(domains: &[&[&str]]) -> Patterns {
        let owned: Vec<Vec<String>> = domains
            .iter()
            .map(|d| d.iter().map(|p| (*p).to_owned()).collect())
            .collect();
        Patterns::compile(owned.iter().map(Vec::as_slice))
    }

    #[test]
    fn the_first_of_several_wins_and_all_are_listed() {
        let three = patterns(&[&["^a\\."], &["local$", "^a"], &[]]);
        assert_eq!(three.first("a.local"), Some(0));
        assert_eq!(three.all("a.local"), [0, 1]);
        assert_eq!(three.first("b.local"), Some(1));
        assert_eq!(three.first("c.org"), None);
    }

    #[test]
    fn a_bad_pattern_spoils_no_other() {
        let two = patterns(&[&["("], &["^b$", "\\p{Greek}"]]);
        assert_eq!(two.first("b"), Some(1));
        assert_eq!(two.first("a"), None);
    }

    #[test]
    fn it_knows_what_it_was_made_of() {
        let a = vec!["a".to_owned()];
        let made = Patterns::compile([a.as_slice(), &[]].into_iter());
        assert!(made.are_of([a.as_slice(), &[]].into_iter()));
        assert!(!made.are_of([a.as_slice()].into_iter()));
        assert!(!made.are_of([a.as_slice(), &[], &[]].into_iter()));
        assert!(!made.are_of([a.as_slice(), a.as_slice()].into_iter()));
    }
}
