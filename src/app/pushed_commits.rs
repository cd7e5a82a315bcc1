//! [`PushedCommits`]: commits that were pushed and are being deployed, until the branch has moved to them (pure).
//!
//! The branch of an app that is pushed to is what was deployed last. It moves once a release of the commit serves; a
//! server that ends between the two finds here what is left to do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A commit, and the release that is made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedCommit {
    pub release: u64,
    pub commit: String,
    /// The release has got ready, so the branch moves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub serves: bool,
}

/// Those to which the branch has not moved yet, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushedCommits(Vec<PushedCommit>);

impl PushedCommits {
    /// Takes over what the previous server noted, and returns where the branch must be. Of the releases, `current` runs
    /// and `proven` were ready.
    #[must_use]
    pub fn recovered(
        noted: Vec<PushedCommit>,
        current: Option<u64>,
        proven: &BTreeSet<u64>,
    ) -> (Self, Option<PushedCommit>) {
        let serves = |pushed: &PushedCommit| {
            pushed.serves || Some(pushed.release) == current || proven.contains(&pushed.release)
        };
        let newest = noted.into_iter().filter(serves).max_by_key(|p| p.release);
        let newest = newest.map(|pushed| PushedCommit {
            serves: true,
            ..pushed
        });
        (Self(newest.clone().into_iter().collect()), newest)
    }

    #[must_use]
    pub fn all(&self) -> &[PushedCommit] {
        &self.0
    }

    /// Notes that `release` is being made of `commit`.
    pub fn make(&mut self, release: u64, commit: String) {
        self.0.push(PushedCommit {
            release,
            commit,
            serves: false,
        });
    }

    /// Notes that `release` has got ready. Returns the commit to which the branch moves now.
    pub fn prove(&mut self, release: u64) -> Option<String> {
        let pushed = self.0.iter_mut().find(|p| p.release == release)?;
        pushed.serves = true;
        Some(pushed.commit.clone())
    }

    /// Forgets `release`: the branch has moved, or will not. Returns whether it was known.
    pub fn forget(&mut self, release: u64) -> bool {
        let known = self.0.len();
        self.0.retain(|pushed| pushed.release != release);
        self.0.len() < known
    }

    /// The commit to which the branch is just moving.
    #[must_use]
    pub fn newest(&self) -> Option<&str> {
        let pushed = self.0.iter().rfind(|pushed| pushed.serves)?;
        Some(&pushed.commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_branch_moves_when_the_release_serves() {
        let mut pushed = PushedCommits::default();
        pushed.make(1, "a".into());
        assert_eq!(pushed.newest(), None);
        assert_eq!(pushed.prove(1).as_deref(), Some("a"));
        pushed.make(2, "b".into());
        // A redeploy that comes now deploys what serves.
        assert_eq!(pushed.newest(), Some("a"));
        assert!(pushed.forget(1) && !pushed.forget(1));
        assert_eq!(pushed.prove(3), None);
        assert_eq!(pushed.newest(), None);
    }

    #[test]
    fn a_server_that_was_killed_moves_the_branch_to_what_serves_and_to_nothing_else() {
        let of = |release: u64, serves| PushedCommit {
            release,
            commit: release.to_string(),
            serves,
        };
        let recovered = |noted: &[PushedCommit], current, proven: &[u64]| {
            let proven = proven.iter().copied().collect();
            let (_, branch) = PushedCommits::recovered(noted.to_vec(), current, &proven);
            branch.map(|pushed| pushed.release)
        };
        assert_eq!(recovered(&[of(2, false)], Some(1), &[1]), None);
        assert_eq!(recovered(&[of(2, false)], Some(2), &[1]), Some(2));
        // It was ready, and a rollback came.
        assert_eq!(recovered(&[of(2, false)], Some(1), &[1, 2]), Some(2));
        assert_eq!(
            recovered(&[of(1, true), of(2, false)], Some(1), &[1]),
            Some(1)
        );
        assert_eq!(
            recovered(&[of(1, true), of(2, true)], Some(2), &[]),
            Some(2)
        );
        assert_eq!(recovered(&[], Some(2), &[2]), None);
    }
}
