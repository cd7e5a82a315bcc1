//! Finds files that a repository stores in another form than they are used in, by a filter of `.gitattributes`:
//! git-lfs and git-crypt.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use super::command;
use super::gitmodules;
use super::lfs_store::open;
use super::limits::{StepError, blocking};
use super::submodules::Part;

/// The beginning of every file that git-crypt has encrypted.
const ENCRYPTED: &[u8] = b"\0GITCRYPT\0";

/// Each key of git-crypt has a filter of its own. More than this are not looked for.
const MAX_FILTERS: usize = 16;

/// Whether a `.gitattributes` of the commit names a filter that begins with `filter`.
pub(super) async fn is_used(part: &Part, filter: &str) -> Result<bool, StepError> {
    let pattern = format!("filter={filter}");
    let options = ["grep", "--quiet", "--fixed-strings", "-e", &pattern];
    let place = [part.commit.as_str(), "--", "*.gitattributes"];
    let arguments: Vec<&str> = options.into_iter().chain(place).collect();
    Ok(part.mirror.ask(&arguments).await?.0.succeeded())
}

/// The files of the checkout that git would give to one of `filters`, without paths that lead out of it.
pub(super) async fn files(
    part: &Part,
    directory: &Path,
    filters: &[&str],
) -> Result<Vec<String>, StepError> {
    let mirror = &part.mirror;
    let wanted = filters.iter().map(|name| format!(":(attr:filter={name})"));
    let wanted: Vec<String> = wanted.collect();
    let options = ["ls-files", "-z", "--"].into_iter();
    let arguments: Vec<&str> = options.chain(wanted.iter().map(String::as_str)).collect();
    let mut program = mirror.git_in_tree(&arguments, directory);
    program.quiet = true;
    let listed = command::run(&program, &mirror.log, &mirror.limits).await?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let inside = text.split('\0').filter(|path| gitmodules::is_inside(path));
    Ok(inside.map(str::to_owned).collect())
}

/// A warning about files that stay encrypted: the server has no key of git-crypt.
///
/// # Errors
/// A file cannot be read, a limit is reached.
pub(super) async fn encrypted(part: &Part, directory: &Path) -> Result<Option<String>, StepError> {
    let filters = crypt_filters(part).await?;
    if filters.is_empty() {
        return Ok(None);
    }
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let files = files(part, directory, &filters).await?;
    let (directory, at) = (directory.to_owned(), part.at.clone());
    let log = &part.mirror.log;
    let found = blocking(log.step(), "cannot read the checkout", move || {
        let mut found = Vec::new();
        for path in files {
            let Some(file) = open(&directory, &path, false)? else {
                continue;
            };
            let mut start = Vec::new();
            file.take(ENCRYPTED.len() as u64).read_to_end(&mut start)?;
            if start == ENCRYPTED {
                found.push(path);
            }
        }
        Ok(found)
    })
    .await?;
    let Some(first) = found.first() else {
        return Ok(None);
    };
    let told = remark(&joined(&at, first), found.len());
    log.line(format!("remark: {told}")).await;
    Ok(Some(told))
}

/// The filters of git-crypt that the commit names: `git-crypt` for its first key, `git-crypt-NAME` for others.
async fn crypt_filters(part: &Part) -> Result<BTreeSet<String>, StepError> {
    let pattern = "filter=git-crypt[A-Za-z0-9_-]*";
    let options = ["grep", "-h", "--only-matching", "-e", pattern];
    let place = [part.commit.as_str(), "--", "*.gitattributes"];
    let arguments: Vec<&str> = options.into_iter().chain(place).collect();
    let (_, text) = part.mirror.ask(&arguments).await?;
    let names = text.lines().filter_map(|line| line.strip_prefix("filter="));
    Ok(names.map(str::to_owned).take(MAX_FILTERS).collect())
}

/// The path of a file of a part, as seen from the release.
pub(super) fn joined(parent: &str, path: &str) -> String {
    if parent.is_empty() {
        return path.to_owned();
    }
    format!("{parent}/{path}")
}

fn remark(first: &str, count: usize) -> String {
    let what = match count {
        1 => format!("{first} is encrypted by git-crypt and stays so"),
        _ => format!("{count} files, {first} among them, are encrypted by git-crypt and stay so"),
    };
    format!("{what}: there is no key here; give the app its secrets by env (procserver env)")
}
