//! [`Projects`]: which project id the file system knows each application by, as `DATA/projects.json` has it (pure).

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Ids from here on, far from those that people write into /etc/projid and that container engines count up from.
const FIRST: u32 = 0x4000_0000;
/// So many for each server: two with their data on one file system, which has one set of ids, are to have different ones.
const EACH: u32 = 1 << 16;
const SERVERS: u32 = 1 << 13;

/// `projects.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Projects {
    /// The first id of this server's.
    first: u32,
    apps: BTreeMap<String, Project>,
}

/// What an application's files are known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    pub id: u32,
    /// All directories of the application hand it on to what is made in them.
    pub is_whole: bool,
}

impl Projects {
    /// None yet.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
        let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        Self {
            first: FIRST + number % SERVERS * EACH,
            apps: BTreeMap::new(),
        }
    }

    #[must_use]
    pub fn of(&self, app: &str) -> Option<Project> {
        self.apps.get(app).copied()
    }

    /// The project of `app`; it gets an id that no other has. `None`: all are given.
    pub fn ensure(&mut self, app: &str) -> Option<Project> {
        if let Some(known) = self.of(app) {
            return Some(known);
        }
        let mut all = self.first..self.first.saturating_add(EACH);
        let id = all.find(|id| self.apps.values().all(|project| project.id != *id))?;
        let project = Project {
            id,
            is_whole: false,
        };
        self.apps.insert(app.to_owned(), project);
        Some(project)
    }

    /// Notes whether all of its directories have the id.
    pub fn note(&mut self, app: &str, is_whole: bool) {
        if let Some(project) = self.apps.get_mut(app) {
            project.is_whole = is_whole;
        }
    }

    /// The id is free for another.
    pub fn forget(&mut self, app: &str) {
        self.apps.remove(app);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_servers_have_ids_of_their_own_and_keep_them_when_they_are_read_again() {
        let [mut one, mut two] = ["/a", "/b"].map(|path| Projects::new(Path::new(path)));
        let ids = [one.ensure("x").unwrap().id, two.ensure("x").unwrap().id];
        assert_ne!(ids[0], ids[1]);
        assert!(ids.iter().all(|id| (FIRST..FIRST * 3 / 2).contains(id)));
        one.note("x", true);
        let text = serde_json::to_string(&one).unwrap();
        let read: Projects = serde_json::from_str(&text).unwrap();
        assert_eq!(read, one);
        assert!(read.of("x").unwrap().is_whole && read.of("y").is_none());
    }

    proptest! {
        #[test]
        fn no_two_have_one_id_and_an_app_keeps_its_own(
            steps in proptest::collection::vec((any::<bool>(), 0_usize..8), 0..60),
        ) {
            let mut projects = Projects::new(Path::new("/data"));
            let mut known = BTreeMap::new();
            for (comes, which) in steps {
                let app = which.to_string();
                if comes {
                    let id = projects.ensure(&app).unwrap().id;
                    prop_assert_eq!(*known.entry(app).or_insert(id), id);
                } else {
                    projects.forget(&app);
                    known.remove(&app);
                }
                let different: BTreeSet<_> = known.values().collect();
                prop_assert_eq!(different.len(), known.len());
            }
        }
    }
}
