use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};

use ::tar::{Builder, EntryType, Header};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::archive::fast_import::{Commit, FastImport};
use crate::archive::sink::Look;

/// What came out: the content of files, and the targets of links.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kept(BTreeMap<Vec<u8>, (char, Vec<u8>)>);

impl Sink for Kept {
    fn file(
        &mut self,
        path: &[u8],
        is_executable: bool,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        let mut bytes = Vec::new();
        content
            .read_to_end(&mut bytes)
            .map_err(ArchiveError::damaged)?;
        if bytes.len() as u64 != size {
            return Err(ArchiveError::Damaged("it ends within a file".to_owned()));
        }
        let kind = if is_executable { 'x' } else { 'f' };
        self.0.insert(path.to_vec(), (kind, bytes));
        Ok(())
    }

    fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), ArchiveError> {
        self.0.insert(path.to_vec(), ('l', target.to_vec()));
        Ok(())
    }

    fn copy(&mut self, path: &[u8], from: &[u8]) -> Result<(), ArchiveError> {
        let same = self.0[from].clone();
        self.0.insert(path.to_vec(), same);
        Ok(())
    }
}

fn read_within(bytes: &[u8], limits: Limits) -> Result<Kept, ArchiveError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let mut kept = Kept::default();
    let walked = walk(&mut file, limits, &mut kept);
    // Whoever only looks is told the same, and git is told all of it.
    let looked = walk(&mut file, limits, &mut Look);
    assert_eq!(walked.is_ok(), looked.is_ok(), "{walked:?} {looked:?}");
    let commit = Commit {
        reference: "refs/x".into(),
        parent: None,
        time: 0,
        message: "x".into(),
    };
    let mut told = FastImport::begin(Vec::new(), &commit).unwrap();
    assert_eq!(walk(&mut file, limits, &mut told).is_ok(), walked.is_ok());
    walked.map(|_| kept)
}

fn read(bytes: &[u8]) -> Result<Kept, ArchiveError> {
    read_within(bytes, Limits::default())
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = header(EntryType::Regular, content.len() as u64);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A record of pax before a file.
fn with_pax(record: &str, value: &[u8]) -> Vec<u8> {
    let body = [record.as_bytes(), b"=", value, b"\n"].concat();
    // The length counts itself.
    let mut length = body.len() + 2;
    while length != body.len() + 1 + length.to_string().len() {
        length += 1;
    }
    let body = [format!("{length} ").as_bytes(), &body].concat();
    let mut tar = Builder::new(Vec::new());
    let mut pax = header(EntryType::XHeader, body.len() as u64);
    pax.set_path("pax").unwrap();
    pax.set_cksum();
    tar.append(&pax, &body[..]).unwrap();
    let mut file = header(EntryType::Regular, 1);
    file.set_path("short").unwrap();
    file.set_cksum();
    tar.append(&file, &b"x"[..]).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn names_of_gnu_and_pax_are_read_and_giant_ones_refused() {
    let long = format!("{}/{}", "a".repeat(150), "b".repeat(150));
    let kept = read(&tar(&[(&long, b"x")])).unwrap();
    assert_eq!(kept.0[long.as_bytes()].1, b"x");
    let kept = read(&with_pax("path", long.as_bytes())).unwrap();
    assert_eq!(kept.0[long.as_bytes()].1, b"x");
    for (record, value) in [
        ("path", &b"/etc/passwd"[..]),
        ("path", b"../x"),
        ("path", &[b'a'; 100_000]),
        ("size", b"99999999999"),
        ("GNU.sparse.major", b"1"),
    ] {
        assert!(read(&with_pax(record, value)).is_err(), "{record}");
    }
    assert!(read(&with_pax("mtime", b"1.5")).is_ok());
}

#[test]
fn a_bomb_ends_at_its_limit() {
    let limits = Limits {
        bytes: 1 << 20,
        entries: 10,
        names: 1000,
    };
    let refused =
        |bytes: &[u8]| matches!(read_within(bytes, limits), Err(ArchiveError::TooMuch(_)));
    assert!(refused(&gzip(&tar(&[("zeros", &[0; 2 << 20])]))));
    let halves = [("a", &[0; 700 << 10][..]), ("b", &[0; 700 << 10])];
    assert!(refused(&gzip(&tar(&halves))));
    // What no entry counts: heads, and what comes behind the end.
    assert!(refused(&gzip(
        &[&tar(&[("a", b"x")])[..], &[0; 4 << 20]].concat()
    )));
    let names: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert!(refused(&tar(&many)));
    let mut zip = ::zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default();
    zip.start_file("zeros", options).unwrap();
    zip.write_all(&[0; 2 << 20]).unwrap();
    assert!(refused(&zip.finish().unwrap().into_inner()));
}

#[test]
fn a_zip_has_files_modes_and_links() {
    let mut zip = ::zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default;
    zip.add_directory("d/", options()).unwrap();
    zip.start_file("d/run", options().unix_permissions(0o755))
        .unwrap();
    zip.write_all(b"run").unwrap();
    zip.start_file("d/text", options().unix_permissions(0o644))
        .unwrap();
    zip.write_all(b"text").unwrap();
    zip.add_symlink("l", "d/run", options()).unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    let kept = read(&bytes).unwrap();
    let of = |name: &str| kept.0[name.as_bytes()].clone();
    assert_eq!(of("d/run"), ('x', b"run".to_vec()));
    assert_eq!(of("d/text"), ('f', b"text".to_vec()));
    assert_eq!(of("l"), ('l', b"d/run".to_vec()));
    // Whatever it says of its size: what is in the local and in the central head.
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let _read = read(&changed);
    }
}

#[test]
fn what_is_cut_off_anywhere_is_not_taken() {
    let whole = tar(&[("a", b"one"), ("b", &[7; 600])]);
    for length in (0..whole.len() - 1024).step_by(64) {
        assert!(
            read(&whole[..length]).is_err(),
            "{length} of {}",
            whole.len()
        );
    }
    let packed = gzip(&whole);
    for length in 0..packed.len() {
        assert!(
            read(&packed[..length]).is_err(),
            "{length} of {}",
            packed.len()
        );
    }
    let mut changed = packed.clone();
    let last = changed.len() - 6;
    changed[last] ^= 1;
    assert!(read(&changed).is_err(), "a wrong checksum");
    assert!(read(&[&packed[..], b"more"].concat()).is_err());
}

/// A tar with entries of any kind and name.
fn any_tar() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![
        Just(b'0'),
        Just(b'5'),
        Just(b'2'),
        Just(b'1'),
        Just(b'x'),
        Just(b'L'),
        Just(b'K'),
        any::<u8>()
    ];
    let name = "([a-c./]{0,12}|[a-c]{1,3}/[a-c]{1,3})";
    let entry = (
        kinds,
        name,
        name,
        proptest::collection::vec(any::<u8>(), 0..40),
    );
    proptest::collection::vec(entry, 0..8).prop_map(|entries| {
        let mut tar = Builder::new(Vec::new());
        for (kind, name, target, content) in entries {
            let has_content = !matches!(kind, b'5' | b'2' | b'1');
            let content = if has_content { content } else { Vec::new() };
            let mut head = header(EntryType::new(kind), content.len() as u64);
            let old = head.as_old_mut();
            old.name[..name.len()].copy_from_slice(name.as_bytes());
            old.linkname[..target.len()].copy_from_slice(target.as_bytes());
            head.set_cksum();
            tar.append(&head, &content[..]).unwrap();
        }
        tar.into_inner().unwrap()
    })
}

proptest! {
    #[test]
    fn nothing_that_is_taken_leads_out(bytes in any_tar(), packed in any::<bool>()) {
        let bytes = if packed { gzip(&bytes) } else { bytes };
        if let Ok(kept) = read(&bytes) {
            for (path, (kind, content)) in &kept.0 {
                let mut names = path.split(|byte| *byte == b'/');
                prop_assert!(names.all(|name| !matches!(name, b"" | b"." | b"..")));
                prop_assert!(*kind != 'l' || !content.starts_with(b"/"));
                // A file has no file below it.
                let below = [&path[..], b"/"].concat();
                prop_assert!(!kept.0.keys().any(|other| other.starts_with(&below)));
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        start in prop_oneof![Just(&b"PK\x03\x04"[..]), Just(&b"\x1f\x8b\x08\0"[..]), Just(&b""[..])],
        bytes in proptest::collection::vec(any::<u8>(), 0..1200),
    ) {
        let _read = read(&[start, &bytes].concat());
    }

    #[test]
    fn files_come_out_as_they_went_in(
        files in proptest::collection::btree_map("[a-c]{1,2}/[a-z ü]{1,120}", proptest::collection::vec(any::<u8>(), 0..2000), 1..6),
    ) {
        let list: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (name.as_str(), &content[..])).collect();
        let kept = read(&gzip(&tar(&list))).unwrap();
        prop_assert_eq!(kept.0.len(), files.len());
        for (name, content) in &files {
            prop_assert_eq!(&kept.0[name.as_bytes()].1, content);
        }
    }
}
