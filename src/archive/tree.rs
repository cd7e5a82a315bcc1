//! [`Tree`]: what is in an archive by now, and what may come (pure). Archives have nothing twice, nothing below what is no
//! directory, and no link that leads out of them.

use std::collections::HashMap;

use super::error::ArchiveError;

/// What an archive may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all files, unpacked.
    pub bytes: u64,
    /// Files, links and directories, also those that only a path names.
    pub entries: usize,
    /// Bytes of all paths and targets.
    pub names: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 4 << 30,
            entries: 200_000,
            names: 32 << 20,
        }
    }
}

/// PATH_MAX and NAME_MAX of Linux.
const LONGEST_PATH: usize = 4095;
const LONGEST_NAME: usize = 255;

/// Directories that nest deeper are refused: each level costs a descriptor while a release is walked.
const MAX_DEPTH: usize = 128;

/// Links on the way to a target, as the kernel counts them.
const MAX_HOPS: usize = 40;

/// Steps on the way to all targets.
const MAX_STEPS: usize = 1_000_000;

/// What is in an archive by now.
#[derive(Debug)]
pub struct Tree {
    limits: Limits,
    nodes: HashMap<Box<[u8]>, Node>,
    names: usize,
    bytes: u64,
    files: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File,
    Link(Box<[u8]>),
}

/// A path within an archive: its names with slashes between them.
pub type Path = Vec<u8>;

/// Reads the path of an entry. `None`: it is not of the application, since it is the top itself or belongs to git.
///
/// # Errors
/// It leads elsewhere, or cannot be the path of a file.
pub fn path(text: &[u8]) -> Result<Option<Path>, ArchiveError> {
    let refuse = |why: &str| Err(ArchiveError::refused(text, why));
    if text.starts_with(b"/") {
        return refuse("is an absolute path: pack the directory with tar -C DIR .");
    }
    if text.contains(&0) {
        return refuse("has a NUL in its name");
    }
    let mut names = Vec::new();
    for name in text.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return refuse("leads out of the archive (..)"),
            _ if name.len() > LONGEST_NAME => return refuse("has a name of more than 255 bytes"),
            // A release has none either.
            _ if name.eq_ignore_ascii_case(b".git") => return Ok(None),
            _ if is_git_elsewhere(name) => {
                return refuse(
                    "has a name that means .git on other systems, which git refuses: rename it, or leave it out",
                );
            }
            _ => names.push(name),
        }
    }
    if names.len() > MAX_DEPTH {
        return refuse("nests more than 128 directories");
    }
    let path = names.join(&b'/');
    if path.len() > LONGEST_PATH {
        return refuse("has a path of more than 4095 bytes");
    }
    Ok((!path.is_empty()).then_some(path))
}

/// Whether a file system of Windows takes the name, or a part of it between backslashes, for `.git`: git checks out no
/// such file on any system (`is_ntfs_dotgit` in its path.c, `core.protectNTFS`).
fn is_git_elsewhere(name: &[u8]) -> bool {
    let is_git = |part: &[u8]| {
        let rest = [&b".git"[..], b"git~1"].into_iter().find_map(|short| {
            let (begin, rest) = part.split_at_checked(short.len())?;
            begin.eq_ignore_ascii_case(short).then_some(rest)
        });
        // Dots and spaces at the end do not count there, and behind a colon is a stream of the file.
        rest.is_some_and(|rest| {
            let counts = rest.iter().find(|byte| !b". ".contains(byte));
            counts.is_none_or(|byte| *byte == b':')
        })
    };
    name.split(|byte| *byte == b'\\').any(is_git)
}

impl Tree {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            nodes: HashMap::new(),
            names: 0,
            bytes: 0,
            files: 0,
        }
    }

    /// Files and links.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// # Errors
    /// It cannot be there, or is too much.
    pub fn directory(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        self.add(path, Node::Directory)
    }

    /// # Errors
    /// It cannot be there, or is too much.
    pub fn file(&mut self, path: &[u8], size: u64) -> Result<(), ArchiveError> {
        self.bytes = self.bytes.saturating_add(size);
        let most = self.limits.bytes;
        if self.bytes > most {
            let most = most >> 20;
            let why = format!("its files have more than {most} MiB");
            return Err(ArchiveError::TooMuch(why));
        }
        self.files += 1;
        self.add(path, Node::File)
    }

    /// # Errors
    /// It cannot be there, or is too much. Where it leads to is known when all is there: see [`Self::check_links`].
    pub fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), ArchiveError> {
        if target.is_empty() || target.len() > LONGEST_PATH || target.contains(&0) {
            return Err(ArchiveError::refused(
                path,
                "is a link to nothing that can be",
            ));
        }
        if target.starts_with(b"/") {
            return Err(ArchiveError::refused(path, LEADS_OUT));
        }
        let name = path.rsplit(|byte| *byte == b'/').next();
        if name.is_some_and(|name| name.eq_ignore_ascii_case(b".gitmodules")) {
            let why = "is a link, which git refuses under this name: leave it out";
            return Err(ArchiveError::refused(path, why));
        }
        self.files += 1;
        self.names += target.len();
        self.add(path, Node::Link(target.into()))
    }

    /// Whether there is a file at `path`.
    #[must_use]
    pub fn has_file(&self, path: &[u8]) -> bool {
        self.nodes.get(path) == Some(&Node::File)
    }

    fn add(&mut self, path: &[u8], node: Node) -> Result<(), ArchiveError> {
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            match self.nodes.get(&path[..at]) {
                Some(Node::Directory) => {}
                Some(_) => {
                    let above = String::from_utf8_lossy(&path[..at]).into_owned();
                    let why = format!("is below {above}, which is no directory");
                    return Err(ArchiveError::refused(path, why));
                }
                None => self.insert(&path[..at], Node::Directory)?,
            }
        }
        match self.nodes.get(path) {
            None => self.insert(path, node),
            Some(Node::Directory) if node == Node::Directory => Ok(()),
            Some(_) => Err(ArchiveError::refused(path, "is in the archive twice")),
        }
    }

    fn insert(&mut self, path: &[u8], node: Node) -> Result<(), ArchiveError> {
        self.names += path.len();
        self.nodes.insert(path.into(), node);
        if self.nodes.len() > self.limits.entries {
            let most = self.limits.entries;
            let why = format!("it has more than {most} files and directories");
            return Err(ArchiveError::TooMuch(why));
        }
        if self.names > self.limits.names {
            let most = self.limits.names >> 20;
            let why = format!("the names in it have more than {most} MiB together");
            return Err(ArchiveError::TooMuch(why));
        }
        Ok(())
    }

    /// Checks that no link leads out, also not by way of another one.
    ///
    /// # Errors
    /// The first that does.
    pub fn check_links(&self) -> Result<(), ArchiveError> {
        let mut steps = 0;
        for (path, node) in &self.nodes {
            if let Node::Link(target) = node {
                self.check_link(path, target, &mut steps)?;
            }
        }
        Ok(())
    }

    /// Goes to `target` as the kernel would (path_resolution(7)).
    fn check_link(
        &self,
        path: &[u8],
        target: &[u8],
        steps: &mut usize,
    ) -> Result<(), ArchiveError> {
        let mut at: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        at.pop();
        let reversed = |text| {
            let names: Vec<&[u8]> = <[u8]>::split(text, |byte| *byte == b'/').collect();
            names.into_iter().rev()
        };
        let mut ahead: Vec<&[u8]> = reversed(target).collect();
        let mut hops = 0;
        while let Some(name) = ahead.pop() {
            *steps += 1;
            if *steps > MAX_STEPS {
                let why = "the links in it lead to each other in too many ways".to_owned();
                return Err(ArchiveError::TooMuch(why));
            }
            match name {
                b"" | b"." => continue,
                b".." if at.pop().is_none() => return Err(ArchiveError::refused(path, LEADS_OUT)),
                b".." => continue,
                _ => at.push(name),
            }
            let here = at.join(&b'/');
            if here.len() > LONGEST_PATH {
                return Ok(());
            }
            if let Some(Node::Link(next)) = self.nodes.get(&here[..]) {
                hops += 1;
                if hops > MAX_HOPS {
                    // It leads nowhere.
                    return Ok(());
                }
                at.pop();
                ahead.extend(reversed(next));
            }
        }
        Ok(())
    }
}

const LEADS_OUT: &str = "is a link that leads out of the archive";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree() -> Tree {
        Tree::new(Limits::default())
    }

    #[test]
    fn a_path_stays_within_the_archive() {
        let read = |text: &str| {
            path(text.as_bytes()).map(|path| path.map(|p| String::from_utf8(p).unwrap()))
        };
        for (text, is) in [
            ("a", "a"),
            ("./a//b/", "a/b"),
            ("a/./b", "a/b"),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(read(text).unwrap().as_deref(), Some(is), "{text}");
        }
        for nothing in ["", "./", ".git/config", "a/.git", "a/.GIT/x", "."] {
            assert_eq!(read(nothing).unwrap(), None, "{nothing}");
        }
        for elsewhere in [
            "git~1/x",
            "a/GIT~1",
            ".git. ./x",
            ".git::$INDEX_ALLOCATION/x",
            "a\\.git\\b",
        ] {
            let error = read(elsewhere).unwrap_err().to_string();
            assert!(error.contains("git refuses"), "{elsewhere}: {error}");
        }
        for fine in [
            ".github/x",
            ".gitignore",
            "git~10",
            "git~2",
            "agit~1",
            ".git-x",
        ] {
            assert_eq!(read(fine).unwrap().as_deref(), Some(fine));
        }
        let (long, deep) = ("a".repeat(256), "d/".repeat(129));
        for wrong in ["/a", "//a", "../a", "a/../b", "a/..", "a\0b", &long, &deep] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn nothing_is_there_twice_or_below_what_is_no_directory() {
        let mut tree = tree();
        tree.directory(b"d").unwrap();
        tree.directory(b"d").unwrap();
        tree.file(b"d/f", 1).unwrap();
        tree.link(b"l", b"d").unwrap();
        for (path, what) in [
            ("d/f", "twice"),
            ("d", "twice"),
            ("l", "twice"),
            ("l/x", "no directory"),
            ("d/f/x", "no directory"),
        ] {
            let error = tree.file(path.as_bytes(), 1).unwrap_err().to_string();
            assert!(error.contains(what), "{path}: {error}");
        }
        assert!(tree.directory(b"l").is_err() && tree.link(b"d", b"x").is_err());
        assert!(tree.link(b"d/.gitmodules", b"f").is_err());
        tree.file(b".gitmodules", 1).unwrap();
    }

    #[test]
    fn a_link_leads_out_neither_by_itself_nor_by_another() {
        let leads_out = |links: &[(&str, &str)]| {
            let mut tree = tree();
            tree.directory(b"a/b/c").unwrap();
            let added = links
                .iter()
                .try_for_each(|(path, target)| tree.link(path.as_bytes(), target.as_bytes()));
            added.and_then(|()| tree.check_links()).is_err()
        };
        for links in [
            &[("l", "/etc/passwd")][..],
            &[("l", "..")],
            &[("l", "a/../..")],
            &[("a/l", "../../x")],
            &[("a/b/c/up", "../../.."), ("l", "a/b/c/up/..")],
            &[("l", "m/.."), ("m", ".")],
        ] {
            assert!(leads_out(links), "{links:?}");
        }
        for links in [
            &[("l", "a/b")][..],
            &[("l", "nothing")],
            &[("a/l", "../x")],
            &[("l", "l")],
            &[("l", "m"), ("m", "l/..")],
            &[("a/b/c/up", "../../..")],
            &[("l", "a/b/../../a")],
        ] {
            assert!(!leads_out(links), "{links:?}");
        }
    }

    #[test]
    fn what_only_a_path_names_counts_and_all_is_bounded() {
        let limits = Limits {
            bytes: 10,
            entries: 10,
            names: 1000,
        };
        let mut small = Tree::new(limits);
        small.file(b"a", 10).unwrap();
        assert!(matches!(small.file(b"b", 1), Err(ArchiveError::TooMuch(_))));
        assert!(matches!(
            Tree::new(limits).file(b"b", u64::MAX),
            Err(ArchiveError::TooMuch(_))
        ));
        let deep = "d/".repeat(20);
        let mut small = Tree::new(limits);
        assert!(matches!(
            small.directory(deep.as_bytes()),
            Err(ArchiveError::TooMuch(_))
        ));
        let mut small = Tree::new(limits);
        small.link(b"l", &[b'x'; 900]).unwrap();
        assert!(small.link(b"m", &[b'x'; 900]).is_err());
        // Ten links that double each other's way would be a thousand steps, thirty a billion.
        let mut doubling = tree();
        for number in 1..60 {
            let target = format!("{0}/{0}", format_args!("l{}", number - 1));
            let target = target.replace("l0/l0", ".");
            doubling
                .link(format!("l{number}").as_bytes(), target.as_bytes())
                .unwrap();
        }
        doubling.check_links().unwrap();
    }

    proptest! {
        /// Against the kernel: what is made of it on a disk leads out for neither or for both.
        #[test]
        fn links_are_followed_as_the_kernel_does(
            links in proptest::collection::vec(("(a/|a/b/)?[lmn]", "([.][.]/|a/|b/|l/|m/|[.]/){0,5}[lmnab.]"), 0..5),
        ) {
            let home = tempfile::tempdir().unwrap();
            let top = home.path().join("1/2/3/4/5/6/7/8/9/top");
            std::fs::create_dir_all(top.join("a/b")).unwrap();
            let mut tree = tree();
            tree.directory(b"a/b").unwrap();
            let mut made = Vec::new();
            for (path, target) in &links {
                if tree.link(path.as_bytes(), target.as_bytes()).is_ok() {
                    std::os::unix::fs::symlink(target, top.join(path)).unwrap();
                    made.push(path);
                }
            }
            let real = std::fs::canonicalize(&top).unwrap();
            let is_out = |path: &&String| {
                let to = std::fs::canonicalize(top.join(path));
                to.is_ok_and(|to| !to.starts_with(&real))
            };
            if made.iter().any(is_out) {
                prop_assert!(tree.check_links().is_err());
            }
        }

        #[test]
        fn no_path_leads_out(text in proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), any::<u8>()], 0..40)) {
            if let Ok(Some(path)) = path(&text) {
                prop_assert!(path.split(|b| *b == b'/').all(|name| !matches!(name, b"" | b"." | b"..")));
                prop_assert!(!path.contains(&0));
            }
        }
    }
}
