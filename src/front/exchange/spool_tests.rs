use std::future::poll_fn;

use proptest::prelude::*;

use super::*;

fn room(directory: &std::path::Path, most: u64) -> Rc<SpoolSpace> {
    Rc::new(SpoolSpace::new(directory, most))
}

/// Byte number `n` of all that is ever given.
fn byte(n: usize) -> u8 {
    (n % 251) as u8
}

/// Gives what is taken, in pieces of `size`, until `whole` bytes were or nothing more is taken: how many were taken.
async fn give(spool: &mut Spool, from: usize, whole: usize, size: usize) -> usize {
    let mut given = from;
    while given < whole {
        let piece: Vec<u8> = (given..whole.min(given + size)).map(byte).collect();
        match spool.append(&piece) {
            0 if spool.is_full() => break,
            0 => poll_fn(|cx| spool.poll(cx)).await.expect("a file"),
            taken => given += taken,
        }
    }
    given
}

/// Uses all that there is, and checks it: the number of the next byte.
async fn take(spool: &mut Spool, from: usize, at_most: usize) -> usize {
    let mut taken = from;
    while !spool.is_empty() && taken - from < at_most {
        let bytes = spool.bytes();
        if bytes.is_empty() {
            poll_fn(|cx| spool.poll(cx)).await.expect("a file");
            continue;
        }
        let count = bytes.len().min(at_most - (taken - from));
        let all = bytes[..count].iter().enumerate();
        all.for_each(|(at, b)| assert_eq!(*b, byte(taken + at)));
        spool.consume(count);
        taken += count;
    }
    taken
}

#[tokio::test]
async fn what_does_not_fit_into_memory_is_in_a_file_without_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let room = room(directory.path(), 1 << 30);
    let mut spool = Spool::new(Rc::clone(&room));
    let whole = 5_000_000;
    assert_eq!(give(&mut spool, 0, whole, 50_000).await, whole);
    assert_eq!(spool.len(), whole as u64);
    assert!(spool.counted <= MEMORY + 2 * BLOCK, "{}", spool.counted);
    let mode =
        std::os::unix::fs::MetadataExt::mode(&spool.file.as_ref().unwrap().metadata().unwrap());
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(take(&mut spool, 0, usize::MAX).await, whole);
    assert!(spool.is_empty());
    assert_eq!(spool.len(), 0);
    drop(spool);
    room.recount(0, 0);
    assert!(!room.is_scarce());
}

#[tokio::test]
async fn a_file_is_no_larger_than_it_may_be_and_is_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let most = 3 * BLOCK as u64 + 7;
    let mut spool = Spool::new(room(directory.path(), most));
    let (mut given, mut taken, whole) = (0, 0, 6_000_000);
    let mut was_full = false;
    while taken < whole {
        given = give(&mut spool, given, whole, 70_000).await;
        was_full |= given < whole;
        taken = take(&mut spool, taken, 100_000).await;
        if let Some(file) = &spool.file {
            assert!(file.metadata().unwrap().len() <= most);
        }
    }
    assert!(was_full && spool.is_empty());
}

#[tokio::test]
async fn without_a_file_nothing_is_lost_and_no_more_is_taken_than_fits() {
    for (directory, most) in [("/nonexistent", 1 << 30), ("/", 0)] {
        let mut spool = Spool::new(room(directory.as_ref(), most));
        let given = give(&mut spool, 0, 5_000_000, 50_000).await;
        assert!((MEMORY..=MEMORY + 2 * BLOCK).contains(&given), "{given}");
        assert_eq!(take(&mut spool, 0, usize::MAX).await, given);
        let again = give(&mut spool, given, given + 1000, 300).await;
        assert_eq!(take(&mut spool, given, usize::MAX).await, again);
        assert_eq!(again, given + 1000);
    }
}

#[tokio::test]
async fn where_memory_is_scarce_each_gets_less() {
    let directory = tempfile::tempdir().unwrap();
    let room = room(directory.path(), 1 << 30);
    room.recount(0, 64 << 20);
    let mut spool = Spool::new(Rc::clone(&room));
    assert_eq!(give(&mut spool, 0, 1_000_000, 50_000).await, 1_000_000);
    assert!(spool.counted <= SCARCE + 2 * BLOCK, "{}", spool.counted);
    assert_eq!(take(&mut spool, 0, usize::MAX).await, 1_000_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_is_given_comes_out_in_order(
        steps in proptest::collection::vec((1usize..400_000, 1usize..100_000, 0usize..400_000), 1..12),
        blocks in 0u64..6,
        in_memory in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let room = room(directory.path(), blocks * BLOCK as u64);
            let mut spool = if in_memory { Spool::new(room) } else { Spool::on_disk(room) };
            let (mut given, mut taken) = (0, 0);
            for (more, size, used) in steps {
                given = give(&mut spool, given, given + more, size).await;
                assert_eq!(spool.len(), (given - taken) as u64);
                taken = take(&mut spool, taken, used).await;
            }
            assert_eq!(take(&mut spool, taken, usize::MAX).await, given);
        });
    }
}
