//! A body: taken apart in whatever pieces it comes, put together as it is sent on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use procserver::front::exchange::buffer::{Buffer, Spare};
use procserver::front::exchange::flow::Flow;
use procserver::front::http::framing::{BadBody, Decoder, Framing, Piece};
use procserver::front::http::parse;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read at most before they must be passed on.
const SPACE: usize = 64 * 1024;

/// Byte 0: how the body comes and leaves. Bytes 1 to 4: sizes of the pieces that are read and written, in turn. Then
/// the body, with the next message behind it.
pub fn body(data: &[u8]) {
    let Some(([mode, sizes @ ..], sent)) = data.split_first_chunk::<5>() else {
        return;
    };
    let from = match mode & 7 {
        0 => Framing::Empty,
        1 => Framing::length(u64::from(sizes[3])),
        2 => Framing::Length(u64::MAX),
        3 => Framing::UntilClose,
        _ => Framing::Chunked,
    };
    let whole = decode(from, sent, &[0xff; 4]);
    assert_eq!(decode(from, sent, sizes), whole, "split");
    check_against_model(from, sent, &whole);
    // A client with HTTP/1.0 gets chunks as they are, until the connection closes.
    let to = match (from, mode & 8) {
        (Framing::Chunked | Framing::UntilClose, 0) => Framing::Chunked,
        (Framing::Chunked | Framing::UntilClose, _) => Framing::UntilClose,
        (other, _) => other,
    };
    check_flow(from, to, sent, sizes, &whole);
}

/// What became of a body.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    payload: Vec<u8>,
    trailers: Vec<u8>,
    /// Bytes of the input that are its own.
    used: usize,
    /// It is complete (if the sender closes now), or is not, or is malformed.
    verdict: Result<bool, BadBody>,
}

/// The size of the next piece.
fn next_size(sizes: &mut impl Iterator<Item = u8>) -> usize {
    let size = sizes.next().unwrap_or(1);
    // The large ones are larger than what is copied into one write.
    if size < 0xf0 {
        usize::from(size).max(1)
    } else {
        usize::from(size) * 64
    }
}

fn decode(framing: Framing, input: &[u8], sizes: &[u8; 4]) -> Decoded {
    let mut decoder = Decoder::new(framing);
    let mut sizes = sizes.iter().copied().cycle();
    let (mut payload, mut used, mut end) = (Vec::new(), 0, 0);
    let verdict = loop {
        let announced = decoder.announced();
        match decoder.next(&input[used..end]) {
            Err(bad) => break Err(bad),
            Ok(Piece::Framing(count)) => {
                assert!(count > 0);
                used += count;
            }
            Ok(Piece::Data(count)) => {
                assert!(count > 0 && (framing == Framing::UntilClose || count as u64 <= announced));
                payload.extend_from_slice(&input[used..used + count]);
                used += count;
            }
            Ok(Piece::End) => {
                assert!(decoder.is_done() && decoder.may_end());
                break Ok(true);
            }
            Ok(Piece::More) if end == input.len() => break Ok(decoder.may_end()),
            Ok(Piece::More) => end = (end + next_size(&mut sizes)).min(input.len()),
        }
    };
    let trailers = if decoder.is_done() {
        decoder.trailers()
    } else {
        &[]
    };
    let trailers = trailers.to_vec();
    // How much of the framing was looked at before it was refused depends on the pieces.
    let used = if verdict.is_ok() { used } else { 0 };
    Decoded {
        payload,
        trailers,
        used,
        verdict,
    }
}

/// A decoder that has all of the input must agree.
fn check_against_model(framing: Framing, input: &[u8], decoded: &Decoded) {
    let took = |count: usize, complete| {
        assert_eq!(decoded.payload, &input[..count]);
        assert_eq!((decoded.used, decoded.verdict), (count, Ok(complete)));
    };
    match framing {
        Framing::Empty => took(0, true),
        Framing::UntilClose => took(input.len(), true),
        Framing::Length(bytes) => {
            let count = usize::try_from(bytes).map_or(input.len(), |b| b.min(input.len()));
            took(count, count as u64 == bytes);
        }
        Framing::Chunked => {
            let model = model(input);
            let complete = decoded.verdict == Ok(true);
            let came = (decoded.payload.clone(), decoded.used);
            assert_eq!(complete.then_some(came), model);
        }
    }
}

/// RFC 9112 §7.1, read from the whole: payload and length of a chunked body, if it is complete and valid.
fn model(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    const OVERHEAD: usize = 16 * 1024;
    let (mut payload, mut at, mut overhead) = (Vec::new(), 0, 0);
    let line = |at: usize| {
        let end = input[at..].windows(2).position(|w| w == b"\r\n")?;
        let line = &input[at..at + end];
        let plain = !line.contains(&b'\r') && !line.contains(&b'\n');
        plain.then_some((line, at + end + 2))
    };
    loop {
        let (head, next) = line(at)?;
        let digits = head.iter().position(|b| *b == b';').unwrap_or(head.len());
        let extension = head.get(digits + 1..).unwrap_or_default();
        overhead += extension.len();
        let control = |b: &u8| (*b < b' ' && *b != b'\t') || *b == 0x7f;
        let hex = head[..digits].iter().all(u8::is_ascii_hexdigit);
        if extension.iter().any(control) || !hex || !(1..=16).contains(&digits) {
            return None;
        }
        let size = std::str::from_utf8(&head[..digits]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        at = next;
        if size == 0 {
            break;
        }
        payload.extend_from_slice(input.get(at..at.checked_add(size)?)?);
        at += size;
        input.get(at..at + 2).filter(|end| end == b"\r\n")?;
        at += 2;
    }
    loop {
        let (trailer, next) = line(at)?;
        overhead += next - at;
        at = next;
        if trailer.is_empty() {
            return (overhead <= OVERHEAD).then_some((payload, at));
        }
    }
}

/// Gives its bytes in pieces, then ends.
struct Source<'d, I>(&'d [u8], I);

impl<I: Iterator<Item = u8> + Unpin> AsyncRead for Source<'_, I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = next_size(&mut self.1)
            .min(self.0.len())
            .min(space.remaining());
        let (piece, rest) = self.0.split_at(size);
        space.put_slice(piece);
        self.0 = rest;
        Poll::Ready(Ok(()))
    }
}

/// Takes bytes in pieces.
struct Sink<I>(Vec<u8>, I);

impl<I: Iterator<Item = u8> + Unpin> AsyncWrite for Sink<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let size = next_size(&mut self.1).min(bytes.len());
        self.0.extend_from_slice(&bytes[..size]);
        Poll::Ready(Ok(size))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
        let size = next_size(&mut self.1);
        let before = self.0.len();
        self.0.extend(bytes.take(size));
        Poll::Ready(Ok(self.0.len() - before))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What is sent on is the same body, and complete exactly if the one that came is.
fn check_flow(from: Framing, to: Framing, sent: &[u8], sizes: &[u8; 4], whole: &Decoded) {
    let (flow, written, left, ended) = pass(from, to, sent, sizes);
    let trailers = parse::trailers(if whole.trailers.is_empty() {
        b"\r\n"
    } else {
        &whole.trailers
    });
    let valid = to != Framing::Chunked || trailers.is_ok();
    assert_eq!(ended, whole.verdict == Ok(true) && valid);
    assert_eq!(flow.is_done(), ended);
    assert_eq!(flow.payload(), whole.payload.len() as u64);
    assert!(flow.is_clear());
    if whole.verdict.is_ok() {
        assert_eq!(left, &sent[whole.used..], "of the next message");
    }
    if to != Framing::Chunked {
        assert_eq!(written, whole.payload);
        return;
    }
    let again = decode(to, &written, sizes);
    assert_eq!(again.payload, whole.payload);
    assert_eq!(again.verdict, Ok(ended), "it looks complete");
    assert_eq!(again.used, written.len());
    if ended && !again.trailers.is_empty() {
        let (kept, came) = (parse::trailers(&again.trailers), trailers.expect("checked"));
        let mut came = came.iter();
        for field in &kept.expect("trailers are valid") {
            assert!(came.any(|f| *f == *field), "{field:?} is not in its place");
            let name = super::heads::folded(field.name);
            let meant = [
                "content-length",
                "transfer-encoding",
                "host",
                "x-app",
                "trailer",
            ];
            assert!(!meant.contains(&&*name), "{field:?}");
        }
    }
}

/// Reads and writes as an exchange does: the flow, what it wrote, what is left, and whether the body ended well.
fn pass(
    from: Framing,
    to: Framing,
    sent: &[u8],
    sizes: &[u8; 4],
) -> (Flow<'static>, Vec<u8>, Vec<u8>, bool) {
    let mut cx = Context::from_waker(Waker::noop());
    let pieces = || sizes.iter().copied().cycle();
    let (spare, mut input) = (Spare::default(), Buffer::default());
    let (mut source, mut sink) = (Source(sent, pieces()), Sink(Vec::new(), pieces().skip(1)));
    let mut flow = Flow::new(b"", from, to);
    let (mut closed, mut broken) = (false, false);
    let ended = loop {
        broken |= !broken && flow.take(&mut input).is_err();
        if !flow.is_clear() {
            let written = flow.poll_write(&mut cx, &mut sink, &mut input);
            assert!(matches!(written, Poll::Ready(Ok(()))), "{written:?}");
        } else if broken || flow.has_ended() {
            break flow.has_ended();
        } else if closed {
            if !flow.close() {
                break false;
            }
        } else {
            let filled = input.poll_fill(&mut cx, &mut source, SPACE, &spare);
            closed = matches!(filled, Poll::Ready(Ok(0)));
        }
    };
    let mut left = input.bytes().to_vec();
    left.extend_from_slice(source.0);
    (flow, sink.0, left, ended)
}
