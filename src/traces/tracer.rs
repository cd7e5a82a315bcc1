//! [`Tracer`]: chooses the requests of one worker of which a span is told, and hands the spans over.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::context::{Ids, Parent};
use super::exporter::Sink;
use super::span::Span;

/// Chooses the requests of one worker of which a span is told.
#[derive(Debug)]
pub struct Tracer {
    sink: Sink,
    /// The part of the requests.
    sample: f64,
    /// Of SplitMix64: ids must differ, and nobody is kept from guessing them.
    state: Cell<u64>,
}

/// What is to be told of a request that is at work.
#[derive(Debug)]
pub struct Begun {
    pub ids: Ids,
    parent: Option<[u8; 8]>,
    method: Box<str>,
    path: Box<str>,
    host: Box<str>,
    is_secure: bool,
    /// Since 1970.
    began: Duration,
}

/// What the client asks.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub method: &'a str,
    /// With the query, which is left out.
    pub target: &'a str,
    pub host: &'a str,
    pub is_secure: bool,
    /// Of `traceparent`.
    pub parent: Option<Parent>,
    /// Whether it comes from a proxy that is trusted: then that one chooses.
    pub is_trusted: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    pub app: Option<std::sync::Arc<str>>,
    pub process: Option<(std::sync::Arc<str>, u64)>,
    pub status: u16,
    pub took: Duration,
}

/// The longest path and host that is told, characters.
const LONGEST: usize = 1024;

impl Tracer {
    #[must_use]
    pub fn new(sink: Sink, sample: f64, seed: u64) -> Self {
        Self {
            sink,
            sample,
            state: Cell::new(seed),
        }
    }

    /// Begins the span of a request, if it is one of those that are chosen.
    pub fn begin(&self, asked: &Asked<'_>) -> Option<Box<Begun>> {
        let chance = (self.random() >> 11) as f64 / (1u64 << 53) as f64;
        if !is_chosen(asked.parent.as_ref(), asked.is_trusted, chance, self.sample) {
            return None;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let path = asked.target.split('?').next();
        let trace = || u128::from(self.random()) << 64 | u128::from(self.random());
        Some(Box::new(Begun {
            ids: Ids {
                trace: asked
                    .parent
                    .map_or_else(|| trace().max(1).to_be_bytes(), |parent| parent.trace),
                span: self.random().max(1).to_be_bytes(),
            },
            parent: asked.parent.map(|parent| parent.span),
            method: shown(asked.method),
            path: shown(path.unwrap_or_default()),
            host: shown(asked.host),
            is_secure: asked.is_secure,
            began: since.unwrap_or_default(),
        }))
    }

    /// Hands over the span of a request that ended.
    pub fn end(&self, begun: Begun, ended: Ended) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.sink.send(Span {
            ids: begun.ids,
            parent: begun.parent,
            method: begun.method,
            path: begun.path,
            host: begun.host,
            is_secure: begun.is_secure,
            app: ended.app,
            process: ended.process,
            status: ended.status,
            began: nanos(begun.began),
            ended: nanos(begun.began.saturating_add(ended.took)),
        });
    }

    fn random(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// Who asks and does not record wants no span here either. Who does has one where it is believed; a stranger must not
/// have all of its requests recorded.
fn is_chosen(parent: Option<&Parent>, is_trusted: bool, chance: f64, sample: f64) -> bool {
    match parent {
        Some(parent) if !parent.is_sampled => false,
        Some(_) if is_trusted => true,
        _ => chance < sample,
    }
}

fn shown(text: &str) -> Box<str> {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::exporter::queue;

    fn asked<'a>(parent: Option<Parent>, is_trusted: bool) -> Asked<'a> {
        Asked {
            method: "GET",
            target: "/a?key=secret",
            host: "blog.test",
            is_secure: false,
            parent,
            is_trusted,
        }
    }

    #[test]
    fn a_part_of_the_requests_is_chosen_and_a_trusted_proxy_chooses_itself() {
        let (sink, _source) = queue();
        let parent = |is_sampled| {
            Some(Parent {
                trace: [7; 16],
                span: [8; 8],
                is_sampled,
            })
        };
        let chosen = |sample: f64, parent, trusted| {
            let tracer = Tracer::new(sink.clone(), sample, 1);
            let all = (0..10_000).filter(|_| tracer.begin(&asked(parent, trusted)).is_some());
            all.count()
        };
        assert_eq!(chosen(0.0, None, false), 0);
        assert_eq!(chosen(1.0, None, false), 10_000);
        assert!((50..200).contains(&chosen(0.01, None, false)));
        assert!((50..200).contains(&chosen(0.01, parent(true), false)));
        assert_eq!(chosen(0.0, parent(true), true), 10_000);
        assert_eq!(chosen(1.0, parent(false), true), 0);
    }

    #[test]
    fn a_span_continues_the_trace_of_who_asks_and_tells_no_query() {
        let (sink, mut source) = queue();
        let tracer = Tracer::new(sink, 1.0, 1);
        let parent = Parent {
            trace: [7; 16],
            span: [8; 8],
            is_sampled: true,
        };
        let begun = tracer.begin(&asked(Some(parent), false)).unwrap();
        assert_eq!(begun.ids.trace, parent.trace);
        assert_ne!(begun.ids.span, parent.span);
        let ended = Ended {
            status: 200,
            took: Duration::from_millis(5),
            ..Ended::default()
        };
        tracer.end(*begun, ended);
        let span = source.try_recv().unwrap();
        assert_eq!((&*span.path, span.parent), ("/a", Some(parent.span)));
        assert_eq!(span.ended - span.began, 5_000_000);
    }
}
