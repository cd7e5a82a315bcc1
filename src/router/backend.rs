//! [`Backend`]: one upstream address, with the requests on it counted across the worker threads.

use std::pin::pin;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use super::address::Address;

/// One upstream address: a ready process of a release. Clones share the load.
#[derive(Clone, Debug)]
pub struct Backend {
    /// `web.1`.
    pub process: Arc<str>,
    pub release: u64,
    pub address: Address,
    pub load: Arc<Load>,
}

/// Names a process of a release to clients, so that they can come back to it. It says nothing of the process, and stays
/// the same while that lives, whatever becomes of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceId(u128);

impl InstanceId {
    /// Reads what a client sent back; `None` for anything else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let is_plain = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.iter().all(is_plain) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl std::fmt::Display for InstanceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Backend {
    /// Its name to clients of the app that was `created` then.
    #[must_use]
    pub fn instance_id(&self, app: &str, created: u64) -> InstanceId {
        *self.load.instance.get_or_init(|| {
            let digest = Sha256::new()
                .chain_update(created.to_be_bytes())
                .chain_update(app)
                .chain_update([0])
                .chain_update(self.release.to_be_bytes())
                .chain_update(&*self.process)
                .finalize();
            let half = digest.first_chunk().copied().unwrap_or_default();
            InstanceId(u128::from_be_bytes(half))
        })
    }
}

/// Tells the owner of a process that connections to it fail, and who has a request on it that nothing more will come of
/// it. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Alarm(Arc<Signals>);

#[derive(Debug, Default)]
struct Signals {
    ringing: tokio::sync::Notify,
    losing: tokio::sync::Notify,
    lost: AtomicBool,
}

impl Alarm {
    /// Tells that a connection was refused, or not made in time. To tell it over and over costs nothing.
    pub fn ring(&self) {
        self.0.ringing.notify_one();
    }

    /// Resolves once it has rung since this was last awaited.
    pub async fn rung(&self) {
        self.0.ringing.notified().await;
    }

    /// Tells that the machine of the process is out of reach: no byte will come from there, not even the end of a
    /// connection.
    pub fn lose(&self) {
        self.0.lost.store(true, Ordering::SeqCst);
        self.0.losing.notify_waiters();
    }

    /// Tells that the machine is in reach again, and the process still there.
    pub fn regain(&self) {
        self.0.lost.store(false, Ordering::SeqCst);
    }

    /// Whether the machine of the process is out of reach.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::SeqCst)
    }

    /// Resolves once it is lost.
    async fn lost(&self) {
        let losing = self.0.losing.notified();
        tokio::pin!(losing);
        losing.as_mut().enable();
        if !self.is_lost() {
            losing.await;
        }
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The requests and tunnels on a backend, of all workers.
#[derive(Debug, Default)]
pub struct Load {
    /// Rings when connections to the backend fail, and says that its machine is lost.
    pub alarm: Alarm,
    outstanding: AtomicUsize,
    closed: AtomicBool,
    cut: AtomicBool,
    connections: Connections,
    /// Its name to clients, once it was asked for.
    instance: OnceLock<InstanceId>,
    idle: tokio::sync::Notify,
    cutting: tokio::sync::Notify,
}

/// What is known of a backend's connections.
#[derive(Debug, Default)]
struct Connections {
    /// The requests without an answer on a new one.
    waiting: AtomicUsize,
    /// The first answers on new ones.
    answered: AtomicU64,
    /// A worker looks whether those that wait do so for an idle one.
    looking: AtomicBool,
    /// The time at which idle ones were last given up for them, in milliseconds, and how many. 0 once the result is
    /// known.
    given_up: AtomicU64,
    left: AtomicUsize,
    /// How often in a row that brought answers at once, no more than were given up.
    brought: AtomicUsize,
    /// The time until which none is kept idle, in milliseconds. 0 if they are kept.
    alone_until: AtomicU64,
}

/// An answer within so many milliseconds after an idle connection was given up comes because of that.
const AT_ONCE: u64 = 50;

/// How often in a row that must happen before it is believed. Under load an answer may come just then by chance.
const OFTEN: usize = 3;

/// The milliseconds for which a backend is believed to serve one connection at a time.
const ALONE: u64 = 60_000;

/// Returns the milliseconds since the first call, at least 1.
fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX - ALONE - 1) + 1
}

impl Load {
    /// Makes a load with nothing on it, whose `alarm` rings when connections to the backend fail.
    #[must_use]
    pub fn new(alarm: Alarm) -> Self {
        Self {
            alarm,
            ..Self::default()
        }
    }

    /// Counts a request that has no answer on its new connection yet.
    pub fn begin_waiting(&self) {
        self.connections.waiting.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts it no more.
    pub fn end_waiting(&self) {
        self.connections.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Notes that `count` idle connections were given up for those that wait.
    pub fn give_up(&self, count: usize) {
        let connections = &self.connections;
        match connections.given_up.swap(now(), Ordering::SeqCst) {
            0 => connections.left.store(count, Ordering::SeqCst),
            // Other workers gave some up at the same time.
            _ => _ = connections.left.fetch_add(count, Ordering::SeqCst),
        }
    }

    /// Counts the first answer on a new connection.
    pub fn answers(&self) {
        self.connections.answered.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the first answers on new connections so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.connections.answered.load(Ordering::SeqCst)
    }

    /// Notes that a request that waited on a new connection has its answer. If that came because an idle one was given
    /// up, and not for the first time, none is kept for a while: this backend serves one at a time.
    pub fn was_waited_for(&self) {
        let connections = &self.connections;
        let given_up = connections.given_up.swap(0, Ordering::SeqCst);
        // Each one that was given up explains one answer at most.
        let left = connections.left.load(Ordering::SeqCst);
        connections
            .left
            .store(left.saturating_sub(1), Ordering::SeqCst);
        if left == 0 {
            return self.serves_several();
        }
        let now = now();
        if given_up == 0 || now.saturating_sub(given_up) >= AT_ONCE {
            return;
        }
        if connections.brought.fetch_add(1, Ordering::SeqCst) + 1 >= OFTEN {
            connections.brought.store(0, Ordering::SeqCst);
            connections.alone_until.store(now + ALONE, Ordering::SeqCst);
        }
    }

    /// Notes that a new connection had its answer without one that was given up for it.
    pub fn serves_several(&self) {
        self.connections.brought.store(0, Ordering::SeqCst);
    }

    /// Whether a request has waited on its new connection for some time.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.connections.waiting.load(Ordering::SeqCst) > 0
    }

    /// From now on somebody looks whether they wait for an idle connection to be given up; false if somebody does
    /// already.
    #[must_use]
    pub fn begin_looking(&self) -> bool {
        !self.connections.looking.swap(true, Ordering::SeqCst)
    }

    pub fn end_looking(&self) {
        self.connections.looking.store(false, Ordering::SeqCst);
    }

    /// Whether a connection may be kept for the next request, since the backend serves several at a time.
    #[must_use]
    pub fn may_keep(&self) -> bool {
        // Few backends need the clock read.
        let until = self.connections.alone_until.load(Ordering::Relaxed);
        until == 0 || now() >= until
    }

    /// Returns the requests and tunnels at this moment.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::SeqCst)
    }

    /// Takes no new request from now on, even if a table still names the backend.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Takes requests again.
    pub fn reopen(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    /// Tells those who are still on it to end, because their time to drain is over. Tunnels do. A request has nothing
    /// to end well with.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.cutting.notify_waiters();
    }

    /// Resolves once it was [cut](Self::cut).
    pub async fn is_cut(&self) {
        let cutting = self.cutting.notified();
        tokio::pin!(cutting);
        cutting.as_mut().enable();
        if !self.cut.load(Ordering::SeqCst) {
            cutting.await;
        }
    }

    /// Resolves when nothing is on it or it is [cut](Self::cut).
    pub async fn over(&self) {
        let (drained, cut) = (pin!(self.drained()), pin!(self.is_cut()));
        futures::future::select(drained, cut).await;
    }

    /// Resolves when nothing is on it. Meaningful once no table names it any more.
    pub async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.outstanding() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// One request on a backend. Dropping it takes it off the count.
#[derive(Debug)]
pub struct Lease(Arc<Load>);

impl Lease {
    /// Counts one more request, unless the load is closed.
    #[must_use]
    pub fn take(load: &Arc<Load>) -> Option<Self> {
        // Counts first and looks then, so that whoever closes the load and sees nothing outstanding can be sure.
        let lease = Self::new(load);
        let closed = load.closed.load(Ordering::SeqCst);
        (!closed).then_some(lease)
    }

    /// Counts one more, even if the load is closed.
    #[must_use]
    pub fn new(load: &Arc<Load>) -> Self {
        load.outstanding.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(load))
    }

    /// Resolves when those who are on the load are to end.
    pub async fn cut(&self) {
        let (cut, lost) = (pin!(self.0.is_cut()), pin!(self.0.alarm.lost()));
        futures::future::select(cut, lost).await;
    }

    /// Whether nothing more will come from the backend, not even its end.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.alarm.is_lost()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.0.outstanding.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_closed_load_takes_nothing_new_and_drains_when_the_last_lease_is_gone() {
        let load = Arc::new(Load::default());
        let lease = Lease::take(&load).expect("open");
        load.close();
        assert!(Lease::take(&load).is_none());
        let mut drained = Box::pin(load.drained());
        assert!(drained.as_mut().now_or_never().is_none());
        drop(lease);
        assert!(drained.as_mut().now_or_never().is_some());
    }

    #[test]
    fn a_load_that_is_opened_again_takes_requests_again() {
        let load = Arc::new(Load::default());
        load.close();
        load.reopen();
        assert!(Lease::take(&load).is_some());
    }

    #[test]
    fn no_connection_is_kept_where_one_at_a_time_is_served() {
        let load = Load::default();
        let answers = |given_up: usize, answers: usize| {
            load.give_up(given_up);
            (0..answers).for_each(|_| load.was_waited_for());
        };
        for _ in 0..2 * OFTEN {
            load.was_waited_for();
            assert!(load.may_keep(), "answers came without anything given up");
        }
        for _ in 0..2 * OFTEN {
            answers(2, 3);
            assert!(load.may_keep(), "more of them came than were given up");
        }
        for _ in 1..OFTEN {
            answers(1, 1);
            assert!(load.may_keep(), "that can be by chance");
        }
        answers(2, 2);
        assert!(!load.may_keep());
    }

    #[test]
    fn who_is_on_a_load_is_told_when_its_time_is_over_also_who_asks_late() {
        let load = Arc::new(Load::default());
        let lease = Lease::take(&load).expect("open");
        let mut early = Box::pin(lease.cut());
        assert!(early.as_mut().now_or_never().is_none());
        load.cut();
        assert!(early.as_mut().now_or_never().is_some());
        assert!(lease.cut().now_or_never().is_some());
        assert!(load.drained().now_or_never().is_none());
        assert!(load.over().now_or_never().is_some());
    }

    #[test]
    fn who_is_on_a_machine_that_is_lost_is_told_too() {
        let load = Arc::new(Load::default());
        let lease = Lease::take(&load).expect("open");
        let mut early = Box::pin(lease.cut());
        assert!(early.as_mut().now_or_never().is_none() && !lease.is_lost());
        load.alarm.lose();
        assert!(early.as_mut().now_or_never().is_some() && lease.is_lost());
        assert!(lease.cut().now_or_never().is_some());
        load.alarm.regain();
        assert!(!lease.is_lost() && lease.cut().now_or_never().is_none());
    }
}
