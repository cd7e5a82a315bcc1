//! The fuzz targets (`tests/fuzz/`) without a fuzzer: what they say must hold, holds for every seed.
//!
//! There are two kinds of seeds: the files in `tests/fuzz/seeds/`, and what is made here of the tables in
//! `tests/conformance/`. With `PROCSERVER_TEST_FUZZ_CORPUS=1` all of them are also written to `tests/fuzz/corpus/`, where
//! `cargo fuzz` begins.

#[path = "fuzz/src/lib.rs"]
#[allow(unreachable_pub)]
// What is public there is so for the targets, which are crates of their own.
mod properties;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::Deserialize;

use crate::front::corpus::{Bytes, table};
use properties::{Property, TARGETS};

/// Longer inputs only slow a fuzzer down.
const LONGEST: usize = 4096;

fn directory(of: &str, target: &str) -> PathBuf {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    fuzz.join(of).join(target)
}

/// Runs all inputs of a target; tells of those that fail.
fn run(target: &str, property: Property, inputs: &[(String, Vec<u8>)]) -> Vec<String> {
    let fails = |input: &[u8]| catch_unwind(|| property(input)).is_err();
    let failed = inputs.iter().filter(|(_, input)| fails(input));
    failed
        .map(|(name, _)| format!("{target}: {name}"))
        .collect()
}

#[test]
fn what_the_targets_say_holds_for_the_seeds() {
    let mut failed = Vec::new();
    for (target, property) in TARGETS {
        let source = directory("fuzz_targets", &format!("{target}.rs"));
        let source = fs::read_to_string(source).unwrap();
        assert!(source.contains(&format!("procserver_fuzz::{target}(data)")));
        let files = fs::read_dir(directory("seeds", target)).unwrap();
        let inputs: Vec<_> = files
            .map(|file| {
                let path = file.unwrap().path();
                (path.display().to_string(), fs::read(&path).unwrap())
            })
            .collect();
        assert!(inputs.len() >= 20, "{target}: seeds are missing");
        failed.extend(run(target, property, &inputs));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn what_the_targets_say_holds_for_the_conformance_tables() {
    let write = std::env::var_os("PROCSERVER_TEST_FUZZ_CORPUS").is_some();
    let mut failed = Vec::new();
    for (target, property) in TARGETS {
        let inputs = inputs(target);
        assert!(inputs.len() > 100, "{target}: cases are missing");
        if write {
            let corpus = directory("corpus", target);
            fs::create_dir_all(&corpus).unwrap();
            for (name, input) in &inputs {
                fs::write(corpus.join(name), input).unwrap();
            }
        }
        failed.extend(run(target, property, &inputs));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

proptest! {
    /// Random pieces of a chunked body seldom make a whole one, so the chunks are given, and broken at times.
    #[test]
    fn what_is_said_of_bodies_holds_for_chunks_in_any_pieces(
        mode in any::<u8>(),
        sizes in any::<[u8; 4]>(),
        chunks in proptest::collection::vec("[a-z\r\n]{0,20}", 0..8),
        end in "0(;a=b)?\r\n(A: b\r\n)?\r\n(GET)?|0\r\n|\r\n|",
        repeated in 1usize..2000,
    ) {
        let mut input = [&[mode | 4], &sizes[..]].concat();
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            let chunk = chunk.repeat(repeated);
            input.extend_from_slice(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes());
        }
        input.extend_from_slice(end.as_bytes());
        properties::body(&input);
    }

    #[test]
    fn what_is_said_of_targets_holds_for_paths_of_dots_and_separators(
        choice in any::<u8>(),
        path in "/(one|two|kept)(/|/|one|two|a|\\.\\.|\\.|%2[eEfF]|%5c|%25|%6f|;|\\\\|\\?){0,14}",
        host in "(h|hosted\\.local\\.?|a\\.test|b)(:80)?",
    ) {
        let input = [&[choice], path.as_bytes(), b"\n", host.as_bytes()].concat();
        properties::target_path(&input);
    }

    #[test]
    fn what_is_said_of_forwarding_fields_holds_for_any_of_them(
        network in "(127\\.0\\.0\\.0/8|::1|0\\.0\\.0\\.0/0)",
        peer in "(127\\.0\\.0\\.1|10\\.0\\.0\\.1|::1|::ffff:127\\.0\\.0\\.9)",
        host in "(a|A\\.b\\.|\\[::1\\])(:81)?",
        fields in "((X-Forwarded-(For|Proto|Host|Port|Prefix|Ssl)|X_Forwarded_For|forwarded|Connection|TE|X-App|\
                   X-Request-ID|Via): ?[a-zA-Z0-9.,= -]{0,12}\n){0,6}",
    ) {
        properties::forwarded(format!("{peer}\n{network}\n{host}\n{fields}").as_bytes());
    }
}

#[derive(Deserialize)]
struct Sent {
    name: String,
    #[serde(alias = "answer")]
    send: Bytes,
}

#[derive(Deserialize)]
struct Answered {
    name: String,
    answer: Bytes,
}

/// What clients send: the tables of requests and routes.
fn requests() -> Vec<(String, Vec<u8>)> {
    let mut cases: Vec<Sent> = table(include_str!("conformance/requests.json"), 250);
    cases.extend(table::<Sent>(include_str!("conformance/routes.json"), 60));
    named(cases.into_iter().map(|case| (case.name, case.send)))
}

/// What apps answer.
fn responses() -> Vec<(String, Vec<u8>)> {
    let cases: Vec<Answered> = table(include_str!("conformance/responses.json"), 150);
    named(cases.into_iter().map(|case| (case.name, case.answer)))
}

/// With names that a file may have.
fn named(cases: impl Iterator<Item = (String, Bytes)>) -> Vec<(String, Vec<u8>)> {
    let cases = cases.map(|(name, bytes)| (name, bytes.get())).enumerate();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name = |at: usize, name: &str| {
        let name: String = name.chars().take(40).map(plain).collect();
        format!("{at:03}-{}", name.trim_matches('-'))
    };
    let cases = cases.map(|(at, (text, bytes))| (name(at, &text), bytes));
    cases.filter(|(_, bytes)| bytes.len() <= LONGEST).collect()
}

/// The inputs of a target that the tables have.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut cases = requests();
    match target {
        "response_head" => cases = responses(),
        "body" => {
            let answers = responses().into_iter();
            cases.extend(answers.map(|(name, bytes)| (format!("answer-{name}"), bytes)));
        }
        _ => {}
    }
    let cases = cases.into_iter().enumerate();
    let cases = cases.filter_map(|(at, (name, sent))| Some((name, input(target, at, &sent)?)));
    cases.collect()
}

/// A case as an input of `target`; the case's number makes the choices.
fn input(target: &str, at: usize, sent: &[u8]) -> Option<Vec<u8>> {
    let choice = u8::try_from(at % 251).unwrap();
    match target {
        "request_head" | "response_head" => Some([&[0, choice, choice], sent].concat()),
        "body" => {
            let end = sent.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
            let head = sent[..end].to_ascii_lowercase();
            let has = |text: &str| head.windows(text.len()).any(|w| w == text.as_bytes());
            let mode = match (has("chunked"), has("content-length")) {
                (true, _) => 4,
                (false, true) => 1,
                (false, false) => 3,
            };
            let input = [
                &[mode | choice & 8, choice, choice / 7, 1, choice],
                &sent[end..],
            ];
            (end < sent.len()).then(|| input.concat())
        }
        "target_path" => {
            let (line, fields) = split_line(sent)?;
            let target = line.split(|b| *b == b' ').nth(1)?;
            Some([&[choice], target, b"\n", host(fields).unwrap_or(b"h")].concat())
        }
        "forwarded" => {
            let (_, mut fields) = split_line(sent)?;
            let peers = [
                "127.0.0.1\n127.0.0.0/8\n",
                "10.0.0.1\n127.0.0.1\n",
                "fd00::1\nfd00::/8\n",
            ];
            let host = host(fields).unwrap_or(b"a:81");
            if fields.starts_with(b"Host: ") {
                fields = split_line(fields)?.1;
            }
            let end = fields.windows(4).position(|w| w == b"\r\n\r\n");
            let fields = &fields[..end.unwrap_or(fields.len())];
            Some([peers[at % 3].as_bytes(), host, b"\n", fields].concat())
        }
        "archive" => Some(archived(at, sent)),
        "hook" => {
            let kinds = [
                "X-GitHub-Event: push\nX-Hub-Signature-256: sha256=",
                "X-Gitlab-Event: Push Hook\nX-Gitlab-Token: ",
            ];
            let head = format!("Content-Type: application/json\n{}", kinds[at % 2]);
            let sent: Vec<u8> = sent.iter().copied().filter(|byte| *byte != b'\r').collect();
            Some([head.as_bytes(), &sent].concat())
        }
        other => panic!("{other} has no seeds: say here what they are"),
    }
}

/// A tar, perhaps in gzip, with `sent` as the content of a file and as what names it.
fn archived(at: usize, sent: &[u8]) -> Vec<u8> {
    let kinds = *b"0512xgLKS7";
    let name: Vec<u8> = sent.iter().copied().take(90).collect();
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |kind: u8, path: &[u8], content: &[u8]| {
        let mut head = tar::Header::new_ustar();
        head.set_entry_type(tar::EntryType::new(kind));
        head.set_size(content.len() as u64);
        head.set_mode(0o644);
        let old = head.as_old_mut();
        old.name[..path.len()].copy_from_slice(path);
        old.linkname[..path.len()].copy_from_slice(path);
        head.set_cksum();
        tar.append(&head, content).unwrap();
    };
    add(kinds[at % kinds.len()], b"first", sent);
    add(b'0', &name, sent);
    add(b'0', b"d/last", b"x");
    let tar = tar.into_inner().unwrap();
    if at.is_multiple_of(2) {
        return tar;
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &tar).unwrap();
    packed.finish().unwrap()
}

fn split_line(sent: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = sent.windows(2).position(|w| w == b"\r\n")?;
    Some((&sent[..end], &sent[end + 2..]))
}

/// The value of the first field if that is Host.
fn host(fields: &[u8]) -> Option<&[u8]> {
    let (line, _) = split_line(fields)?;
    line.strip_prefix(b"Host: ")
}
