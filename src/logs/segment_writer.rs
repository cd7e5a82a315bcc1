//! [`SegmentWriter`]: the files that a stream's lines are appended to.
//!
//! A segment is named after its stream and the id of its first line (`stdout-00000000000000000042.log`), so it is never
//! renamed, and a line is found by its id. What is there when the daemon starts is gone on with: a torn last line is cut
//! off, and ids continue. When the disk is full, lines are dropped and counted, and a line says so once there is room.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::lines::Cut;
use super::log::LogSettings;
use super::record::{Batch, LARGEST_ID, Line, Stream, encode, now};
use super::segment_reader::Backward;
use crate::regular;

/// Whose lines those about lost lines are.
const OURSELVES: &str = "procserver";

/// Bytes that are gathered before they are written.
const WRITE: usize = 256 * 1024;

/// The segments of one stream, as their only writer.
#[derive(Debug)]
pub struct SegmentWriter {
    settings: LogSettings,
    stream: Stream,
    current: Option<Current>,
    next_id: u64,
    dropped: Dropped,
}

/// The newest segment.
#[derive(Debug)]
struct Current {
    file: File,
    path: PathBuf,
    size: u64,
}

impl Current {
    /// Whether somebody has removed the file, or its name is another's by now: nobody finds what is written to it.
    fn is_removed(&self) -> bool {
        let same = |open: rustix::fs::Stat, found: rustix::fs::Stat| {
            (open.st_dev, open.st_ino) == (found.st_dev, found.st_ino)
        };
        match (rustix::fs::fstat(&self.file), rustix::fs::lstat(&self.path)) {
            (Ok(open), Ok(found)) => !same(open, found),
            (_, Err(error)) => error == rustix::io::Errno::NOENT,
            (Err(_), _) => false,
        }
    }
}

/// Lines that could not be stored and have not been told.
#[derive(Debug, Default)]
struct Dropped {
    lines: u64,
    reason: String,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The id of its first line.
    pub first_id: u64,
    /// How many of its lines were stored: the first ones.
    pub stored: usize,
}

impl SegmentWriter {
    /// The segments of `stream`; nothing is opened before it is needed.
    #[must_use]
    pub fn new(settings: LogSettings, stream: Stream) -> Self {
        Self {
            settings,
            stream,
            current: None,
            next_id: 1,
            dropped: Dropped::default(),
        }
    }

    /// Stores `batch`. Never fails: lines that cannot be stored are counted, told in the daemon's log, and in this one
    /// as soon as that can be written.
    pub fn append(&mut self, batch: &Batch<'_>) -> Appended {
        if self.dropped.lines > 0 {
            self.tell_dropped();
        }
        let first_id = match self.next_id() {
            Ok(id) => id,
            Err(error) => {
                self.drop_lines(batch.lines.len(), &error);
                return Appended {
                    first_id: self.next_id,
                    stored: 0,
                };
            }
        };
        let stored = match self.write_lines(batch) {
            Ok(()) => batch.lines.len(),
            Err(error) => {
                let stored = usize::try_from(self.next_id.saturating_sub(first_id)).unwrap_or(0);
                self.drop_lines(batch.lines.len() - stored, &error);
                stored
            }
        };
        Appended { first_id, stored }
    }

    /// The id that the next line will get.
    ///
    /// # Errors
    /// When the newest segment cannot be read.
    pub fn next_id(&mut self) -> io::Result<u64> {
        // Once a batch: each line would be too often.
        self.current = self.current.take().filter(|current| !current.is_removed());
        self.current()?;
        Ok(self.next_id)
    }

    /// Writes all lines in as few calls as segments allow; `next_id` counts those that are on disk.
    fn write_lines(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        let head = batch.head();
        let (mut buffer, mut gathered) = (Vec::new(), 0);
        for line in &batch.lines {
            let before = buffer.len();
            encode(&mut buffer, self.next_id + gathered, &head, line);
            let size = self.current()?.size;
            if buffer.len() as u64 + size > self.settings.segment_size && size + before as u64 > 0 {
                let rest = buffer.split_off(before);
                self.write(&buffer, gathered)?;
                self.rotate()?;
                (buffer, gathered) = (rest, 0);
            } else if buffer.len() > WRITE {
                self.write(&buffer, gathered + 1)?;
                buffer.clear();
                gathered = 0;
                continue;
            }
            gathered += 1;
        }
        self.write(&buffer, gathered)
    }

    fn write(&mut self, bytes: &[u8], lines: u64) -> io::Result<()> {
        if lines == 0 {
            return Ok(());
        }
        let current = self.current()?;
        if let Err(error) = current.file.write_all(bytes) {
            // Half of it may be there. If that cannot be undone now it will be when the segment is opened again.
            if current.file.set_len(current.size).is_err() {
                self.current = None;
            }
            return Err(error);
        }
        current.size += bytes.len() as u64;
        self.next_id += lines;
        Ok(())
    }

    /// Ends the newest segment and begins another; the oldest go first, which also makes room.
    fn rotate(&mut self) -> io::Result<()> {
        self.current = None;
        let existing = segments(&self.settings.directory, self.stream)?;
        let kept = self.settings.segments.max(1) - 1;
        for (_, path) in existing.iter().take(existing.len().saturating_sub(kept)) {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let path = self
            .settings
            .directory
            .join(file_name(self.stream, self.next_id));
        self.current = Some(Current {
            file: open(&path)?,
            path,
            size: 0,
        });
        Ok(())
    }

    fn current(&mut self) -> io::Result<&mut Current> {
        if self.current.is_none() {
            let (current, next_id) = self.recover()?;
            self.current = Some(current);
            // Ids never go back, whichever segments somebody has taken away.
            self.next_id = next_id.max(self.next_id);
        }
        self.current
            .as_mut()
            .ok_or_else(|| io::Error::other("no segment is open"))
    }

    /// Goes on with the newest segment, or begins the first.
    fn recover(&self) -> io::Result<(Current, u64)> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(&self.settings.directory)?;
        let existing = segments(&self.settings.directory, self.stream)?;
        let (first_id, path) = existing.last().cloned().unwrap_or_else(|| {
            let name = file_name(self.stream, self.next_id);
            (self.next_id, self.settings.directory.join(name))
        });
        let file = open(&path)?;
        let mut lines = Backward::new(regular::open(&path)?)?;
        let size = lines.offset();
        file.set_len(size)?;
        let mut next_id = first_id;
        while let Some((_, line)) = lines.previous()? {
            if let Some(line) = Line::parse(line) {
                next_id = line.id.saturating_add(1);
                break;
            }
        }
        Ok((Current { file, path, size }, next_id))
    }

    fn drop_lines(&mut self, lines: usize, error: &io::Error) {
        if self.dropped.lines == 0 {
            let directory = self.settings.directory.display();
            let stream = self.stream.name();
            ::log::error!("cannot write the {stream} log in {directory}, dropping lines: {error}");
        }
        self.dropped.lines += lines as u64;
        self.dropped.reason = error.to_string();
    }

    /// Writes what was dropped into the log itself, if that can be written again.
    fn tell_dropped(&mut self) {
        let Dropped { lines, reason } = &self.dropped;
        let text = format!("{lines} lines are missing here, they could not be written: {reason}");
        let batch = Batch {
            stream: self.stream,
            time: now(),
            process: OURSELVES,
            release: 0,
            lines: vec![Cut {
                text: text.as_bytes(),
                partial: false,
            }],
        };
        if self.write_lines(&batch).is_ok() {
            ::log::info!("{}: {text}", self.settings.directory.display());
            self.dropped = Dropped::default();
        }
    }
}

/// The segments of `stream` below `directory`: the id of the first line, the path; oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn segments(directory: &Path, stream: Stream) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| first_id(stream, name));
        // What else has such a name (a directory, a link, a FIFO that nobody would read) is not ours.
        if let Some(id) = id
            && entry.file_type()?.is_file()
        {
            found.push((id, directory.join(name)));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn file_name(stream: Stream, first_id: u64) -> String {
    format!("{}-{first_id:020}.log", stream.name())
}

fn first_id(stream: Stream, name: &str) -> Option<u64> {
    let id = name.strip_prefix(stream.name())?.strip_prefix('-')?;
    let id = id.strip_suffix(".log")?.parse().ok();
    id.filter(|id| *id <= LARGEST_ID)
}

/// Opens a log to append to it. A link in its place is refused.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640);
    regular::open_with(path, &mut options, OFlags::NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(directory: &Path) -> LogSettings {
        LogSettings {
            directory: directory.to_owned(),
            segment_size: 1000,
            segments: 3,
        }
    }

    fn append(segments: &mut SegmentWriter, lines: &[&str]) -> Appended {
        let cuts = lines.iter().map(|line| Cut {
            text: line.as_bytes(),
            partial: false,
        });
        segments.append(&Batch {
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
            ::log::warn!("skipped: only root can mount a small disk");
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
}
