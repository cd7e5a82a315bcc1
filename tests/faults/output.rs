//! Output that is too much, has no lines, or is read by nobody.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{deploy, lines, print};
use crate::support::http::Request;
use crate::support::machine::peak_memory;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

fn size_of(directory: &Path, stream: &str) -> u64 {
    let files = std::fs::read_dir(directory).unwrap().flatten();
    let ours = files.filter(|f| f.file_name().to_string_lossy().starts_with(stream));
    // One may be rotated away at this moment.
    ours.filter_map(|f| Some(f.metadata().ok()?.len())).sum()
}

/// How much is printed without a newline; more by `PROCSERVER_TEST_MEBIBYTES`.
fn mebibytes() -> u64 {
    let more = std::env::var("PROCSERVER_TEST_MEBIBYTES");
    more.map_or(64, |text| text.parse().expect("a number"))
}

#[test]
fn many_mebibytes_without_a_newline_take_neither_memory_nor_disk() {
    let capped = Setup::new()
        .flag("--log-size", "1M")
        .flag("--log-files", "3");
    let server = capped.start();
    // A line that tells when all of it has been read comes after it.
    let endless = format!(
        "endless: head -c {}M /dev/zero | tr '\\0' x; echo; echo the-end; exec sleep 600\n",
        mebibytes()
    );
    let before = peak_memory(server.pid());
    let _repo = deploy(&server, "echo", &endless);
    eventually(
        "all of it has been read",
        Duration::from_secs(60 + mebibytes() / 5),
        || {
            let last = lines(&server, "echo", "stdout?tail=1");
            (last == ["the-end"]).then_some(())
        },
    );
    let grown = peak_memory(server.pid()) - before;
    assert!(grown < 48 << 20, "{grown} bytes more");
    let kept = size_of(&server.directory().join("apps/echo/logs"), "stdout");
    assert!(kept <= 3 * (1 << 20) + (128 << 10), "{kept} bytes on disk");
    let parts = server
        .request(
            "GET",
            "/applications/echo/logs/stdout?tail=10&process=endless.1",
        )
        .header("Accept", "application/x-ndjson")
        .send(&server.public());
    let parts = parts.expect(200).text();
    let parts: Vec<Value> = parts
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert!(
        parts.len() == 10 && parts[0]["partial"] == true,
        "{:?}",
        parts[0]
    );
    let longest = parts
        .iter()
        .filter_map(|p| p["text"].as_str())
        .map(str::len)
        .max();
    assert_eq!(longest, Some(16 * 1024));
}

#[test]
fn a_flood_of_lines_from_one_app_delays_neither_another_nor_the_api() {
    let server = Server::start();
    let _quiet = deploy(&server, "quiet", "");
    let _loud = deploy(&server, "loud", "flood: exec yes a line of the flood\n");
    for number in 0..10 {
        let text = format!("quiet-{number}");
        let begun = Instant::now();
        print(&server, "quiet", &text);
        eventually("the line is in the log", SOON, || {
            lines(&server, "quiet", "stdout?tail=1")
                .contains(&text)
                .then_some(())
        });
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    server.visit("/quiet/").expect(200);
    let peak = peak_memory(server.pid());
    assert!(peak < 256 << 20, "{peak} bytes");
}

#[test]
fn a_follower_that_does_not_read_blocks_nobody_and_is_told_how_many_lines_it_lost() {
    let server = Server::start();
    // It writes when it is told to, so that the follower is there first.
    let burst = "burst: until [ -e $STORAGE_DIR/go ]; do sleep 0.1; done; yes a-line-of-the-burst | head -n 1500000; echo the-end; exec sleep 600\n";
    let _repo = deploy(&server, "echo", burst);
    let target = "/applications/echo/logs/stdout?follow=true&process=burst.1";
    let follower = server
        .request("GET", target)
        .header("Accept", "application/x-ndjson")
        .open(&server.public())
        .unwrap();
    assert_eq!(follower.status, 200);
    std::fs::write(server.directory().join("apps/echo/storage/go"), "").unwrap();
    eventually(
        "the app is done, read or not",
        Duration::from_secs(60),
        || {
            let last = lines(&server, "echo", "stdout?tail=1&process=burst.1");
            (last == ["the-end"]).then_some(())
        },
    );
    Request::get("/echo/").send(&server.public()).expect(200);
    let (mut seen, mut lost) = (0, 0);
    for line in BufReader::new(follower.into_body()).lines() {
        let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        lost += record["lost"].as_u64().unwrap_or(0);
        seen += u64::from(record["lost"].is_null());
        if seen + lost >= 1_500_001 {
            break;
        }
    }
    assert!(lost > 0, "it was kept waiting for");
    assert_eq!(seen + lost, 1_500_001);
}
