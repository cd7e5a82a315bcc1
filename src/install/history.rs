//! The `.git` of a checkout while install commands run. Tools that make a version of tags (`git describe`) find the commit
//! with its files in it, the commits before it, and all tags. Files of former commits are not there.
//!
//! git makes it from the mirror, as its own user and before anybody else can enter the tree: the app's user can open no
//! mirror. It names no remote. Nothing reads it for the server, which removes it before it looks at the tree.

use std::path::Path;

use super::command::{self, Finished};
use super::git as programs;
use super::limits::{StepError, blocking};
use super::mirror::Mirror;
use super::record::Step;
use super::tree;

const DIRECTORY: &str = ".git";

/// What git runs to read the mirror, through a shell. Its configuration is on the line: git gives that process nothing
/// of its own.
const SERVER: &str = "--upload-pack=git -c uploadpack.allowFilter=true -c uploadpack.allowAnySHA1InWant=true \
                      -c 'safe.directory=*' upload-pack";

/// All of the history: git's word for no limit.
const UNLIMITED: &str = "--depth=2147483647";

/// The most files of shared directories that git is told of, as many in a command.
const MAX_SHARED: usize = 4096;

/// Makes the `.git` of a `checkout` at `commit`, for which files of `shared` directories are unchanged: links take their
/// places. Returns why there is none.
///
/// # Errors
/// git cannot be started, a limit is reached.
pub(super) async fn lend(
    mirror: &Mirror,
    commit: &str,
    checkout: &Path,
    shared: &[String],
) -> Result<Option<String>, StepError> {
    // A remote that some objects are left out of must not have the name of a path; git decodes the rest of a URL.
    let from = mirror.path.display().to_string().replace('%', "%25");
    let from = format!("file://{from}");
    let format = match commit.len() {
        64 => "--object-format=sha256",
        _ => "--object-format=sha1",
    };
    let fetch = [
        "fetch",
        "--quiet",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
    ];
    let with = |more: &[&'static str]| [&fetch[..], more, &[SERVER, "--"]].concat();
    // The first fetch would leave the commit's files out if it came last: git takes what belongs to a commit that it has
    // for there.
    let (files, commits) = (
        with(&["--no-tags", "--depth=1"]),
        with(&["--filter=tree:0", UNLIMITED]),
    );
    let section = format!("remote.{from}");
    let commands: [Vec<&str>; 6] = [
        vec!["init", "--quiet", "--template=", format],
        [&files[..], &[from.as_str(), commit]].concat(),
        [
            &commits[..],
            &[from.as_str(), commit, "+refs/tags/*:refs/tags/*"],
        ]
        .concat(),
        // The mirror is no place to get what is missing from.
        vec!["config", "--remove-section", &section],
        vec!["update-ref", "--no-deref", "HEAD", commit],
        vec!["read-tree", commit],
    ];
    for arguments in &commands {
        if let Some(why) = run(mirror, arguments, checkout).await? {
            take_back(mirror.log.step(), checkout).await?;
            return Ok(Some(format!("install commands find no .git: {why}")));
        }
    }
    if !shared.is_empty() {
        pass_over(mirror, checkout, shared).await?;
    }
    Ok(None)
}

/// Lets git take the files of these directories for unchanged. Without it, each version that it tells is `-dirty`.
async fn pass_over(mirror: &Mirror, checkout: &Path, shared: &[String]) -> Result<(), StepError> {
    let list = ["--literal-pathspecs", "ls-files", "-z", "--"].into_iter();
    let list: Vec<&str> = list.chain(shared.iter().map(String::as_str)).collect();
    let listed = git(mirror, &list, checkout).await?.stdout;
    let listed = String::from_utf8_lossy(&listed);
    let files = listed.split_terminator('\0').take(MAX_SHARED);
    let change = ["update-index", "--skip-worktree", "--"].into_iter();
    let change: Vec<&str> = change.chain(files).collect();
    // If it fails, a version says `-dirty`.
    git(mirror, &change, checkout).await?;
    Ok(())
}

/// Runs git on the new repository. Returns why it failed.
async fn run(
    mirror: &Mirror,
    arguments: &[&str],
    checkout: &Path,
) -> Result<Option<String>, StepError> {
    let finished = git(mirror, arguments, checkout).await?;
    let last = finished.tail.last().cloned().unwrap_or_default();
    Ok((!finished.succeeded()).then(|| {
        format!(
            "git {} ended with {}: {last}",
            arguments[0], finished.status
        )
    }))
}

async fn git(mirror: &Mirror, arguments: &[&str], checkout: &Path) -> Result<Finished, StepError> {
    let mut program = mirror.git(arguments);
    program.quiet = true;
    programs::set(&mut program, "protocol.file.allow", "always");
    program.directory = Some(checkout.to_owned());
    let place = checkout.join(DIRECTORY).display().to_string();
    program.environment.insert("GIT_DIR".to_owned(), place);
    if let Some(confined) = &mut program.confined {
        confined.landlock.writable.push(checkout.to_owned());
    }
    command::run(&program, &mirror.log, &mirror.limits).await
}

/// Removes it, and whatever a command has put in its place. No link is followed.
///
/// # Errors
/// As `unlink(2)`.
pub(super) async fn take_back(step: Step, checkout: &Path) -> Result<(), StepError> {
    let place = checkout.join(DIRECTORY);
    blocking(step, "cannot remove .git", move || tree::remove(&place)).await
}
