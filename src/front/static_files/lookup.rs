//! Finds and opens static files so that nothing outside of the release's directory can be reached.
//!
//! Commands of the app wrote the release. It is read-only by now, but its content is still not trusted: the kernel
//! follows no link that leaves the site's directory (openat2(2)), and the file that was opened is the one that is
//! served. Names that the kernel has cached are looked up on the worker's own thread, all others on a blocking one.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

use super::path::{Asked, Coding, Named, accepted, asked};
use crate::front::http::field::{Field, Name};
use crate::front::http::head::Request;
use crate::router::table::StaticFiles;

/// The file that a directory is shown as.
const INDEX: &str = "index.html";
/// The site's own page for files that are not there.
const NOT_FOUND: &str = "404.html";

/// An answer that needs no app.
#[derive(Debug)]
pub enum Answer {
    File(Opened),
    /// A directory. The client is sent to this path and query, which ends the name with a slash.
    Moved(String),
}

#[derive(Debug)]
pub struct Opened {
    pub file: File,
    /// Its name without the ending of a coding, for the media type.
    pub name: PathBuf,
    pub coding: Option<Coding>,
    /// The client takes it in gzip, too.
    pub takes_gzip: bool,
    /// It is the site's page for files that are not there.
    pub not_found: bool,
    /// `Cache-Control` of the site.
    pub cache_control: Option<String>,
}

#[derive(Debug)]
pub enum Looked {
    Found(Answer),
    /// There is no such file. The app is asked.
    Missing,
    /// What is there is not served, or the path tries to leave the directory: 404.
    Refused,
    /// The name could be a file's, but the method is none for files. The app is asked.
    Method,
}

/// Conditions and ranges of a request that are looked at, which are more than any client sends.
const CONDITIONS: usize = 64;

/// Makes the request that the file server gets. It has only the fields that delimit the body and those that decide how
/// much of a file is sent.
#[must_use]
pub fn for_files<'b>(request: &Request<'b>) -> Request<'b> {
    let mut conditions = 0;
    let concerns = |field: &&Field<'b>| match field.like() {
        Name::Host | Name::ContentLength | Name::TransferEncoding | Name::Expect => true,
        Name::Other => {
            let start = field.name.get(..3).unwrap_or_default();
            let is_one = start.eq_ignore_ascii_case("if-") || field.is_named("range");
            conditions += usize::from(is_one);
            is_one && conditions <= CONDITIONS
        }
        _ => false,
    };
    Request {
        fields: request.fields.iter().filter(concerns).copied().collect(),
        ..request.clone()
    }
}

/// Looks for the file that a request asks for, with `strip` bytes of its target removed.
pub async fn look(files: &Arc<StaticFiles>, request: &Request<'_>, strip: usize) -> Looked {
    let is_read = matches!(request.method, "GET" | "HEAD");
    let named = match asked(request.target, strip, &files.prefix) {
        Asked::File(_) if !is_read => return Looked::Method,
        _ if !is_read => return Looked::Missing,
        Asked::File(named) => named,
        Asked::Nothing => return Looked::Missing,
        Asked::Refused => return Looked::Refused,
    };
    match search(files, named, request).await {
        Ok(Entry::File(opened)) => Looked::Found(Answer::File(opened)),
        Ok(Entry::Directory) => Looked::Found(Answer::Moved(with_slash(request.target))),
        Ok(Entry::Other) => Looked::Refused,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Looked::Missing,
        // A link, a mount point or a lack of permission: something is there.
        Err(error) => {
            log::debug!("{}: {error}: not served", files.root.display());
            Looked::Refused
        }
    }
}

/// Looks for the answer of a site without an application to a name that it does not have: the page of a single-page
/// application for a client that navigates, else the site's own page for that. There may be neither.
pub async fn instead(files: &Arc<StaticFiles>, request: &Request<'_>) -> Option<Answer> {
    if !matches!(request.method, "GET" | "HEAD") {
        return None;
    }
    let shows_app = files.spa && navigates(request);
    let named = Named {
        path: if shows_app { INDEX } else { NOT_FOUND }.into(),
        directory: false,
        hidden: false,
    };
    match search(files, named, request).await {
        Ok(Entry::File(opened)) => Some(Answer::File(Opened {
            not_found: !shows_app,
            ..opened
        })),
        _ => None,
    }
}

/// Whether a person goes to a page, as opposed to a script, an image or a call of the page's own.
fn navigates(request: &Request<'_>) -> bool {
    let text = |name: &str| {
        let field = request.fields.iter().find(|field| field.is_named(name))?;
        std::str::from_utf8(field.value).ok()
    };
    match text("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => text("accept").is_some_and(|accepted| accepted.contains("text/html")),
    }
}

/// Looks for a file, on this thread if the kernel has its names cached.
async fn search(
    files: &Arc<StaticFiles>,
    named: Named,
    request: &Request<'_>,
) -> Result<Entry, Errno> {
    let search = Search {
        files: Arc::clone(files),
        named,
        codings: accepted(&request.fields),
    };
    match search.run(ResolveFlags::CACHED) {
        // EINVAL: Linux before 5.12 does not know the flag.
        Err(Errno::AGAIN | Errno::INVAL) => {
            let blocking = move || search.run(ResolveFlags::empty());
            let done = tokio::task::spawn_blocking(blocking).await;
            done.unwrap_or(Err(Errno::CANCELED))
        }
        found => found,
    }
}

/// Puts a slash behind the target's path.
fn with_slash(target: &str) -> String {
    let end = target.find('?').unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    format!("{path}/{query}")
}

enum Entry {
    File(Opened),
    /// A directory with an index, named without a slash.
    Directory,
    Other,
}

struct Search {
    files: Arc<StaticFiles>,
    named: Named,
    codings: Vec<Coding>,
}

impl Search {
    fn run(&self, resolve: ResolveFlags) -> Result<Entry, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match openat2(CWD, &self.files.root, flags, Mode::empty(), resolve) {
            // Linux before 5.6 and some sandboxes do not know the call.
            Err(Errno::NOSYS) => openat(CWD, &self.files.root, flags, Mode::empty())?,
            root => root?,
        };
        let site = open_site(&root, &self.files.dir, resolve)?;
        let mut path = self.named.path.clone();
        if self.named.directory {
            path.push(INDEX);
        }
        if path.as_os_str().is_empty() {
            path.push(".");
        }
        let Some((file, kind)) = open(&site, &path, resolve)? else {
            return Ok(Entry::Other);
        };
        if self.named.hidden {
            return Ok(Entry::Other);
        }
        match kind {
            FileType::RegularFile => self.coded(&site, path, file, resolve).map(Entry::File),
            FileType::Directory if !self.named.directory => {
                let index = open(&site, &path.join(INDEX), resolve)?;
                let is_file = index.is_some_and(|(_, kind)| kind == FileType::RegularFile);
                Ok(if is_file {
                    Entry::Directory
                } else {
                    Entry::Other
                })
            }
            _ => Ok(Entry::Other),
        }
    }

    /// Returns the file, or the best of those beside it that the client can decode.
    fn coded(
        &self,
        site: &OwnedFd,
        name: PathBuf,
        file: OwnedFd,
        resolve: ResolveFlags,
    ) -> Result<Opened, Errno> {
        let opened = |file: OwnedFd, name, coding| Opened {
            file: file.into(),
            name,
            coding,
            takes_gzip: coding.is_none() && self.codings.contains(&Coding::Gzip),
            not_found: false,
            cache_control: self.files.cache_control.clone(),
        };
        for coding in &self.codings {
            let mut beside = name.clone().into_os_string();
            beside.push(coding.suffix());
            match open(site, Path::new(&beside), resolve) {
                Ok(Some((coded, FileType::RegularFile))) => {
                    return Ok(opened(coded, name, Some(*coding)));
                }
                Err(error @ (Errno::AGAIN | Errno::INVAL)) => return Err(error),
                _ => {}
            }
        }
        Ok(opened(file, name, None))
    }
}

/// Opens a file of a release, whose directory is `root`. Blocks.
///
/// # Errors
/// What the kernel says: there is none, or a link on the way leads out of the release. It may be no file at all.
pub fn open_in_release(root: &Path, name: &str) -> std::io::Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, flags, Mode::empty())?;
    match open(&root, Path::new(name), ResolveFlags::empty())? {
        Some((file, FileType::RegularFile)) => Ok(file.into()),
        _ => Err(std::io::Error::other("it is no file")),
    }
}

/// Opens the site's directory below `root`, through no link.
fn open_site(root: &OwnedFd, dir: &str, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let confined = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, dir, flags, Mode::empty(), confined | resolve) {
        Err(Errno::NOSYS) => open_stepwise(root, Path::new(dir), flags),
        opened => opened,
    }
}

/// Opens `path` below the site's directory `root`, through no link that leaves it. Returns `None` if it is neither file
/// nor directory.
fn open(
    root: &OwnedFd,
    path: &Path,
    resolve: ResolveFlags,
) -> Result<Option<(OwnedFd, FileType)>, Errno> {
    // NONBLOCK, so that a FIFO does not keep us waiting for its other end.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let confined = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened = match openat2(root, path, flags, Mode::empty(), confined | resolve) {
        Err(Errno::NOSYS) => open_stepwise(root, path, flags)?,
        opened => opened?,
    };
    let kind = FileType::from_raw_mode(fstat(&opened)?.st_mode);
    let is_served = matches!(kind, FileType::RegularFile | FileType::Directory);
    Ok(is_served.then_some((opened, kind)))
}

/// Does the same by one openat(2) for each part of the path, none of which is `..`. It follows no link.
fn open_stepwise(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut parts: Vec<&OsStr> = path.iter().filter(|part| *part != ".").collect();
    let last = parts.pop().unwrap_or(OsStr::new("."));
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory = None;
    for part in parts {
        let from = directory.as_ref().unwrap_or(root);
        directory = Some(openat(from.as_fd(), part, step, Mode::empty())?);
    }
    let from = directory.as_ref().unwrap_or(root);
    openat(from.as_fd(), last, flags | OFlags::NOFOLLOW, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::front::http::parse;

    /// A release with a site in `public`, beside things that are not part of it.
    fn release() -> (tempfile::TempDir, Arc<StaticFiles>) {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in [
            "public/docs",
            "public/empty",
            "public/.git",
            "public/.well-known",
        ] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        for name in [
            "secret",
            "public/a.css",
            "public/a.css.gz",
            "public/docs/index.html",
            "public/.env",
            "public/.well-known/x",
            "public/.git/config",
        ] {
            std::fs::write(path(name), name).unwrap();
        }
        symlink("../secret", path("public/link")).unwrap();
        symlink("a.css", path("public/inside")).unwrap();
        symlink("docs", path("public/linked")).unwrap();
        symlink("/", path("public/root")).unwrap();
        symlink("public", path("site")).unwrap();
        let files = StaticFiles {
            root: directory.path().to_owned(),
            dir: "public".into(),
            prefix: "/".into(),
            spa: false,
            cache_control: None,
        };
        (directory, Arc::new(files))
    }

    /// What a GET comes to: the file's content, `-> path`, `missing` or `refused`.
    async fn get(files: &Arc<StaticFiles>, target: &str, fields: &str) -> String {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let request = parse::request(head.as_bytes(), 10).unwrap();
        match look(files, &request, 0).await {
            Looked::Found(Answer::File(mut opened)) => {
                let mut text = String::new();
                opened.file.read_to_string(&mut text).unwrap();
                text
            }
            Looked::Found(Answer::Moved(to)) => format!("-> {to}"),
            Looked::Missing => "missing".into(),
            Looked::Refused => "refused".into(),
            Looked::Method => "method".into(),
        }
    }

    #[tokio::test]
    async fn files_and_indexes_are_found_and_nothing_else() {
        let (_directory, files) = release();
        for (target, wanted) in [
            ("/a.css", "public/a.css"),
            ("/docs/", "public/docs/index.html"),
            ("/docs?q", "-> /docs/?q"),
            ("/", "missing"),
            ("/none", "missing"),
            ("/a.css/", "missing"),
            ("/a.css/x", "missing"),
            ("/empty/", "missing"),
            ("/.none", "missing"),
            ("/.env", "refused"),
            ("/.git/config", "refused"),
            ("/link", "refused"),
            ("/inside", "public/a.css"),
            ("/linked/", "public/docs/index.html"),
            ("/linked/index.html", "public/docs/index.html"),
            ("/.well-known/x", "public/.well-known/x"),
            ("/.well-known/.y", "missing"),
            ("/docs/.well-known/x", "missing"),
            ("/root/etc/passwd", "refused"),
            ("/../secret", "refused"),
        ] {
            assert_eq!(get(&files, target, "").await, wanted, "{target}");
        }
    }

    #[tokio::test]
    async fn a_linked_directory_of_the_site_itself_is_refused() {
        let (_directory, files) = release();
        let linked = StaticFiles {
            dir: "site".into(),
            ..StaticFiles::clone(&files)
        };
        assert_eq!(get(&Arc::new(linked), "/a.css", "").await, "refused");
    }

    #[tokio::test]
    async fn a_fifo_is_refused_without_waiting() {
        let (directory, files) = release();
        let path = directory.path().join("public/fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(get(&files, "/fifo", "").await, "refused");
    }

    #[tokio::test]
    async fn a_coded_file_takes_its_place_for_who_can_decode_it() {
        let (_directory, files) = release();
        let gzip = "Accept-Encoding: br, gzip\r\n";
        assert_eq!(get(&files, "/a.css", gzip).await, "public/a.css.gz");
        assert_eq!(get(&files, "/docs/", gzip).await, "public/docs/index.html");
    }

    #[tokio::test]
    async fn what_is_missing_is_the_sites_page_or_its_application_for_who_navigates() {
        let (directory, files) = release();
        let head = |fields: &str| format!("GET /none HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let shown = async |spa: bool, fields: &str| {
            let files = StaticFiles {
                spa,
                ..StaticFiles::clone(&files)
            };
            let head = head(fields);
            let request = parse::request(head.as_bytes(), 10).unwrap();
            match instead(&Arc::new(files), &request).await {
                Some(Answer::File(opened)) => Some((opened.name, opened.not_found)),
                _ => None,
            }
        };
        assert_eq!(shown(false, "").await, None);
        for name in ["404.html", "index.html"] {
            std::fs::write(directory.path().join("public").join(name), name).unwrap();
        }
        let not_found = Some(("404.html".into(), true));
        let page = Some(("index.html".into(), false));
        let navigation = "Accept: text/html,*/*\r\n";
        assert_eq!(shown(false, navigation).await, not_found);
        assert_eq!(shown(true, navigation).await, page);
        assert_eq!(shown(true, "Accept: */*\r\n").await, not_found);
        let image = format!("{navigation}Sec-Fetch-Mode: no-cors\r\n");
        assert_eq!(shown(true, &image).await, not_found);
    }

    #[test]
    fn step_by_step_the_same_is_refused() {
        let (_directory, files) = release();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = openat(CWD, &files.root, flags, Mode::empty()).unwrap();
        let open = |path: &str| open_stepwise(&root, Path::new(path), OFlags::RDONLY).map(|_| ());
        assert_eq!(open("public/docs/index.html"), Ok(()));
        assert_eq!(open("./public/a.css"), Ok(()));
        assert_eq!(open("public/none"), Err(Errno::NOENT));
        for path in ["public/link", "site/a.css", "public/root/etc/passwd"] {
            assert!(
                matches!(open(path), Err(Errno::LOOP | Errno::NOTDIR)),
                "{path}"
            );
        }
    }
}
