use std::fs::OpenOptions;
use std::path::Path;

use super::*;
use crate::test_support::skip;

fn settings(directory: &Path) -> LogSettings {
    LogSettings {
        directory: directory.to_owned(),
        segment_size: 1000,
        segments: 3,
        stored: Default::default(),
    }
}

fn append(segments: &mut SegmentWriter, lines: &[&str]) -> Appended {
    let cuts = lines.iter().map(|line| Cut {
        text: line.as_bytes(),
        partial: false,
    });
    segments.append(&WriteBatch {
        stream: Stream::Stdout,
        time: now(),
        process: "web.1",
        release: 1,
        lines: cuts.collect(),
    })
}

fn contents(directory: &Path) -> String {
    let found = segments(directory, Stream::Stdout).unwrap();
    let texts = found
        .iter()
        .map(|(_, path)| std::fs::read_to_string(path).unwrap());
    texts.collect()
}

#[test]
fn ids_go_on_in_a_new_life_and_a_torn_line_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let mut first = SegmentWriter::new(settings.clone(), Stream::Stdout);
    assert_eq!(append(&mut first, &["a", "b"]).first_id, 1);
    drop(first);
    let (_, path) = segments(directory.path(), Stream::Stdout)
        .unwrap()
        .remove(0);
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(b"3 2026-11-22T10:15:30.1").unwrap();
    let mut second = SegmentWriter::new(settings, Stream::Stdout);
    let expected = Appended {
        first_id: 3,
        stored: 1,
    };
    assert_eq!(append(&mut second, &["c"]), expected);
    let ids: Vec<_> = contents(directory.path())
        .lines()
        .map(|line| Line::parse(line.as_bytes()).unwrap().id)
        .collect();
    assert_eq!(ids, [1, 2, 3]);
}

#[test]
fn segments_are_bounded_in_size_and_number_and_hold_the_newest_lines() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = SegmentWriter::new(settings(directory.path()), Stream::Stdout);
    for start in 0..100u64 {
        let appended = append(&mut log, &["some text"; 10]);
        assert_eq!(appended.first_id, start * 10 + 1);
    }
    let found = segments(directory.path(), Stream::Stdout).unwrap();
    assert_eq!(found.len(), 3);
    let mut expected = found[0].0;
    for (first, path) in &found {
        assert_eq!(*first, expected, "no line is missing between two segments");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.len() <= 1000);
        expected += text.lines().count() as u64;
    }
    assert_eq!(expected, 1001);
}

#[test]
fn logs_that_somebody_removed_begin_anew_with_the_ids_that_come_next() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("logs");
    let mut log = SegmentWriter::new(settings(&directory), Stream::Stdout);
    append(&mut log, &["a", "b"]);
    std::fs::remove_dir_all(&directory).unwrap();
    let expected = Appended {
        first_id: 3,
        stored: 1,
    };
    assert_eq!(append(&mut log, &["c"]), expected);
    assert!(contents(&directory).ends_with("web.1 1 - | c\n"));
}

#[test]
fn a_segment_that_is_renamed_away_is_followed_by_a_new_one_and_ids_go_on() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("logs");
    let mut log = SegmentWriter::new(settings(&directory), Stream::Stdout);
    append(&mut log, &["a", "b"]);
    let (_, newest) = segments(&directory, Stream::Stdout).unwrap().pop().unwrap();
    std::fs::rename(&newest, parent.path().join("away")).unwrap();
    assert_eq!(append(&mut log, &["c"]).first_id, 3);
    assert!(contents(&directory).ends_with("web.1 1 - | c\n"));
    assert!(!newest.exists() && parent.path().join("away").exists());
}

#[test]
fn an_empty_newest_segment_still_knows_the_next_id() {
    let directory = tempfile::tempdir().unwrap();
    let name = file_name(Stream::Stdout, 77);
    std::fs::write(directory.path().join(name), "").unwrap();
    let mut log = SegmentWriter::new(settings(directory.path()), Stream::Stdout);
    assert_eq!(append(&mut log, &["x"]).first_id, 77);
}

#[test]
fn what_is_named_like_a_segment_and_is_none_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let name = |id| directory.path().join(file_name(Stream::Stdout, id));
    std::fs::create_dir(name(80)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", name(81)).unwrap();
    nix::unistd::mkfifo(&name(82), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::write(name(u64::MAX), "").unwrap();
    let damaged = format!("{} 2026-11-22T10:15:30.123456Z web.1 1 - | x\n", u64::MAX);
    std::fs::write(name(77), damaged).unwrap();
    let mut log = SegmentWriter::new(settings(directory.path()), Stream::Stdout);
    assert_eq!(append(&mut log, &["a"]).first_id, 77);
    assert_eq!(append(&mut log, &["some text"; 100]).first_id, 78);
    let entries = std::fs::read_dir(directory.path()).unwrap();
    assert_eq!(
        entries.count(),
        4 + 3,
        "what is not ours, and three segments"
    );
}

#[test]
fn lines_that_cannot_be_written_are_counted_and_told_later() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("logs");
    std::fs::write(&directory, "in the way").unwrap();
    let mut log = SegmentWriter::new(settings(&directory), Stream::Stdout);
    assert_eq!(append(&mut log, &["a", "b"]).stored, 0);
    assert_eq!(append(&mut log, &["c"]).stored, 0);
    std::fs::remove_file(&directory).unwrap();
    let expected = Appended {
        first_id: 2,
        stored: 1,
    };
    assert_eq!(append(&mut log, &["d"]), expected);
    let text = contents(&directory);
    assert!(
        text.contains("procserver 0 - | 3 lines are missing here"),
        "{text}"
    );
    assert!(text.ends_with("web.1 1 - | d\n"), "{text}");
}

/// A file system of 16 KiB, when this runs as root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"])
            .arg(directory.path())
            .stderr(std::process::Stdio::null())
            .status();
        status
            .is_ok_and(|status| status.success())
            .then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg(self.0.path())
            .status();
    }
}

#[test]
fn a_full_disk_loses_lines_and_the_log_goes_on_once_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        skip(
            "a full disk loses lines",
            "only root can mount a small disk",
        );
        return;
    };
    let directory = disk.0.path().join("logs");
    let ballast = disk.0.path().join("ballast");
    let mut log = SegmentWriter::new(settings(&directory), Stream::Stdout);
    assert_eq!(append(&mut log, &["before"]).stored, 1);
    let full = std::fs::write(&ballast, [0; 64 * 1024]).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    let mut stored = 0;
    for _ in 0..200 {
        stored += append(&mut log, &["while it is full"]).stored;
    }
    assert!(stored < 200);
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(append(&mut log, &["after"]).stored, 1);
    let text = contents(&directory);
    assert!(text.contains("lines are missing here"), "{text}");
    assert!(text.ends_with("| after\n"), "{text}");
    assert!(
        text.lines()
            .all(|line| Line::parse(line.as_bytes()).is_some()),
        "{text}"
    );
}
