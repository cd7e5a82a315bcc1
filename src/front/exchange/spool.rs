//! [`Spool`]: bytes that one side gives faster than the other takes them, the first in memory, the rest in a file.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::task::JoinHandle;

use super::spool_file;
use super::spool_space::SpoolSpace;

/// The reason where a message breaks off because its file cannot be read.
pub const LOST: &str = "what was kept of it on disk cannot be read";

/// Bytes of a piece in memory.
const PIECE: usize = 64 * 1024;

/// Bytes of one write to the file and of one read. The file is a ring of such blocks, so that none crosses its end.
pub(super) const BLOCK: usize = 128 * 1024;

/// Blocks that are kept for reuse: one to fill, one to read to.
const SPARE: usize = 2;

/// Bytes of one spool in memory before it uses a file. With a block that is written, one that fills, one that is read
/// and the buffers of the exchange, less than 1 MiB is in memory. The kernel's buffers come on top.
const MEMORY: usize = 256 * 1024;

/// The same, once the worker's spools have much in memory.
const SCARCE: usize = 64 * 1024;

/// Bytes in the order in which they came. The oldest are in `pieces`, then come those of the file, then `back`.
#[derive(Debug)]
pub struct Spool {
    room: Rc<SpoolSpace>,
    /// The bytes that may be in memory while there is no file.
    memory: usize,
    pieces: VecDeque<Vec<u8>>,
    /// The bytes of the first piece that were used.
    at: usize,
    /// The bytes of the pieces that were not used.
    held: usize,
    back: Vec<u8>,
    /// Memory of blocks for reuse. To allocate it for each block would fragment the heap.
    spare: Vec<Vec<u8>>,
    file: Option<Arc<File>>,
    /// All bytes ever written to the file, and read from it. The file is a ring.
    written: u64,
    read: u64,
    work: Option<JoinHandle<Done>>,
    /// The bytes that are being written.
    writing: usize,
    /// A write failed, and the file is written no more.
    failed: bool,
    /// The bytes that the worker's space counts for this spool.
    counted: usize,
}

/// The result of work on the file.
#[derive(Debug)]
enum Done {
    Written(Vec<u8>, io::Result<Arc<File>>),
    Read(io::Result<Vec<u8>>),
}

impl Spool {
    #[must_use]
    pub fn new(room: Rc<SpoolSpace>) -> Self {
        let memory = if room.is_scarce() { SCARCE } else { MEMORY };
        let mut spool = Self::on_disk(room);
        spool.memory = memory;
        spool
    }

    /// Makes one that keeps next to nothing in memory.
    #[must_use]
    pub fn on_disk(room: Rc<SpoolSpace>) -> Self {
        Self {
            room,
            memory: 0,
            pieces: VecDeque::new(),
            at: 0,
            held: 0,
            back: Vec::new(),
            spare: Vec::new(),
            file: None,
            written: 0,
            read: 0,
            work: None,
            writing: 0,
            failed: false,
            counted: 0,
        }
    }

    /// Whether everything was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held == 0 && !self.is_past_memory()
    }

    /// Returns the bytes that were not used.
    #[must_use]
    pub fn len(&self) -> u64 {
        (self.held + self.writing + self.back.len()) as u64 + (self.written - self.read)
    }

    fn is_past_memory(&self) -> bool {
        self.written > self.read || self.writing > 0 || !self.back.is_empty()
    }

    /// Whether it takes nothing more before something is used, however long one waits.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.space() == 0 && self.work.is_none() && !self.may_write()
    }

    fn may_write(&self) -> bool {
        !self.failed && self.written - self.read + BLOCK as u64 <= self.room.most()
    }

    fn space(&self) -> usize {
        if !self.is_past_memory() && self.held < self.memory {
            return self.memory - self.held;
        }
        let may_fill = self.work.is_some() || self.may_write();
        if may_fill {
            BLOCK.saturating_sub(self.back.len())
        } else {
            0
        }
    }

    /// Takes as much of `bytes` as there is room for, and returns how much that is.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let bytes = &bytes[..bytes.len().min(self.space())];
        if self.is_past_memory() || self.held >= self.memory {
            if self.back.capacity() == 0 {
                self.back = self.block();
            }
            self.back.extend_from_slice(bytes);
        } else {
            self.append_in_memory(bytes);
        }
        self.count();
        bytes.len()
    }

    fn append_in_memory(&mut self, mut bytes: &[u8]) {
        self.held += bytes.len();
        while !bytes.is_empty() {
            let room = self
                .pieces
                .back()
                .map_or(0, |last| last.capacity() - last.len());
            if room == 0 {
                self.pieces.push_back(Vec::with_capacity(PIECE));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(last) = self.pieces.back_mut() {
                last.extend_from_slice(now);
            }
            bytes = later;
        }
    }

    /// Returns the next bytes, as far as they are in memory.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| &piece[self.at..])
    }

    /// Drops the first `count` of [`Self::bytes`].
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.bytes().len());
        (self.at, self.held) = (self.at + count, self.held - count);
        if self.bytes().is_empty() {
            self.at = 0;
            let used = self.pieces.pop_front();
            self.keep(used.unwrap_or_default());
        }
        self.count();
    }

    /// Returns empty memory for a block.
    fn block(&mut self) -> Vec<u8> {
        let kept = self.spare.pop();
        kept.unwrap_or_else(|| Vec::with_capacity(BLOCK))
    }

    /// Keeps memory for the next block.
    fn keep(&mut self, mut used: Vec<u8>) {
        if used.capacity() >= BLOCK && self.spare.len() < SPARE {
            used.clear();
            self.spare.push(used);
        }
    }

    /// Takes the next bytes out, as far as they are in memory.
    pub fn take_piece(&mut self) -> Option<Vec<u8>> {
        let mut piece = self.pieces.pop_front()?;
        piece.drain(..std::mem::take(&mut self.at));
        self.held -= piece.len();
        self.count();
        Some(piece)
    }

    fn count(&mut self) {
        let counted = self.held + self.writing + self.back.len();
        self.room
            .recount(std::mem::replace(&mut self.counted, counted), counted);
    }

    /// Works on the file. Ready once something moved.
    ///
    /// # Errors
    /// The file cannot be read. Its bytes are lost, and those behind them are of no use.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut moved = Poll::Pending;
        if let Some(work) = &mut self.work {
            let done = ready!(Pin::new(work).poll(cx));
            self.work = None;
            self.finish(done.map_err(io::Error::other)?)?;
            moved = Poll::Ready(Ok(()));
        }
        if self.begin() {
            moved = Poll::Ready(Ok(()));
        }
        match (&mut self.work, moved.is_pending()) {
            // Work that has begun wakes nobody before it is polled.
            (Some(_), true) => self.poll_begun(cx),
            _ => moved,
        }
    }

    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(work) = &mut self.work else {
            return Poll::Pending;
        };
        let done = ready!(Pin::new(work).poll(cx));
        self.work = None;
        Poll::Ready(
            done.map_err(io::Error::other)
                .and_then(|done| self.finish(done)),
        )
    }

    fn finish(&mut self, done: Done) -> io::Result<()> {
        self.writing = 0;
        match done {
            Done::Written(block, Ok(file)) => {
                self.file = Some(file);
                self.written += BLOCK as u64;
                self.keep(block);
            }
            Done::Written(mut block, Err(error)) => {
                self.failed = true;
                self.room.tell(&error);
                block.append(&mut self.back);
                self.back = block;
            }
            Done::Read(piece) => {
                let piece = piece?;
                self.read += piece.len() as u64;
                self.held += piece.len();
                self.pieces.push_back(piece);
            }
        }
        self.count();
        Ok(())
    }

    /// Begins the next work. Returns true if that is done at once.
    fn begin(&mut self) -> bool {
        if self.work.is_some() || !self.is_past_memory() {
            return false;
        }
        let at = |position: u64| position % (self.room.most() / BLOCK as u64 * BLOCK as u64).max(1);
        if self.written > self.read {
            if self.held < PIECE
                && let Some(file) = &self.file
            {
                let (file, at) = (Arc::clone(file), at(self.read));
                // This thread allocates: memory that one of the many blocking threads allocates would stay with it.
                let mut memory = self.block();
                memory.resize(BLOCK, 0);
                self.work = Some(tokio::task::spawn_blocking(move || {
                    Done::Read(spool_file::read(&file, at, memory))
                }));
                return false;
            }
        } else if self.held == 0 && !self.back.is_empty() {
            // Everything was used before the file was needed.
            let back = std::mem::take(&mut self.back);
            self.held = back.len();
            self.pieces.push_back(back);
            return true;
        }
        if self.back.len() >= BLOCK && self.may_write() {
            let block = std::mem::take(&mut self.back);
            let (file, at) = (self.file.clone(), at(self.written));
            let directory = self.room.directory();
            self.writing = block.len();
            self.work = Some(tokio::task::spawn_blocking(move || {
                let written = spool_file::write(file, &directory, at, &block);
                Done::Written(block, written)
            }));
        }
        false
    }

    /// Writes the next bytes to `sink`. Ready once something moved.
    ///
    /// # Errors
    /// What the sink's write returns.
    pub fn poll_send<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut S,
    ) -> Poll<io::Result<()>> {
        if self.bytes().is_empty() {
            return Poll::Pending;
        }
        let written = ready!(Pin::new(sink).poll_write(cx, self.bytes()))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.consume(written);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.room.recount(self.counted, 0);
    }
}

/// A write appends. It is pending while there is no room, so its caller polls the spool as well.
impl AsyncWrite for Spool {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut().append(bytes) {
            0 => Poll::Pending,
            taken => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
