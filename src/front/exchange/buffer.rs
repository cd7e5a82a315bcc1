//! [`Buffer`]: bytes that were read and not used yet, bounded.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that were read and not used yet. A buffer has memory only while something is in it: the memory comes from a
/// [`Spare`] for a read and goes back when nothing came.
#[derive(Debug, Default)]
pub struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read filled its memory, so the next one gets more.
    much: bool,
}

impl Buffer {
    #[must_use]
    pub fn of(data: Vec<u8>) -> Self {
        Self {
            end: data.len(),
            data,
            start: 0,
            much: false,
        }
    }

    /// Puts bytes into one that is empty.
    pub fn fill(&mut self, bytes: &[u8], spare: &Spare) {
        self.data = spare.take(bytes.len());
        self.data[..bytes.len()].copy_from_slice(bytes);
        (self.start, self.end) = (0, bytes.len());
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// Drops the first `count` bytes.
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Puts bytes in front of what is in it.
    pub fn put_back(&mut self, bytes: &[u8]) {
        let data = [bytes, self.bytes()].concat();
        (self.start, self.end) = (0, data.len());
        self.data = data;
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether it holds `size` bytes or more.
    #[must_use]
    pub fn holds(&self, size: usize) -> bool {
        self.end - self.start >= size
    }

    /// Takes `count` bytes out, from `at` on.
    pub fn cut(&mut self, at: usize, count: usize) {
        let from = self.start + at;
        self.data.copy_within(from + count..self.end, from);
        self.end -= count;
    }

    /// Gives its memory back if nothing is in it.
    pub fn give_back(&mut self, spare: &Spare) {
        if self.is_empty() && !self.data.is_empty() {
            spare.put(std::mem::take(&mut self.data));
            (self.start, self.end) = (0, 0);
        }
    }

    /// Moves its bytes to memory of `size` bytes.
    fn grow(&mut self, size: usize, spare: &Spare) {
        let mut memory = spare.take(size);
        let held = self.end - self.start;
        memory[..held].copy_from_slice(self.bytes());
        spare.put(std::mem::replace(&mut self.data, memory));
        (self.start, self.end) = (0, held);
    }

    /// Reads once, so that it holds at most `size` bytes. It must hold fewer before. Returns 0 at the end of the
    /// stream.
    ///
    /// # Errors
    /// What the stream's read returns.
    pub fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        size: usize,
        spare: &Spare,
    ) -> Poll<std::io::Result<usize>> {
        if self.data.is_empty() {
            self.data = spare.take(if self.much { size } else { size.min(SMALL) });
        } else if self.end == self.data.len() {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let is_short = self.much || self.end == self.data.len();
        if is_short && self.data.len() < size {
            self.grow(size, spare);
        }
        let limit = self.data.len().min(self.start + size);
        let mut space = ReadBuf::new(&mut self.data[self.end..limit]);
        let polled = Pin::new(stream).poll_read(cx, &mut space);
        let read = space.filled().len();
        self.end += read;
        if read > 0 {
            self.much = read >= SMALL;
        }
        // With thousands of connections that wait this is most of their memory.
        self.give_back(spare);
        ready!(polled)?;
        Poll::Ready(Ok(read))
    }
}

/// Memory for heads and small bodies. Much is kept, because thousands of requests may wait for their answers at once.
const SMALL: usize = 8 * 1024;
const SMALL_KEPT: usize = 1024;

/// Memory for those whose peer sends more than that at once.
const LARGE_KEPT: usize = 64;

/// Larger memory is for whole bodies, of which a worker has few at a time.
const LARGE: usize = 128 * 1024;
const HUGE_KEPT: usize = 4;
const HUGEST: usize = 2 * 1024 * 1024;

/// Memory to write heads to. Most heads fit, with a little of the body.
const HEAD: usize = 1024;
const LARGEST_HEAD: usize = 4096;
const HEADS_KEPT: usize = 1024;

/// Memory of buffers, shared by the connections of a worker. To clear 64 KiB anew would cost more than all else in a
/// large response, and memory that was used just now is in the processor's cache.
#[derive(Debug, Default)]
pub struct Spare {
    small: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
    huge: RefCell<Vec<Vec<u8>>>,
    heads: RefCell<Vec<Vec<u8>>>,
}

impl Spare {
    /// Returns memory of `size` bytes or more.
    fn take(&self, size: usize) -> Vec<u8> {
        let kept = if size <= SMALL {
            &self.small
        } else if size <= LARGE {
            &self.large
        } else {
            &self.huge
        };
        let memory = kept.borrow_mut().pop();
        // Memory that is new costs nothing before it is used.
        let fits = memory.filter(|memory| memory.len() >= size);
        fits.unwrap_or_else(|| vec![0; size.max(SMALL)])
    }

    /// Returns empty memory with room for most heads.
    #[must_use]
    pub fn take_head(&self) -> Vec<u8> {
        let kept = self.heads.borrow_mut().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(HEAD))
    }

    /// Keeps the memory of a head, if there is room.
    pub fn put_head(&self, mut memory: Vec<u8>) {
        let mut kept = self.heads.borrow_mut();
        if (HEAD..=LARGEST_HEAD).contains(&memory.capacity()) && kept.len() < HEADS_KEPT {
            memory.clear();
            kept.push(memory);
        }
    }

    /// Keeps memory, if there is room.
    fn put(&self, memory: Vec<u8>) {
        let (kept, most) = if memory.len() <= SMALL {
            (&self.small, SMALL_KEPT)
        } else if memory.len() <= LARGE {
            (&self.large, LARGE_KEPT)
        } else {
            (&self.huge, HUGE_KEPT)
        };
        let mut kept = kept.borrow_mut();
        if kept.len() < most && !memory.is_empty() && memory.len() <= HUGEST {
            kept.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWrite as _;

    use super::*;

    #[tokio::test]
    async fn what_is_read_is_used_in_order_and_bounded() {
        let mut source: &[u8] = b"abcdefgh";
        let spare = Spare::default();
        let mut buffer = Buffer::default();
        let mut seen = Vec::new();
        loop {
            let read =
                std::future::poll_fn(|cx| buffer.poll_fill(cx, &mut source, 4, &spare)).await;
            if read.unwrap() == 0 {
                break;
            }
            assert!(buffer.bytes().len() <= 4);
            seen.push(buffer.bytes()[0]);
            buffer.consume(1);
        }
        assert_eq!(seen, b"abcde");
        assert_eq!(buffer.bytes(), b"fgh");
    }

    #[test]
    fn what_is_put_back_comes_first() {
        let mut buffer = Buffer::default();
        buffer.put_back(b"cd");
        buffer.put_back(b"ab");
        assert_eq!(buffer.bytes(), b"abcd");
        buffer.consume(3);
        buffer.put_back(b"x");
        assert_eq!(buffer.bytes(), b"xd");
    }

    #[test]
    fn a_buffer_that_waits_has_no_memory() {
        let spare = Spare::default();
        let (mut near, mut far) = tokio::io::duplex(8);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut buffer = Buffer::default();
        assert!(buffer.poll_fill(&mut cx, &mut near, 4, &spare).is_pending());
        assert_eq!((buffer.data.len(), spare.small.borrow().len()), (0, 1));
        assert!(
            Pin::new(&mut far)
                .poll_write(&mut cx, b"abcdefgh")
                .is_ready()
        );
        assert!(buffer.poll_fill(&mut cx, &mut near, 2, &spare).is_ready());
        assert_eq!(
            buffer.bytes(),
            b"ab",
            "no more than asked, whatever memory it was given"
        );
        assert_eq!((buffer.data.len(), spare.small.borrow().len()), (SMALL, 0));
    }

    #[tokio::test]
    async fn who_sends_much_is_read_in_large_pieces() {
        let body: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let mut source: &[u8] = &body;
        let spare = Spare::default();
        let mut buffer = Buffer::default();
        let (mut seen, mut pieces) = (Vec::new(), Vec::new());
        loop {
            let size = 64 * 1024;
            let read =
                std::future::poll_fn(|cx| buffer.poll_fill(cx, &mut source, size, &spare)).await;
            if read.unwrap() == 0 {
                break;
            }
            pieces.push(buffer.bytes().len());
            seen.extend_from_slice(&buffer.bytes()[..buffer.bytes().len() - 1]);
            buffer.consume(buffer.bytes().len() - 1);
        }
        seen.extend_from_slice(buffer.bytes());
        assert_eq!(seen, body);
        assert_eq!(pieces[..2], [SMALL, 64 * 1024]);
        buffer.consume(usize::MAX);
        buffer.give_back(&spare);
        let kept = (spare.small.borrow().len(), spare.large.borrow().len());
        assert_eq!(kept, (1, 1));
    }
}
