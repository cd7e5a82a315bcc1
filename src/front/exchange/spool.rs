//! [`Spool`]: bytes that one side gave faster than the other takes them: some in memory, what is more in a file.

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

/// Why a message breaks off when what is in the file cannot be read.
pub const LOST: &str = "what was kept of it on disk cannot be read";

/// Bytes of a piece in memory.
const PIECE: usize = 64 * 1024;

/// Bytes that are written to the file and read from it at once. All of it is used in such blocks, so that none goes
/// over the end of the ring that the file is.
pub(super) const BLOCK: usize = 128 * 1024;

/// Blocks that are kept to be used again: one to fill, one to read to.
const SPARE: usize = 2;

/// Bytes of one spool in memory before a file is used. With a block that is being written, one that fills, one that is
/// read and what an exchange has of its own, less than 1 MiB is in memory; the kernel has its own buffers besides.
const MEMORY: usize = 256 * 1024;

/// The same once the worker's spools have much in memory.
const SCARCE: usize = 64 * 1024;

/// Bytes in the order in which they came. The oldest are in `pieces`, then come those of the file, then `back`.
#[derive(Debug)]
pub struct Spool {
    room: Rc<SpoolSpace>,
    /// So much may be in memory while there is no file.
    memory: usize,
    pieces: VecDeque<Vec<u8>>,
    /// So much of the first piece is used.
    at: usize,
    /// Bytes of the pieces that are not used.
    held: usize,
    back: Vec<u8>,
    /// Memory of blocks that is used again: to allocate it for each leaves pieces of it everywhere.
    spare: Vec<Vec<u8>>,
    file: Option<Arc<File>>,
    /// Bytes that were ever written to the file, and read from it: it is a ring.
    written: u64,
    read: u64,
    work: Option<JoinHandle<Done>>,
    /// Bytes that are being written.
    writing: usize,
    /// The file cannot be written any more.
    failed: bool,
    /// What is counted in the room.
    counted: usize,
}

/// What came of work on the file.
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

    /// The same, with next to nothing in memory.
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

    /// Whether all that came was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held == 0 && !self.is_past_memory()
    }

    /// Bytes that were not used.
    #[must_use]
    pub fn len(&self) -> u64 {
        (self.held + self.writing + self.back.len()) as u64 + (self.written - self.read)
    }

    fn is_past_memory(&self) -> bool {
        self.written > self.read || self.writing > 0 || !self.back.is_empty()
    }

    /// Whether nothing more is taken, however long one waits, before something is used.
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

    /// Takes what there is room for of `bytes`; the answer is how much that is.
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

    /// The next bytes, as far as they are in memory.
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

    /// Empty memory for a block.
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

    /// Works on the file; ready once something moved.
    ///
    /// # Errors
    /// What is in the file cannot be read: those bytes are lost, and what comes after them is of no use.
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
            // Work that is begun wakes nobody before it was asked for.
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

    /// Begins what is to be done next; true if that is done at once.
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
                // From here: memory that another thread allocates stays that thread's, and there are many of them.
                let mut memory = self.block();
                memory.resize(BLOCK, 0);
                self.work = Some(tokio::task::spawn_blocking(move || {
                    Done::Read(spool_file::read(&file, at, memory))
                }));
                return false;
            }
        } else if self.held == 0 && !self.back.is_empty() {
            // It was used up before there was need for the file.
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

    /// Writes the next bytes to `sink`; ready once something moved.
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

/// What is written is appended. While there is no room it is pending: whoever writes polls the spool as well.
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
