//! Whether somebody still reads what this program prints. Over ssh without a terminal Ctrl-C ends ssh alone: what it ran
//! there gets no signal, and its output leads nowhere any more.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Resolves when nobody reads from the other end of `output`; never where it is a file.
pub(super) async fn gone(output: OwnedFd) {
    // epoll(7) takes no file.
    let Ok(output) = watch(output) else {
        return std::future::pending().await;
    };
    while let Ok(mut guard) = output.writable().await {
        if guard.ready().is_write_closed() {
            return;
        }
        guard.clear_ready();
    }
}

#[expect(
    deprecated,
    reason = "tokio deprecates every safe constructor because some type's as_raw_fd() may change under it; \
              an OwnedFd's does not, and this crate forbids the unsafe one"
)]
fn watch(output: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(output, Interest::WRITABLE)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[actix_web::test]
    async fn the_end_of_who_reads_is_noticed_whatever_is_between() {
        // sshd(8) has a pair of sockets there, a shell a pipe.
        let (reader, output) = UnixStream::pair().unwrap();
        let mut left = Box::pin(gone(output.into()));
        assert!((&mut left).now_or_never().is_none());
        drop(reader);
        tokio::time::timeout(PATIENCE, left).await.unwrap();

        let (reader, output) = std::io::pipe().unwrap();
        let mut left = Box::pin(gone(output.into()));
        assert!((&mut left).now_or_never().is_none());
        drop(reader);
        tokio::time::timeout(PATIENCE, left).await.unwrap();
    }

    #[actix_web::test]
    async fn a_file_is_there_for_good() {
        let file = tempfile::tempfile().unwrap();
        assert!(gone(file.into()).now_or_never().is_none());
    }
}
