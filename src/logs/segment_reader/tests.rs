use super::*;
use crate::logs::lines::Cut;
use crate::logs::record::{Stream, WriteBatch};
use crate::logs::segment_writer::SegmentWriter;
use crate::logs::settings::LogSettings;

/// 500 lines in many small segments; line N is at N seconds, of `web.1` and `worker.1` by turns, of release N / 100.
fn written(directory: &Path) -> SegmentWriter {
    let settings = LogSettings {
        directory: directory.to_owned(),
        segment_size: 1500,
        segments: 1000,
        stored: Default::default(),
    };
    let mut segments = SegmentWriter::new(settings, Stream::Stdout);
    for id in 1..=500 {
        segments.append(&WriteBatch {
            stream: Stream::Stdout,
            time: jiff::Timestamp::from_second(id).unwrap(),
            process: if id % 2 == 0 { "web.1" } else { "worker.1" },
            release: id as u64 / 100,
            lines: vec![Cut {
                text: b"text",
                partial: false,
            }],
        });
    }
    segments
}

fn all() -> Query {
    Query::all(&[Stream::Stdout])
}

fn after(id: u64) -> Query {
    let mut query = all();
    query.go_on_after(Stream::Stdout, id);
    query
}

/// The ids given, and how many lines are told to be lost.
fn read(mut stored: SegmentReader) -> (Vec<u64>, u64) {
    let (mut ids, mut lost) = (Vec::new(), 0);
    while let Some(chunk) = stored.next_chunk().unwrap() {
        match chunk {
            Chunk::Lines(lines) => ids.extend(lines.iter().map(|line| line.id)),
            Chunk::Lost(count) => lost += count,
            Chunk::Begins(_) | Chunk::Current(_) => {}
        }
    }
    (ids, lost)
}

fn ids(directory: &Path, query: Query) -> Vec<u64> {
    let (ids, lost) = read(SegmentReader::new(directory, query, 501).unwrap());
    assert_eq!(lost, 0);
    ids
}

#[test]
fn each_filter_keeps_what_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    written(path);
    assert_eq!(ids(path, all()), Vec::from_iter(1..=500));
    let tail = Some(3);
    assert_eq!(ids(path, Query { tail, ..all() }), [498, 499, 500]);
    let process = Some("web".to_owned());
    let of_web = Query { process, ..all() };
    assert_eq!(ids(path, of_web.clone()).len(), 250);
    assert_eq!(ids(path, Query { tail, ..of_web }), [496, 498, 500]);
    assert_eq!(ids(path, after(497)), [498, 499, 500]);
    let since = Some(jiff::Timestamp::from_second(499).unwrap());
    assert_eq!(ids(path, Query { since, ..all() }), [499, 500]);
    let release = Some(5);
    assert_eq!(ids(path, Query { release, ..all() }), [500]);
}

#[test]
fn a_tail_may_be_nothing_everything_or_more() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    for (tail, count) in [(0, 0), (1, 1), (499, 499), (500, 500), (usize::MAX, 500)] {
        let tail = Some(tail);
        assert_eq!(ids(directory.path(), Query { tail, ..all() }).len(), count);
    }
}

#[test]
fn lines_from_the_end_on_are_not_read() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    let (ids, _) = read(SegmentReader::new(directory.path(), all(), 11).unwrap());
    assert_eq!(ids, Vec::from_iter(1..=10));
    let tail = Some(2);
    let query = Query { tail, ..all() };
    let (ids, _) = read(SegmentReader::new(directory.path(), query, 11).unwrap());
    assert_eq!(ids, [9, 10]);
}

#[test]
fn what_was_rotated_away_is_told() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    let stored = SegmentReader::new(directory.path(), all(), 501).unwrap();
    let found = segments(directory.path(), Stream::Stdout).unwrap();
    std::fs::remove_file(&found[0].1).unwrap();
    let gone = found[1].0 - 1;
    assert_eq!(read(stored), (Vec::from_iter(gone + 1..=500), gone));
    let resumed = SegmentReader::new(directory.path(), after(0), 501).unwrap();
    assert_eq!(read(resumed), (Vec::from_iter(gone + 1..=500), gone));
}

#[test]
fn lines_that_are_not_ours_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    drop(written(directory.path()));
    let found = segments(directory.path(), Stream::Stdout).unwrap();
    let mut garbage = vec![b'x'; 200_000];
    garbage.extend_from_slice(b"\n\nmore\n \xff\n");
    let kept = std::fs::read(&found[1].1).unwrap();
    garbage.extend_from_slice(&kept);
    std::fs::write(&found[1].1, garbage).unwrap();
    assert_eq!(ids(directory.path(), all()).len(), 500);
    let tail = Some(500);
    assert_eq!(ids(directory.path(), Query { tail, ..all() }).len(), 500);
}
