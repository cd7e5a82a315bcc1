//! [`Place`]: where an entry of a backup belongs (pure). Whatever is nowhere here is refused: a restore runs as root.

use crate::document::name::AppName;

pub const MANIFEST: &str = "manifest.json";
pub const END: &str = "end.json";
pub const SETTINGS: &str = "settings.toml";
/// Of an app, below `apps/NAME`.
pub const DOCUMENT: &str = "document.json";
/// What becomes `DATA/apps/NAME`.
pub const FILES: &str = "files";
/// Below [`FILES`].
pub const SSH: &str = "ssh";
pub const STORAGE: &str = "storage";
pub const HOOK: &str = "hook.json";
/// The code of an app that is pushed to.
pub const CODE: &str = "code.bundle";

/// Directories that nest deeper are refused: each level costs a descriptor.
pub const MAX_DEPTH: usize = 128;

/// NAME_MAX of Linux.
const LONGEST_NAME: usize = 255;

/// Where an entry belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Manifest,
    End,
    Settings,
    /// `server/…`: token, keys of git servers, certificates.
    Server,
    /// `tls/…`: certificates that the settings name.
    Tls,
    /// `apps`, and `apps/NAME` itself.
    Apps,
    Document(AppName),
    /// `apps/NAME/files`, and `ssh` in it.
    Files(AppName),
    /// `hook.json` and `code.bundle` in these.
    OwnFile(AppName),
    /// In the storage of an app: what the app has made.
    Storage(AppName),
}

/// What kind of entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File,
    Link,
}

impl Kind {
    /// In the digest.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Directory => b'd',
            Self::File => b'f',
            Self::Link => b'l',
        }
    }
}

/// Splits a path into its names.
///
/// # Errors
/// It does not lead downwards from the top, or a name is none.
pub fn names(path: &[u8]) -> Result<Vec<&[u8]>, String> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    if names.len() > MAX_DEPTH {
        return Err(format!("nests more than {MAX_DEPTH} directories"));
    }
    for name in &names {
        if name.is_empty() {
            return Err("is no path from the top of the backup".into());
        }
        if matches!(*name, b"." | b"..") || name.contains(&0) {
            return Err("leads out of its directory".into());
        }
        if name.len() > LONGEST_NAME {
            return Err("has a name of more than 255 bytes".into());
        }
    }
    Ok(names)
}

/// Where an entry with this path, of this kind and mode, belongs.
///
/// # Errors
/// Why no server has written it.
pub fn place(names: &[&[u8]], kind: Kind, mode: u32) -> Result<Place, String> {
    let place = by_path(names)?;
    let is_storage = matches!(place, Place::Storage(_)) && names.len() > 4;
    match kind {
        Kind::Link if !is_storage => return Err("is a link where there can be none".into()),
        Kind::Directory => {
            let is_one = is_storage
                || names.len() < 3
                || matches!(
                    place,
                    Place::Files(_) | Place::Server | Place::Storage(_) | Place::Tls
                );
            let never = matches!(
                place,
                Place::Manifest
                    | Place::End
                    | Place::Settings
                    | Place::Document(_)
                    | Place::OwnFile(_)
            );
            if never || !is_one {
                return Err("is a directory where a file belongs".into());
            }
        }
        Kind::File
            if matches!(place, Place::Apps)
                || names.len() == 1
                    && !matches!(place, Place::Manifest | Place::End | Place::Settings) =>
        {
            return Err("is a file where a directory belongs".into());
        }
        _ => {}
    }
    let set_id = if kind == Kind::Directory {
        0o4000
    } else {
        0o6000
    };
    match mode & set_id {
        0 => Ok(place),
        _ => Err(format!(
            "has a set-user-ID or set-group-ID bit (mode {mode:04o})"
        )),
    }
}

fn by_path(names: &[&[u8]]) -> Result<Place, String> {
    let nowhere = || "is nothing that belongs into a backup".to_owned();
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let first = text(names.first().copied().unwrap_or_default());
    match (first.as_str(), names.len()) {
        (MANIFEST, 1) => return Ok(Place::Manifest),
        (END, 1) => return Ok(Place::End),
        (SETTINGS, 1) => return Ok(Place::Settings),
        ("server", _) => return Ok(Place::Server),
        ("tls", 1..=3) => return Ok(Place::Tls),
        ("apps", 1) => return Ok(Place::Apps),
        ("apps", _) => {}
        _ => return Err(nowhere()),
    }
    let name = AppName::parse(&text(names[1]))
        .map_err(|error| format!("names no application: {error}"))?;
    let rest: Vec<String> = names[2..].iter().take(2).map(|name| text(name)).collect();
    match rest
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => Ok(Place::Apps),
        [DOCUMENT] if names.len() == 3 => Ok(Place::Document(name)),
        [FILES] => Ok(Place::Files(name)),
        [FILES, SSH] => Ok(Place::Files(name)),
        [FILES, HOOK | CODE] if names.len() == 4 => Ok(Place::OwnFile(name)),
        [FILES, STORAGE] => Ok(Place::Storage(name)),
        _ => Err(nowhere()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str, kind: Kind, mode: u32) -> Result<Place, String> {
        place(&names(path.as_bytes())?, kind, mode)
    }

    #[test]
    fn what_a_server_writes_has_a_place() {
        let blog = || AppName::parse("blog").unwrap();
        for (path, kind, expected) in [
            ("manifest.json", Kind::File, Place::Manifest),
            ("settings.toml", Kind::File, Place::Settings),
            ("server", Kind::Directory, Place::Server),
            ("server/token", Kind::File, Place::Server),
            (
                "server/certificates/ca/a.b/key.pem",
                Kind::File,
                Place::Server,
            ),
            ("tls/0", Kind::Directory, Place::Tls),
            ("tls/0/cert.pem", Kind::File, Place::Tls),
            ("apps", Kind::Directory, Place::Apps),
            ("apps/blog", Kind::Directory, Place::Apps),
            (
                "apps/blog/document.json",
                Kind::File,
                Place::Document(blog()),
            ),
            ("apps/blog/files", Kind::Directory, Place::Files(blog())),
            (
                "apps/blog/files/ssh/id_ed25519",
                Kind::File,
                Place::Files(blog()),
            ),
            (
                "apps/blog/files/code.bundle",
                Kind::File,
                Place::OwnFile(blog()),
            ),
            (
                "apps/blog/files/storage",
                Kind::Directory,
                Place::Storage(blog()),
            ),
            (
                "apps/blog/files/storage/a/b",
                Kind::Link,
                Place::Storage(blog()),
            ),
        ] {
            assert_eq!(at(path, kind, 0o755), Ok(expected), "{path}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (path, kind, mode) in [
            ("", Kind::File, 0o644),
            ("/etc/passwd", Kind::File, 0o644),
            ("../token", Kind::File, 0o644),
            ("apps/blog/files/storage/../../../x", Kind::File, 0o644),
            ("apps/blog/files/storage/a//b", Kind::File, 0o644),
            ("apps/../x", Kind::Directory, 0o755),
            ("apps/BLOG", Kind::Directory, 0o755),
            ("apps/blog/files/releases/1/x", Kind::File, 0o644),
            ("apps/blog/user.json", Kind::File, 0o644),
            ("apps/blog/files/state.json", Kind::File, 0o644),
            ("apps/blog/files/hook.json", Kind::Directory, 0o755),
            ("apps/blog/files/hook.json", Kind::Link, 0o777),
            ("apps/blog/files/code.bundle/x", Kind::File, 0o644),
            ("server/token", Kind::Link, 0o777),
            ("apps/blog/files", Kind::Link, 0o777),
            ("apps/blog/files/storage", Kind::Link, 0o777),
            ("apps/blog/files/ssh/key", Kind::Link, 0o777),
            ("apps/blog", Kind::File, 0o644),
            ("manifest.json", Kind::Directory, 0o755),
            ("server", Kind::File, 0o644),
            ("apps/blog/files/storage/x", Kind::File, 0o4755),
            ("apps/blog/files/storage/x", Kind::File, 0o2755),
            ("apps/blog/files/storage/x", Kind::Directory, 0o4755),
            ("else", Kind::File, 0o644),
        ] {
            assert!(at(path, kind, mode).is_err(), "{path} {kind:?} {mode:o}");
        }
        let deep = vec!["a"; 200].join("/");
        assert!(names(format!("apps/b/files/storage/{deep}").as_bytes()).is_err());
        assert!(names(format!("apps/{}", "x".repeat(300)).as_bytes()).is_err());
        assert!(at("apps/blog/files/storage/x", Kind::Directory, 0o2755).is_ok());
    }
}
