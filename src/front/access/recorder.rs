//! [`Recorder`]: gathers the access log's lines of one worker and hands them over by the batch ([`Sink`]). It never
//! waits: when the writer is too slow it drops and counts them.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::entry::{Clock, Notes};

/// Bytes of lines that make a batch, and its capacity, which has room for one more line.
const FULL: usize = 64 * 1024;
const SPACE: usize = FULL + 16 * 1024;

/// How long a line may wait for others.
const FLUSH: Duration = Duration::from_millis(100);

/// Batches of all workers that may wait to be written: 4 MiB at most.
const QUEUE: usize = 50;

/// Buffers kept for the next requests of a worker, of which thousands may wait at once, and the bytes that most take.
const SPARE: usize = 1024;
const ASKED: usize = 384;

/// Lines of the access log, in the order in which their requests ended on one worker.
#[derive(Debug, Default)]
pub struct Lines {
    /// Each line has its newline.
    pub text: Vec<u8>,
    pub count: u64,
    /// The lines of requests that were for an app.
    pub of_apps: Vec<AppLine>,
}

/// Where the line of a request for an app is.
#[derive(Clone, Debug)]
pub struct AppLine {
    pub app: Arc<str>,
    /// The process that was asked and its release. There is none when the front end answered itself.
    pub process: Option<(Arc<str>, u64)>,
    /// The bytes of the line in the text, with its newline.
    pub place: Range<usize>,
}

/// Where workers hand lines over. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sink {
    batches: mpsc::Sender<Lines>,
    dropped: Arc<AtomicU64>,
    lost: Lost,
}

/// Counts the lines that are in no file, since the server's start.
#[derive(Clone, Debug, Default)]
pub struct Lost(Arc<AtomicU64>);

impl Lost {
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, lines: u64) {
        self.0.fetch_add(lines, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub struct Source {
    batches: mpsc::Receiver<Lines>,
    dropped: Arc<AtomicU64>,
    lost: Lost,
    /// The number of lines that came out last, until they are written.
    in_hand: u64,
}

/// Makes a bounded channel for lines. Those that are lost are counted in `lost`, too.
#[must_use]
pub fn channel(lost: &Lost) -> (Sink, Source) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let sink = Sink {
        batches: sender,
        dropped: Arc::clone(&dropped),
        lost: lost.clone(),
    };
    let source = Source {
        batches: receiver,
        dropped,
        lost: lost.clone(),
        in_hand: 0,
    };
    (sink, source)
}

impl Sink {
    fn hand_over(&self, lines: Lines) {
        let count = lines.count;
        if self.batches.try_send(lines).is_err() {
            self.dropped.fetch_add(count, Ordering::Relaxed);
            self.lost.add(count);
        }
    }
}

impl Source {
    /// Resolves to the next lines, or to `None` when no worker is left.
    pub async fn next(&mut self) -> Option<Lines> {
        let lines = self.batches.recv().await;
        self.in_hand = lines.as_ref().map_or(0, |lines| lines.count);
        lines
    }

    /// Settles the lines that came out last: they are written, or counted by who could not.
    pub fn settled(&mut self) {
        self.in_hand = 0;
    }

    /// Settles them where they could not be written.
    pub fn settled_as_lost(&mut self) {
        self.lost.add(std::mem::take(&mut self.in_hand));
    }

    /// Counts the lines that came out last as dropped, unless they are settled: their writer failed.
    pub fn fail(&mut self) {
        let lines = std::mem::take(&mut self.in_hand);
        self.dropped.fetch_add(lines, Ordering::Relaxed);
        self.lost.add(lines);
    }

    /// Returns how many lines were dropped since the last call.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

/// Gathers the lines of one worker.
#[derive(Debug)]
pub struct Recorder {
    sink: Sink,
    gathered: RefCell<(Lines, Clock)>,
    spare: RefCell<Vec<Vec<u8>>>,
    begun: Rc<Notify>,
}

impl Recorder {
    /// Hands over to `sink`, and what is left when it is dropped. Needs this thread's runtime.
    #[must_use]
    pub fn start(sink: Sink) -> Rc<Self> {
        let begun = Rc::new(Notify::new());
        let recorder = Rc::new(Self {
            sink,
            gathered: RefCell::default(),
            spare: RefCell::default(),
            begun: Rc::clone(&begun),
        });
        let weak = Rc::downgrade(&recorder);
        actix_rt::spawn(async move {
            loop {
                begun.notified().await;
                tokio::time::sleep(FLUSH).await;
                let Some(recorder) = weak.upgrade() else {
                    return;
                };
                recorder.flush();
            }
        });
        recorder
    }

    /// Returns an empty buffer for [`Notes`].
    #[must_use]
    pub fn space(&self) -> Vec<u8> {
        let kept = self.spare.borrow_mut().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(ASKED))
    }

    /// Adds the line of a request that ended `now`. `at_once` hands it over without waiting for others.
    pub fn record(&self, notes: &mut Notes, request_id: &[u8], now: Instant, at_once: bool) {
        let length = {
            let (lines, clock) = &mut *self.gathered.borrow_mut();
            if lines.text.is_empty() {
                self.begun.notify_one();
                lines.text.reserve(SPACE);
            }
            let start = lines.text.len();
            notes.write(&mut lines.text, clock, request_id, now);
            lines.count += 1;
            let served = notes.served.take();
            if let Some((route, _)) = served.app {
                lines.of_apps.push(AppLine {
                    app: Arc::clone(&route.app),
                    process: served.process,
                    place: start..lines.text.len(),
                });
            }
            lines.text.len()
        };
        let mut space = std::mem::take(&mut notes.asked);
        if space.capacity() <= 1024 && self.spare.borrow().len() < SPARE {
            space.clear();
            self.spare.borrow_mut().push(space);
        }
        if at_once || length >= FULL {
            self.flush();
        }
    }

    fn flush(&self) {
        let lines = std::mem::take(&mut self.gathered.borrow_mut().0);
        if lines.count > 0 {
            self.sink.hand_over(lines);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.flush();
        // The task wakes and finds that this is gone.
        self.begun.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::table::{Availability, Route, Rule};

    fn notes(recorder: &Recorder) -> Notes {
        Notes::unread(recorder.space(), [127, 0, 0, 1].into(), Default::default())
    }

    fn route() -> Arc<Route> {
        Arc::new(Route {
            app: "blog".into(),
            created: 1,
            hosts: Vec::new(),
            domain: Vec::new(),
            path: true,
            strip_path: true,
            port: None,
            static_files: None,
            buffer: Default::default(),
            policies: None,
            tls: Default::default(),
            has_deployed: true,
            availability: Availability::NoWeb,
            backends: Vec::new(),
            others: Vec::new(),
        })
    }

    #[actix::test]
    async fn lines_wait_for_others_but_not_for_ever() {
        let (sink, mut source) = channel(&Lost::default());
        let recorder = Recorder::start(sink);
        recorder.record(&mut notes(&recorder), b"a", Instant::now(), false);
        let of_app = &mut notes(&recorder);
        of_app.found(&route(), Rule::Path);
        recorder.record(of_app, b"b", Instant::now(), false);
        let lines = source.next().await.unwrap();
        assert_eq!((lines.count, lines.of_apps.len()), (2, 1));
        let place = lines.of_apps[0].place.clone();
        let line = std::str::from_utf8(&lines.text[place]).unwrap();
        assert!(line.contains("\"request_id\":\"b\"") && line.ends_with("}\n"));
        recorder.record(&mut notes(&recorder), b"c", Instant::now(), false);
        drop(recorder);
        assert_eq!(source.next().await.unwrap().count, 1);
        assert!(source.next().await.is_none());
    }

    #[actix::test]
    async fn lines_that_nobody_takes_are_dropped_and_counted() {
        let lost = Lost::default();
        let (sink, mut source) = channel(&lost);
        let recorder = Recorder::start(sink);
        for _ in 0..QUEUE + 3 {
            recorder.record(&mut notes(&recorder), b"a", Instant::now(), true);
        }
        assert_eq!(source.dropped(), 3);
        assert_eq!((source.dropped(), lost.count()), (0, 3));
        assert_eq!(source.next().await.unwrap().count, 1);
    }

    #[actix::test]
    async fn many_lines_go_at_once() {
        let (sink, mut source) = channel(&Lost::default());
        let recorder = Recorder::start(sink);
        for _ in 0..1000 {
            recorder.record(&mut notes(&recorder), b"a", Instant::now(), false);
        }
        let lines = source.batches.try_recv().unwrap();
        assert!((FULL..SPACE).contains(&lines.text.len()));
        assert!(lines.text.capacity() <= SPACE);
    }
}
