//! Finds the repositories of a release: the app's own, and its submodules at the commits that it records.
//!
//! Whoever may push writes `.gitmodules`. Only its paths and URLs are read, from the commit's own file and without
//! includes. Each URL must satisfy the rules for a document's URL, and nothing of it becomes git's configuration.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::command;
use super::failure;
use super::gitmodules::{self, Entry};
use super::limits::StepError;
use super::mirror::Mirror;
use super::record::{Failure, Step};
use super::remote::Remote;
use crate::document::repository_url;

/// Submodules of submodules that nest deeper are taken for a loop.
const MAX_DEPTH: usize = 8;

const MAX_MODULES: usize = 200;

/// A repository of a release, and which of its commits.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Below the release's directory; empty for the app's own.
    pub(super) at: String,
    pub(super) mirror: Mirror,
    pub(super) commit: String,
    depth: usize,
}

/// The repository of `mirror` at `commit`, and all its submodules, parents first, each with its commit in its mirror.
///
/// # Errors
/// A submodule is not allowed or cannot be fetched, a limit is reached.
pub(super) async fn collect(mirror: &Mirror, commit: &str) -> Result<Vec<Part>, StepError> {
    let mut parts = vec![Part::own(mirror, commit)];
    let mut next = 0;
    while let Some(part) = parts.get(next) {
        let found = part.submodules().await?;
        parts.extend(found);
        next += 1;
        if parts.len() > MAX_MODULES {
            let reason = format!("the repository has more than {MAX_MODULES} submodules");
            return Err(Failure::new(mirror.log.step(), reason).into());
        }
    }
    Ok(parts)
}

impl Part {
    pub(super) fn own(mirror: &Mirror, commit: &str) -> Self {
        Self {
            at: String::new(),
            mirror: mirror.clone(),
            commit: commit.to_owned(),
            depth: 0,
        }
    }

    async fn submodules(&self) -> Result<Vec<Self>, StepError> {
        let links = gitmodules::links(&self.directories().await?);
        if links.is_empty() {
            return Ok(Vec::new());
        }
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        for entry in self.entries().await? {
            entries.insert(entry.path.clone(), entry);
        }
        let mut found = Vec::new();
        for (path, commit) in links {
            let Some(entry) = entries.remove(&path) else {
                self.tell(&format!(
                    "remark: {path} is recorded as a submodule, but .gitmodules does not say of what: it stays empty"
                ))
                .await;
                continue;
            };
            found.push(self.submodule(&entry, commit).await?);
        }
        Ok(found)
    }

    /// Lists all trees and submodules of the commit. If one cannot be read, the mirror is made anew.
    async fn directories(&self) -> Result<String, StepError> {
        let arguments = ["ls-tree", "-r", "-d", "-z", "--full-tree", &self.commit];
        let (finished, text) = self.mirror.ask(&arguments).await?;
        if finished.succeeded() {
            return Ok(text);
        }
        let step = self.mirror.log.step();
        if finished.stdout.len() as u64 >= command::MAX_CAPTURE {
            let reason = "the repository has too many directories";
            return Err(Failure::new(step, reason).into());
        }
        self.mirror.repair().await?;
        self.mirror.obtain(&self.commit).await?;
        let (finished, text) = self.mirror.ask(&arguments).await?;
        if finished.succeeded() {
            return Ok(text);
        }
        let status = finished.status;
        Err(failure::exited(step, "git ls-tree", status, finished.tail).into())
    }

    async fn entries(&self) -> Result<Vec<Entry>, StepError> {
        let pattern = r"^submodule\..*\.(path|url)$";
        let text = self.settings(".gitmodules", pattern).await?;
        Ok(gitmodules::entries(&text))
    }

    /// The keys of `file` in the commit that match `pattern`, as `KEY\nVALUE\0`. Empty if it is no regular file.
    pub(super) async fn settings(&self, file: &str, pattern: &str) -> Result<String, StepError> {
        let mirror = &self.mirror;
        let (_, listed) = mirror
            .ask(&["ls-tree", "--full-tree", &self.commit, "--", file])
            .await?;
        if !listed.starts_with("100") {
            return Ok(String::new());
        }
        let blob = format!("{}:{file}", self.commit);
        // Without `--no-includes` git would read any file that the blob includes.
        let options = ["config", "--no-includes", "-z", "--blob", &blob];
        let wanted = ["--get-regexp", pattern];
        let arguments: Vec<&str> = options.into_iter().chain(wanted).collect();
        let (finished, text) = mirror.ask(&arguments).await?;
        // It exits with 1 where no key matches, and also where the file is malformed; then it prints an error.
        if !finished.succeeded() && !finished.tail.is_empty() {
            let reason = format!("the repository's {file} cannot be read");
            let failure = Failure::new(mirror.log.step(), reason);
            return Err(failure.status(finished.status).tail(finished.tail).into());
        }
        Ok(text)
    }

    async fn submodule(&self, entry: &Entry, commit: String) -> Result<Self, StepError> {
        let path = &entry.path;
        let at = match self.at.as_str() {
            "" => path.clone(),
            parent => format!("{parent}/{path}"),
        };
        let refused = |why: String| Failure::new(self.mirror.log.step(), why);
        if !gitmodules::is_inside(path) {
            return Err(refused(format!(
                "the submodule \"{at}\" has a path that is not allowed"
            ))
            .into());
        }
        if self.depth == MAX_DEPTH {
            return Err(refused(format!(
                "the submodule {at} is nested more than {MAX_DEPTH} deep"
            ))
            .into());
        }
        let remote = remote(&entry.url, &self.mirror.remote).map_err(|why| {
            refused(format!(
                "the submodule {at} has a URL that is not allowed: it {why}"
            ))
            .hint("correct it in .gitmodules (git submodule set-url), and push that")
        })?;
        let mirror = self.mirror.of_module(remote);
        self.tell(&format!(
            "submodule {at}: {} at {commit}",
            mirror.remote.shown()
        ))
        .await;
        mirror.bring(&commit).await.map_err(|e| match e {
            StepError::Failed(mut failure) => {
                failure.reason = format!("submodule {at}: {}", failure.reason);
                StepError::Failed(failure)
            }
            StepError::Cancelled => e,
        })?;
        Ok(Self {
            at,
            mirror,
            commit,
            depth: self.depth + 1,
        })
    }

    async fn tell(&self, line: &str) {
        if self.mirror.log.step() == Step::Fetch {
            self.mirror.log.line(line).await;
        }
    }
}

/// The address of a submodule of `parent`; why it is not allowed.
fn remote(url: &str, parent: &Remote) -> Result<Remote, String> {
    let url = gitmodules::resolved(url, parent.url())
        .ok_or_else(|| "leads out of the repository's own server".to_owned())?;
    // Only a repository that is allowed on this machine's disk may have submodules there.
    repository_url::check(&url, parent.path().is_some()).map_err(|e| e.to_string())?;
    let remote = Remote::parse(&url);
    if let (Some(path), Some(parent)) = (remote.path(), parent.path())
        && !are_neighbours(Path::new(&path), Path::new(&parent))
    {
        return Err(
            "is a repository on this machine that is not beside its parent, of the same owner"
                .to_owned(),
        );
    }
    Ok(remote.inheriting(parent))
}

/// Whether `path` is beside or below `parent` and has the same owner: whoever may push to one repository must not read
/// all others of this machine. git itself refuses a path that does not exist.
fn are_neighbours(path: &Path, parent: &Path) -> bool {
    let (Ok(path), Ok(parent)) = (path.canonicalize(), parent.canonicalize()) else {
        return !path.exists();
    };
    let owner = |path: &Path| path.metadata().map(|m| m.uid()).ok();
    let home = parent.parent().unwrap_or(&parent);
    path.starts_with(home) && owner(&path) == owner(&parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_submodules_follow_the_rules_for_documents() {
        let parent = Remote::parse("https://ann:pw@h/x/a.git");
        let found = remote("../b.git", &parent).unwrap();
        assert_eq!(found.url(), "https://h/x/b.git");
        assert!(found.credentials() == parent.credentials());
        assert!(
            remote("https://o/b", &parent)
                .unwrap()
                .credentials()
                .is_none()
        );
        for url in [
            "ext::sh -c id",
            "--upload-pack=id",
            "-u",
            "file:///etc",
            "/etc",
            "ssh://-oProxyCommand=id/x",
            "../../../../x",
            "../../o@evil:x/../../y",
            "foo://h/x",
            "b.git",
            "",
        ] {
            assert!(remote(url, &parent).is_err(), "{url}");
        }
    }

    #[test]
    fn of_this_disk_only_neighbours_are_taken() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for name in ["git/a", "git/b", "other"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::os::unix::fs::symlink(at("other"), at("git/link")).unwrap();
        let parent = Remote::parse(&at("git/a").display().to_string());
        let allowed = |url: &str| remote(url, &parent).is_ok();
        assert!(allowed("../b") && allowed(&format!("file://{}", at("git/b").display())));
        assert!(!allowed("../../other") && !allowed("../link"));
        assert!(!allowed(&at("other").display().to_string()));
        assert!(!allowed("/etc"));
    }
}
