//! [`FileSystem`]: where the data directory is, and whether project quotas are on there (pure).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Where it is mounted.
    pub point: PathBuf,
    /// `ext4`, `xfs`.
    pub kind: String,
    /// A block device.
    pub source: PathBuf,
    /// It keeps writers within the limits of their projects.
    pub is_on: bool,
}

impl FileSystem {
    /// That of `path`, which has no link in it. `mounts`: as proc_pid_mountinfo(5).
    #[must_use]
    pub fn of(path: &Path, mounts: &str) -> Option<Self> {
        let all = mounts.lines().filter_map(Self::parse);
        let above = all.filter(|mounted| path.starts_with(&mounted.point));
        // Of those at one place the last one hides the others.
        above.max_by_key(|mounted| mounted.point.components().count())
    }

    fn parse(line: &str) -> Option<Self> {
        let (place, system) = line.split_once(" - ")?;
        let point = unescaped(place.split(' ').nth(4)?);
        let mut system = system.split(' ');
        let (kind, source, options) = (system.next()?, system.next()?, system.next()?);
        Some(Self {
            point,
            kind: kind.to_owned(),
            source: unescaped(source),
            // XFS says pqnoenforce where it only counts.
            is_on: has_projects(kind) && options.split(',').any(|option| option == "prjquota"),
        })
    }

    /// Whether it could have project quotas.
    #[must_use]
    pub fn has_projects(&self) -> bool {
        has_projects(&self.kind)
    }
}

fn has_projects(kind: &str) -> bool {
    matches!(kind, "ext4" | "xfs")
}

/// Blanks are `\040` there.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured on Linux 6.1.
    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /run rw,nosuid,nodev shared:5 - tmpfs tmpfs rw,size=100k,mode=755
90 22 254:16 / /srv/ext4 rw,relatime shared:40 - ext4 /dev/vdb rw,prjquota
91 22 254:32 / /srv/xfs rw,relatime shared:41 - xfs /dev/vdc rw,attr2,inode64,logbufs=8,logbsize=32k,prjquota
92 22 254:48 / /srv/counted rw,relatime shared:42 - xfs /dev/vdd rw,attr2,inode64,pqnoenforce
93 22 254:64 / /srv/a\\040b rw,relatime - ext4 /dev/vde rw,prjquota
94 30 254:80 / /run/x rw - btrfs /dev/vdf rw,prjquota
";

    fn at(path: &str) -> FileSystem {
        FileSystem::of(Path::new(path), MOUNTS).unwrap()
    }

    #[test]
    fn the_nearest_mount_above_says_whether_quotas_are_on() {
        let on = |path: &str| at(path).is_on;
        assert!(on("/srv/ext4/procserver") && on("/srv/xfs") && on("/srv/a b/c"));
        assert!(!on("/var/lib/procserver") && !on("/srv/counted/x") && !on("/run/x"));
        assert_eq!(at("/srv/ext4x").point, Path::new("/"));
        assert_eq!(at("/srv/xfs/a").source, Path::new("/dev/vdc"));
        assert!(at("/").has_projects() && !at("/run").has_projects());
    }

    #[test]
    fn of_two_at_one_place_the_later_one_counts_and_rubbish_is_nothing() {
        let twice = format!("{MOUNTS}95 22 0:9 / /srv/ext4 rw - tmpfs none rw\nrubbish - x\n - \n");
        let found = FileSystem::of(Path::new("/srv/ext4/a"), &twice).unwrap();
        assert_eq!(found.kind, "tmpfs");
        assert_eq!(FileSystem::of(Path::new("/"), "x"), None);
        assert_eq!(unescaped("a\\0"), Path::new("a\\0"));
    }
}
