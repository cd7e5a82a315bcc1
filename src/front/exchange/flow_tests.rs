use proptest::prelude::*;

use super::*;
use crate::front::exchange::buffer::Spare;

/// Takes so many bytes of each write, and of several slices only the first unless it is `vectored`.
struct Sink {
    taken: Vec<u8>,
    sizes: Vec<usize>,
    vectored: bool,
    writes: usize,
}

impl Sink {
    fn take(&mut self, bytes: &[u8]) -> usize {
        let most = self.sizes[self.writes % self.sizes.len()];
        self.writes += 1;
        let bytes = &bytes[..bytes.len().min(most)];
        self.taken.extend_from_slice(bytes);
        bytes.len()
    }
}

impl AsyncWrite for Sink {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.get_mut().take(bytes)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        let bytes = match self.vectored {
            true => slices.iter().flat_map(|slice| slice.to_vec()).collect(),
            false => first.map_or(Vec::new(), |slice| slice.to_vec()),
        };
        Poll::Ready(Ok(self.get_mut().take(&bytes)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a chunked body of chunks of these sizes is, and its payload.
fn chunked(sizes: &[usize]) -> (Vec<u8>, Vec<u8>) {
    let (mut body, mut payload) = (Vec::new(), Vec::new());
    for (number, size) in sizes.iter().enumerate() {
        let from = payload.len();
        payload.extend((0..*size).map(|at| ((at + number) % 251) as u8));
        chunk_head(&mut body, *size);
        body.extend_from_slice(&payload[from..]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    (body, payload)
}

/// The payload of a whole chunked body.
fn decoded(mut body: &[u8]) -> Result<Vec<u8>, BadBody> {
    let mut decoder = Decoder::new(Framing::Chunked);
    let mut payload = Vec::new();
    loop {
        let used = match decoder.next(body)? {
            Piece::Framing(count) => count,
            Piece::Data(count) => {
                payload.extend_from_slice(&body[..count]);
                count
            }
            Piece::More => return Err(BadBody("it ends too early")),
            Piece::End => return Ok(payload),
        };
        body = &body[used..];
    }
}

proptest! {
    #[test]
    fn however_it_comes_and_is_taken_a_chunked_body_stays_whole(
        chunks in proptest::collection::vec(1usize..20_000, 1..6),
        sizes in proptest::collection::vec(1usize..30_000, 1..4),
        space in 100usize..70_000,
        vectored in any::<bool>(),
    ) {
        let (body, payload) = chunked(&chunks);
        let (spare, mut source) = (Spare::default(), &body[..]);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut input = Buffer::default();
        let mut flow = Flow::new(b"head", Framing::Chunked, Framing::Chunked);
        let mut sink = Sink { taken: Vec::new(), sizes, vectored, writes: 0 };
        while !flow.is_done() {
            if !input.holds(space) {
                let filled = input.poll_fill(&mut cx, &mut source, space, &spare);
                assert!(filled.is_ready());
            }
            flow.take(&mut input).expect("it is well-formed");
            if !flow.is_clear() {
                assert!(flow.poll_write(&mut cx, &mut sink, &mut input).is_ready());
            }
        }
        let sent = sink.taken.strip_prefix(b"head").expect("the head is first");
        assert_eq!(decoded(sent).expect("it is well-formed"), payload);
    }
}
