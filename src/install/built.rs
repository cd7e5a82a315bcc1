//! [`Built`]: what a release has beside its files, as its record says it (pure).

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What builders and caches have made of a release. A release of an older server has nothing of it, so that its
/// processes are still known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Built {
    /// Directories of the release with programs, in the order in which they come before PATH.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// Variables that its processes have unless somebody else sets them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What stands in for the Procfile that the commit lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub procfile: Option<String>,
    /// The commit is a site: its files are served as they are.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_site: bool,
    /// Builders had something to do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_builders: bool,
    /// The release that has made the Python environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub venv: Option<u64>,
    /// Directories that the next release may take over.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kept: BTreeMap<String, Kept>,
}

/// A directory as it was left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Of all that decided what is in it; `None`: nobody knows that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(flatten)]
    pub inventory: Inventory,
}

/// How much is in a directory: a part that is missing, or was cut off, shows in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Files, links and directories.
    pub entries: u64,
    /// Of regular files.
    pub bytes: u64,
}

impl Built {
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Puts the directories with programs of a release at `directory` before PATH of `environment`.
    pub fn extend_path(&self, directory: &Path, environment: &mut BTreeMap<String, String>) {
        before_path(&self.path, directory, environment);
    }
}

/// Puts `names` below `directory` before PATH of `environment`.
pub(super) fn before_path(
    names: &[String],
    directory: &Path,
    environment: &mut BTreeMap<String, String>,
) {
    let mut path: Vec<String> = names
        .iter()
        .map(|name| directory.join(name).to_string_lossy().into_owned())
        .collect();
    if path.is_empty() {
        return;
    }
    path.extend(environment.remove("PATH"));
    environment.insert("PATH".to_owned(), path.join(":"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_before_path_in_their_order() {
        let mut environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin".to_owned())]);
        let built = Built {
            path: vec![".venv/bin".into(), "bin".into()],
            ..Built::default()
        };
        built.extend_path(Path::new("/r/1"), &mut environment);
        assert_eq!(environment["PATH"], "/r/1/.venv/bin:/r/1/bin:/usr/bin");
        Built::default().extend_path(Path::new("/r/1"), &mut environment);
        assert_eq!(environment["PATH"], "/r/1/.venv/bin:/r/1/bin:/usr/bin");
    }

    #[test]
    fn a_record_comes_back_and_an_empty_one_says_nothing() {
        assert_eq!(serde_json::to_string(&Built::default()).unwrap(), "{}");
        let built = Built {
            venv: Some(3),
            kept: BTreeMap::from([("x".to_owned(), Kept::default())]),
            ..Built::default()
        };
        let text = serde_json::to_string(&built).unwrap();
        assert_eq!(serde_json::from_str::<Built>(&text).unwrap(), built);
    }
}
