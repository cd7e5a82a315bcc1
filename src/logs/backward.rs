//! [`Backward`]: the lines of a file from its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes read at once.
const BLOCK: usize = 64 * 1024;

/// The lines of a file from its end.
#[derive(Debug)]
pub(super) struct Backward {
    file: File,
    /// Where `held` begins in the file.
    start: u64,
    held: Vec<u8>,
    /// How much of `held` has not been given; zero or just after a newline.
    left: usize,
}

impl Backward {
    /// Begins after the last newline: what follows it is no whole line.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let start = file.metadata()?.len();
        let mut backward = Self {
            file,
            start,
            held: Vec::new(),
            left: 0,
        };
        while backward.read_block()? {
            let newline = backward.held.iter().rposition(|byte| *byte == b'\n');
            if let Some(newline) = newline {
                backward.left = newline + 1;
                break;
            }
            backward.left = 0;
        }
        Ok(backward)
    }

    /// The offset after the last line that has not been given; before the first call the end of the last whole line.
    pub(super) fn offset(&self) -> u64 {
        self.start + self.left as u64
    }

    /// The line before, without its newline, and its offset.
    pub(super) fn previous(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let begin = loop {
            let body = &self.held[..self.left.saturating_sub(1)];
            if let Some(newline) = body.iter().rposition(|byte| *byte == b'\n') {
                break newline + 1;
            }
            if !self.read_block()? {
                break 0;
            }
        };
        if self.left == 0 {
            return Ok(None);
        }
        let end = std::mem::replace(&mut self.left, begin) - 1;
        Ok(Some((self.offset(), &self.held[begin..end])))
    }

    /// Puts the block before `start` in front of what is left; false at the start of the file.
    fn read_block(&mut self) -> io::Result<bool> {
        let length = self.start.min(BLOCK as u64);
        if length == 0 {
            return Ok(false);
        }
        let mut block = vec![0; BLOCK.min(length as usize)];
        self.file.read_exact_at(&mut block, self.start - length)?;
        self.start -= length;
        block.extend_from_slice(&self.held[..self.left]);
        self.left += length as usize;
        self.held = block;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backward_gives_what_forward_gives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for text in ["", "\n", "a", "a\n", "a\n\nb\n", "a\nb", "\n\n"] {
            std::fs::write(&path, text).unwrap();
            let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
            let mut backward = Backward::new(File::open(&path).unwrap()).unwrap();
            assert_eq!(backward.offset(), whole.len() as u64, "{text:?}");
            let mut lines = Vec::new();
            while let Some((offset, line)) = backward.previous().unwrap() {
                let line = String::from_utf8(line.to_vec()).unwrap();
                assert!(text[offset as usize..].starts_with(&line), "{text:?}");
                lines.insert(0, line);
            }
            assert_eq!(lines, Vec::from_iter(whole.lines()), "{text:?}");
        }
    }
}
