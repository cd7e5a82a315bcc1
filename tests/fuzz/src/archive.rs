//! An archive of a stranger: what is taken of it leads nowhere else, and a second look finds what the first one found.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, Write};

use procserver::archive::error::ArchiveError;
use procserver::archive::fast_import::{Commit, FastImport};
use procserver::archive::sink::{Look, Sink};
use procserver::archive::tree::Limits;
use procserver::archive::walk::walk;

/// Small, so that the limits are met.
const LIMITS: Limits = Limits {
    bytes: 256 << 10,
    entries: 100,
    names: 8 << 10,
};

/// All of it is the archive.
pub fn archive(data: &[u8]) {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(data).expect("is written");
    let first = walk(&mut file, LIMITS, &mut Look).map(|tree| (tree.files(), tree.bytes()));
    let mut taken = Taken::default();
    let second = walk(&mut file, LIMITS, &mut taken).map(|tree| (tree.files(), tree.bytes()));
    let (first, second) = match (first, second) {
        (Err(_), Err(_)) => return,
        (first, second) => (first.expect("as the second"), second.expect("as the first")),
    };
    assert_eq!(first, second);
    taken.check(second.0, second.1);
    check_commit(&mut file);
}

/// What git is told is whole.
fn check_commit(file: &mut File) {
    let commit = Commit {
        reference: "refs/procserver/upload".to_owned(),
        parent: None,
        time: 0,
        message: "x".to_owned(),
    };
    let mut told = Vec::new();
    let mut import = FastImport::begin(&mut told, &commit).expect("memory takes it");
    walk(file, LIMITS, &mut import).expect("it was good before");
    import.finish().expect("memory takes it");
    assert!(told.ends_with(b"\nget-mark :1\ndone\n"));
    file.rewind().expect("a file");
}

#[derive(Default)]
struct Taken {
    /// Bytes of the files; `None`: a link.
    all: BTreeMap<Vec<u8>, Option<u64>>,
    bytes: u64,
}

impl Taken {
    fn add(&mut self, path: &[u8], what: Option<u64>) {
        let mut names = path.split(|byte| *byte == b'/');
        let is_name = |name: &[u8]| {
            !matches!(name, b"" | b"." | b"..") && !name.eq_ignore_ascii_case(b".git")
        };
        assert!(names.all(is_name) && !path.contains(&0), "{path:?}");
        assert!(self.all.insert(path.to_vec(), what).is_none(), "{path:?}");
    }

    fn check(&self, files: usize, bytes: u64) {
        assert_eq!((self.all.len(), self.bytes), (files, bytes));
        assert!(files <= LIMITS.entries && bytes <= LIMITS.bytes);
        for path in self.all.keys() {
            let below = [path, &b"/"[..]].concat();
            let next = self.all.range(below.clone()..).next();
            assert!(next.is_none_or(|(other, _)| !other.starts_with(&below)));
        }
    }
}

impl Sink for Taken {
    fn file(
        &mut self,
        path: &[u8],
        _: bool,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        let mut read = Vec::new();
        content
            .read_to_end(&mut read)
            .map_err(|error| ArchiveError::Damaged(error.to_string()))?;
        if read.len() as u64 != size {
            return Err(ArchiveError::Damaged("it ends within a file".to_owned()));
        }
        self.bytes += size;
        self.add(path, Some(size));
        Ok(())
    }

    fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), ArchiveError> {
        assert!(!target.is_empty() && !target.starts_with(b"/"));
        self.add(path, None);
        Ok(())
    }

    fn copy(&mut self, path: &[u8], from: &[u8]) -> Result<(), ArchiveError> {
        assert!(matches!(self.all.get(from), Some(Some(_))));
        self.add(path, Some(0));
        Ok(())
    }
}
