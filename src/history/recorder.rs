//! [`Recorder`]: the actor that owns the [`Day`]: takes a reading once a minute, and whenever somebody asks and the last one
//! is old; writes it all down now and then, and when it stops.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures::future::LocalBoxFuture;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::day::Day;
use super::file;
use super::reading::Reading;
use super::series::{Point, Series};
use crate::supervision::Shutdown;
use crate::{durable, regular};

/// The name of the file, below the data directory.
pub const FILE: &str = "history";

/// How often a reading is taken at least.
const INTERVAL: Duration = Duration::from_secs(60);

/// How old the last reading may be where somebody asks.
const FRESH: Duration = Duration::from_secs(5);

/// How often all is written. A server that is killed forgets what came since.
const WRITES: Duration = Duration::from_secs(5 * 60);

/// How much longer is waited for each megabyte: of a thousand applications it is thirty.
const WRITES_PER_MEGABYTE: Duration = Duration::from_secs(30);

/// No file is larger: what has no room in it is forgotten by the next server.
const LARGEST: usize = 256 << 20;

/// How long the last reading may take when the server stops.
const LAST: Duration = Duration::from_secs(2);

/// Takes a reading; `None` where nobody can be asked just now.
pub type Gather = Arc<dyn Fn() -> LocalBoxFuture<'static, Option<Reading>> + Send + Sync>;

/// The actor that owns the history.
pub struct Recorder {
    path: PathBuf,
    gather: Gather,
    day: Day,
    /// When the last reading was taken.
    read: Option<Instant>,
    is_reading: bool,
    /// Who waits for the reading that is being taken.
    waiting: Vec<oneshot::Sender<()>>,
    written: Instant,
    /// The size of the file that was written last, bytes.
    size: usize,
    is_failing: bool,
}

/// The points of one application, or of the server, since then (Unix time).
#[derive(Message, Clone, Debug)]
#[rtype(result = "Points")]
pub struct Since {
    /// `None`: of the server.
    pub app: Option<Arc<str>>,
    pub since: i64,
}

/// Points in steps of so many seconds, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Points {
    pub seconds: u64,
    pub points: Vec<Point>,
}

/// What each application does just now, and the server.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Present")]
pub struct Now;

/// The newest minute or two.
#[derive(Clone, Debug, Default)]
pub struct Present {
    pub server: Point,
    pub apps: Vec<(Arc<str>, Point)>,
}

impl Recorder {
    /// One whose file lies in `data_dir`.
    #[must_use]
    pub fn new(data_dir: &std::path::Path, gather: Gather) -> Self {
        Self {
            path: data_dir.join(FILE),
            gather,
            day: Day::default(),
            read: None,
            is_reading: false,
            waiting: vec![],
            written: Instant::now(),
            size: 0,
            is_failing: false,
        }
    }

    /// Takes a reading, or waits for the one that is being taken.
    fn read(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = ()> + use<> {
        let (done, taken) = oneshot::channel();
        self.waiting.push(done);
        if !std::mem::replace(&mut self.is_reading, true) {
            let reading = (self.gather)().into_actor(self);
            ctx.spawn(reading.map(|reading, recorder, _| recorder.take(reading)));
        }
        async move {
            // An error: the actor has gone, and nobody is answered.
            let _gone = taken.await;
        }
    }

    fn take(&mut self, reading: Option<Reading>) {
        self.is_reading = false;
        if let Some(reading) = reading {
            let now = Instant::now();
            let took = self
                .read
                .replace(now)
                .map_or(Duration::ZERO, |read| now - read);
            self.day.take(reading, took, Timestamp::now().as_second());
        }
        for waiting in self.waiting.drain(..) {
            // Who no longer waits needs no word.
            let _nobody = waiting.send(());
        }
    }

    /// Resolves when there is a reading that is not old.
    fn up_to_date(&mut self, ctx: &mut Context<Self>) -> ResponseActFuture<Self, ()> {
        match self.read {
            Some(read) if read.elapsed() < FRESH => Box::pin(fut::ready(())),
            _ => Box::pin(self.read(ctx).into_actor(self)),
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        // Until there is one to measure by, it is tried again soon: the applications may be starting.
        let next = match self.read {
            Some(_) => until_next_minute(Timestamp::now()),
            None => Duration::from_secs(1),
        };
        ctx.run_later(next, |recorder, ctx| {
            let read = recorder.read(ctx).into_actor(recorder);
            ctx.spawn(read.map(|(), recorder, ctx| {
                let megabytes = u32::try_from(recorder.size >> 20).unwrap_or(u32::MAX);
                if recorder.written.elapsed() >= WRITES + WRITES_PER_MEGABYTE * megabytes {
                    ctx.spawn(
                        recorder
                            .write()
                            .into_actor(recorder)
                            .map(Self::note_written),
                    );
                }
                recorder.tick(ctx);
            }));
        });
    }

    /// Writes all of it on a blocking thread. Returns the size.
    fn write(&mut self) -> impl Future<Output = std::io::Result<usize>> + use<> {
        self.written = Instant::now();
        let (path, day) = (self.path.clone(), self.day.kept());
        async move {
            let written = tokio::task::spawn_blocking(move || {
                let text = file::write(&day, LARGEST);
                durable::replace(&path, text.as_bytes(), 0o600)?;
                Ok(text.len())
            });
            written
                .await
                .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        }
    }

    fn note_written(written: std::io::Result<usize>, recorder: &mut Self, _: &mut Context<Self>) {
        let was_failing = std::mem::replace(&mut recorder.is_failing, written.is_err());
        match written {
            Ok(size) => recorder.size = size,
            Err(error) if !was_failing => {
                let path = recorder.path.display();
                log::warn!("{path} cannot be written, it is tried again: {error}");
            }
            Err(_) => {}
        }
    }
}

/// Reads what an earlier server has written. What cannot be read is as if it were not there. Blocks.
fn load(path: &std::path::Path) -> Day {
    let why = match regular::read(path, LARGEST as u64) {
        Ok(text) => match file::read(&text) {
            Ok(day) => return day,
            Err(error) => error.to_string(),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Day::default(),
        Err(error) => error.to_string(),
    };
    log::warn!("{}: {why}: the history begins anew", path.display());
    Day::default()
}

/// A reading at the end of each minute of the clock is all of that minute's.
fn until_next_minute(now: Timestamp) -> Duration {
    let passed = now.as_millisecond().rem_euclid(60_000).unsigned_abs();
    INTERVAL - Duration::from_millis(passed)
}

impl Actor for Recorder {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let path = self.path.clone();
        let loaded = tokio::task::spawn_blocking(move || load(&path)).into_actor(self);
        // Nobody is answered before it is there.
        ctx.wait(loaded.map(|day, recorder, ctx| {
            recorder.day = day.unwrap_or_default();
            let read = recorder.read(ctx).into_actor(recorder);
            ctx.spawn(read.map(|(), recorder, ctx| recorder.tick(ctx)));
        }));
    }
}

impl Handler<Since> for Recorder {
    type Result = ResponseActFuture<Self, Points>;

    fn handle(&mut self, Since { app, since }: Since, ctx: &mut Self::Context) -> Self::Result {
        let answer = self.up_to_date(ctx).map(move |(), recorder, _| {
            let now = Timestamp::now().as_second();
            let series = match &app {
                None => Some(&recorder.day.server),
                Some(app) => recorder.day.apps.get(app).map(|of| &of.series),
            };
            let (seconds, points) = match series {
                Some(series) => series.points(since, now),
                None => Series::default().points(since, now),
            };
            Points { seconds, points }
        });
        Box::pin(answer)
    }
}

impl Handler<Now> for Recorder {
    type Result = ResponseActFuture<Self, Present>;

    fn handle(&mut self, _: Now, ctx: &mut Self::Context) -> Self::Result {
        let answer = self.up_to_date(ctx).map(|(), recorder, _| Present {
            server: recorder.day.server_now(),
            apps: recorder
                .day
                .now()
                .map(|(app, point)| (Arc::clone(app), point))
                .collect(),
        });
        Box::pin(answer)
    }
}

impl Handler<Shutdown> for Recorder {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        let read = tokio::time::timeout(LAST, self.read(ctx)).into_actor(self);
        let written = read.then(|_late, recorder, _| recorder.write().into_actor(recorder));
        ctx.spawn(written.map(|written, recorder, ctx| {
            Self::note_written(written, recorder, ctx);
            ctx.stop();
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::history::reading::Counted;

    /// Each reading has counted one request more.
    fn counting() -> Gather {
        let count = Arc::new(AtomicU64::new(0));
        Arc::new(move || {
            let counted = Counted {
                created: 1,
                requests: count.fetch_add(1, Ordering::SeqCst),
                ..Counted::default()
            };
            let reading = Reading {
                own: Counted::default(),
                apps: [("blog".into(), counted)].into(),
            };
            Box::pin(async move { Some(reading) })
        })
    }

    async fn requests(recorder: &Addr<Recorder>) -> u64 {
        let since = Since {
            app: Some("blog".into()),
            since: 0,
        };
        let Points { points, .. } = recorder.send(since).await.unwrap();
        points.iter().map(|point| point.requests).sum()
    }

    async fn stop(recorder: Addr<Recorder>) {
        recorder.send(Shutdown).await.unwrap();
        while recorder.connected() {
            actix_rt::task::yield_now().await;
        }
    }

    #[actix::test]
    async fn what_one_has_seen_the_next_goes_on_with() {
        let home = tempfile::tempdir().unwrap();
        let first = Recorder::new(home.path(), counting()).start();
        assert_eq!(requests(&first).await, 0);
        stop(first).await;
        let second = Recorder::new(home.path(), counting()).start();
        assert_eq!(
            requests(&second).await,
            1,
            "the last reading is taken as it stops"
        );
        stop(second).await;
        let path = home.path().join(FILE);
        std::fs::write(&path, "{\"version\":1}\nrubbish").unwrap();
        let third = Recorder::new(home.path(), counting()).start();
        assert_eq!(requests(&third).await, 0);
        stop(third).await;
        assert!(file::read(&std::fs::read(&path).unwrap()).is_ok());
    }

    #[test]
    fn readings_are_taken_as_minutes_end() {
        let left = |time: &str| until_next_minute(time.parse().unwrap()).as_millis();
        assert_eq!(left("2026-11-30T12:00:00Z"), 60_000);
        assert_eq!(left("2026-11-30T12:00:59.9Z"), 100);
        assert_eq!(left("1969-12-31T23:59:59Z"), 1_000);
    }
}
