//! Who reads a Log that goes on.

use super::*;

#[actix::test]
async fn a_follower_gets_stored_and_new_lines_without_gap_or_overlap() {
    let bench = Bench::new();
    let directory = bench.attach("web.1").await;
    let child = shell(&directory, "seq 1 20000");
    let mut chunks = bench.read(following(Stream::Stdout)).await;
    let mut expected = 1;
    while expected <= 20000 {
        match next(&mut chunks).await.expect("the log ended") {
            Chunk::Lines(lines) => {
                for line in lines.iter() {
                    assert_eq!(line.text, expected.to_string().as_bytes());
                    expected += 1;
                }
            }
            Chunk::Lost(lost) => expected += lost,
            Chunk::Begins(_) | Chunk::Current(_) => {}
        }
    }
    wait(child).await;
}

#[actix::test]
async fn a_follower_that_does_not_read_holds_nobody_up_and_every_line_is_accounted_for() {
    let bench = Bench::new();
    let directory = bench.attach("web.1").await;
    let mut asleep = bench.read(following(Stream::Stdout)).await;
    wait(shell(&directory, "echo first")).await;
    assert_eq!(lines(&mut asleep, 1).await[0].text, b"first");
    wait(shell(&directory, "seq 1 500000")).await;
    bench.detach(&directory).await;
    let (mut got, mut lost) = (0, 0);
    while got + lost < 500_000 {
        match next(&mut asleep).await.expect("the log ended") {
            Chunk::Lines(lines) => got += lines.len() as u64,
            Chunk::Lost(count) => lost += count,
            Chunk::Begins(_) | Chunk::Current(_) => {}
        }
    }
    assert_eq!(got + lost, 500_000);
}

#[actix::test]
async fn a_follower_that_was_too_slow_ends_with_the_newest_line_once_the_burst_is_over() {
    let bench = Bench::new();
    let directory = bench.attach("web.1").await;
    let mut asleep = bench.read(following(Stream::Stdout)).await;
    wait(shell(&directory, "echo 0")).await;
    assert_eq!(texts(&lines(&mut asleep, 1).await), ["0"]);
    wait(shell(&directory, "seq 1 500000; echo over")).await;
    bench.detach(&directory).await;
    let (mut expected, mut gaps) = (1, 0);
    while expected <= 500_001 {
        match next(&mut asleep).await.expect("the log ended") {
            Chunk::Lines(lines) => {
                for line in lines.iter() {
                    assert_eq!(line.id, expected + 1, "each gap is told where it is");
                    expected += 1;
                    if expected > 500_001 {
                        assert_eq!(line.text, b"over");
                    }
                }
            }
            Chunk::Lost(count) => {
                expected += count;
                gaps += 1;
                assert!(expected <= 500_001, "the newest line is left out");
            }
            Chunk::Begins(_) | Chunk::Current(_) => {}
        }
    }
    assert!(gaps <= 1, "{gaps}");
}

#[actix::test]
async fn readers_are_limited_and_gone_ones_make_room() {
    let bench = Bench::new();
    let mut open = Vec::new();
    for _ in 0..MOST_READERS {
        open.push(bench.read(following(Stream::Stdout)).await);
    }
    let refused = bench.log.send(Read(all(Stream::Stdout))).await.unwrap();
    assert!(matches!(refused, Err(LogError::TooManyReaders(_))));
    // A drain is none of them.
    let of_server = Query {
        is_of_server: true,
        ..following(Stream::Stdout)
    };
    assert!(bench.log.send(Read(of_server)).await.unwrap().is_ok());
    drop(open);
    let deadline = std::time::Instant::now() + DEADLINE;
    while bench
        .log
        .send(Read(all(Stream::Stdout)))
        .await
        .unwrap()
        .is_err()
    {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}
