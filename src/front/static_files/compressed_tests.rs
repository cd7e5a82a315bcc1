use std::io::Read as _;

use flate2::read::GzDecoder;

use super::*;

fn file_of(bytes: &[u8]) -> (File, Version) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let version = Version::of(&file.metadata().unwrap());
    (file, version)
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|n| b"abcdefgh \n"[n * n % 10]).collect()
}

#[test]
fn text_of_a_middling_size_is_worth_it() {
    for media_type in [
        "text/css; charset=utf-8",
        "text/html",
        "text/markdown",
        "application/json",
        "application/manifest+json",
        "image/svg+xml",
        "application/wasm",
    ] {
        assert!(is_worth(media_type, 5000), "{media_type}");
        assert!(!is_worth(media_type, 1023) && !is_worth(media_type, (8 << 20) + 1));
    }
    for media_type in [
        "image/png",
        "font/woff2",
        "application/gzip",
        "application/octet-stream",
        "video/mp4",
        "",
    ] {
        assert!(!is_worth(media_type, 5000), "{media_type}");
    }
}

#[actix_web::test]
async fn a_file_is_made_once_whoever_asks() {
    let compressed = Compressed::default();
    let bytes = text(300_000);
    let (file, version) = file_of(&bytes);
    let ask = || compressed.gzip(file.try_clone().unwrap(), version);
    let (first, second) = tokio::join!(ask(), ask());
    let first = first.expect("it is shorter");
    assert!(first.len() < bytes.len() / 2);
    let mut decoded = Vec::new();
    GzDecoder::new(&first[..])
        .read_to_end(&mut decoded)
        .unwrap();
    assert!(decoded == bytes);
    // The same memory, not the same bytes once more.
    for again in [second.unwrap(), ask().await.unwrap()] {
        assert_eq!(again.as_ptr(), first.as_ptr());
    }
    assert_eq!(compressed.kept().taken, first.len() + OVERHEAD);
}

#[actix_web::test]
async fn what_does_not_get_shorter_changes_or_finds_too_many_at_work_is_sent_as_it_is() {
    let compressed = Compressed::default();
    let mut noise = vec![0; 100_000];
    getrandom::fill(&mut noise).unwrap();
    let (file, version) = file_of(&noise);
    assert_eq!(compressed.gzip(file, version).await, None);
    assert_eq!(
        compressed.kept().taken,
        OVERHEAD,
        "that is known from now on"
    );

    let (mut file, version) = file_of(&text(100_000));
    let changes = file.try_clone().unwrap();
    file.write_all(b"more").unwrap();
    assert_eq!(compressed.gzip(changes, version).await, None);

    let (file, version) = file_of(&text(100_000));
    let ask = || compressed.gzip(file.try_clone().unwrap(), version);
    let all = compressed.at_work.try_acquire_many(4).unwrap();
    assert_eq!(ask().await, None);
    drop(all);
    assert!(ask().await.is_some(), "the next one gets it");
}

#[test]
fn what_was_asked_for_longest_ago_makes_room() {
    let (_file, version) = file_of(b"");
    let versions: Vec<Version> = (0..4).map(|length| Version { length, ..version }).collect();
    let mut kept = Kept::new(3 * OVERHEAD + 1000);
    for version in &versions[..3] {
        kept.place(*version);
    }
    kept.holds(versions[0], &Some(Bytes::from(vec![0; 900])));
    assert_eq!((kept.files.len(), kept.taken), (3, 3 * OVERHEAD + 900));
    kept.place(versions[0]);
    kept.place(versions[3]);
    assert!(!kept.files.contains_key(&versions[1]) && kept.files.contains_key(&versions[0]));
    // One that takes all room by itself is not kept, nor counted when it is made too late.
    kept.holds(versions[3], &Some(Bytes::from(vec![0; 5000])));
    kept.holds(versions[1], &Some(Bytes::from(vec![0; 5000])));
    assert_eq!((kept.files.len(), kept.by_use.len(), kept.taken), (0, 0, 0));
}
