//! The load: connections that each ask, wait for the answer and ask again.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::rows::Row;
use crate::subject::Subject;
use crate::tls::Tls;

/// What was done since the start.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) requests: Cell<u64>,
    pub(crate) errors: Cell<u64>,
}

/// One run of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) time: Duration,
}

/// Runs `row` against `subject`: warms up, calls `begin`, and goes on for `round`.
pub(crate) fn run(
    subject: &Subject,
    row: &Row,
    (warm_up, round): (Duration, Duration),
    begin: impl FnOnce(),
) -> Done {
    let count = Rc::new(Count::default());
    let requests: Rc<Vec<Vec<u8>>> = Rc::new(row.requests());
    let tasks = LocalSet::new();
    let address = subject.address_of(row);
    for n in 0..row.connections {
        let (count, requests) = (Rc::clone(&count), Rc::clone(&requests));
        let (response, fresh) = (row.response, row.fresh);
        // Each has its own sessions, so that it always has one to resume.
        let tls = row.tls.then(|| Tls::of(row));
        tasks.spawn_local(async move {
            // Not all of them start with the same host.
            let mut next = n * 16;
            loop {
                let asked = async {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    let (next, size) = (&mut next, (response, fresh));
                    match &tls {
                        None => ask(stream, &requests, next, size, &count).await,
                        Some(tls) => {
                            let stream = tls.connect(stream, *next % requests.len()).await?;
                            ask(stream, &requests, next, size, &count).await
                        }
                    }
                };
                if asked.await.is_err() {
                    count.errors.set(count.errors.get() + 1);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
    }
    let run = async {
        tokio::time::sleep(warm_up).await;
        begin();
        let (before, start) = (count.requests.get(), Instant::now());
        tokio::time::sleep(round).await;
        (count.requests.get() - before, start.elapsed())
    };
    let (requests, time) = crate::cores::runtime().block_on(tasks.run_until(run));
    Done {
        requests,
        errors: count.errors.get(),
        time,
    }
}

/// Asks on one connection until it fails, or once if each request has its own.
async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    requests: &[Vec<u8>],
    next: &mut usize,
    (response, fresh): (usize, bool),
    count: &Count,
) -> io::Result<()> {
    let mut space = vec![0; 16 * 1024];
    loop {
        stream.write_all(&requests[*next % requests.len()]).await?;
        stream.flush().await?;
        *next += 1;
        answer(&mut stream, &mut space, response).await?;
        count.requests.set(count.requests.get() + 1);
        if fresh {
            return match stream.read(&mut space).await {
                Ok(0) => Ok(()),
                // Not all say by TLS that nothing follows.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                Ok(_) => Err(io::ErrorKind::InvalidData.into()),
                Err(error) => Err(error),
            };
        }
    }
}

/// Reads a response of 200 with a body of `size` bytes.
pub(crate) async fn answer(
    stream: &mut (impl AsyncRead + Unpin),
    space: &mut [u8],
    size: usize,
) -> io::Result<()> {
    let mut read = 0;
    let end = loop {
        match stream.read(&mut space[read..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => read += count,
        }
        if let Some(end) = head_end(&space[..read]) {
            break end;
        }
    };
    let head = &space[..end];
    if !head.starts_with(b"HTTP/1.1 200") || content_length(head) != Some(size) {
        let head = String::from_utf8_lossy(head).into_owned();
        return Err(io::Error::other(head));
    }
    let mut left = (end + size)
        .checked_sub(read)
        .ok_or(io::ErrorKind::InvalidData)?;
    while left > 0 {
        match stream.read(space).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => left = left.checked_sub(count).ok_or(io::ErrorKind::InvalidData)?,
        }
    }
    Ok(())
}

/// The length of the head that `bytes` begins with.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// What the Content-Length of a head says.
pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    let mut lines = head.split(|b| *b == b'\n');
    let value = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(15)?;
        name.eq_ignore_ascii_case(b"content-length:")
            .then_some(value)
    })?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}
