//! [`Pulses`]: whether the threads that matter still do anything. Each leaves a beat now and then; the watchdog looks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::failpoint;

/// All pulses of the server. Clones are of the same ones.
#[derive(Clone, Debug)]
pub struct Pulses {
    all: Arc<Mutex<Vec<Weak<Pulse>>>>,
    began: Instant,
    /// The time between two beats; without a watchdog nobody beats.
    every: Option<Duration>,
}

impl Default for Pulses {
    fn default() -> Self {
        Self::new(None)
    }
}

/// The pulse of one thread. It is gone with its last holder.
#[derive(Debug)]
pub struct Pulse {
    name: String,
    began: Instant,
    every: Duration,
    /// Milliseconds from `began` to the last beat.
    last: AtomicU64,
}

impl Pulses {
    /// Beats `every` so often, if there is somebody to look.
    #[must_use]
    pub fn new(every: Option<Duration>) -> Self {
        Self {
            all: Arc::default(),
            began: Instant::now(),
            every,
        }
    }

    /// A pulse with its first beat, unless nobody looks. `name` says whose, for the log.
    #[must_use]
    pub fn enter(&self, name: impl Into<String>) -> Option<Arc<Pulse>> {
        let pulse = Arc::new(Pulse {
            name: name.into(),
            began: self.began,
            every: self.every?,
            last: AtomicU64::new(0),
        });
        pulse.beat();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::downgrade(&pulse));
        Some(pulse)
    }

    /// How long ago each beat last.
    #[must_use]
    pub fn ages(&self) -> Vec<(String, Duration)> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|pulse| pulse.strong_count() > 0);
        let present = all.iter().filter_map(Weak::upgrade);
        present
            .map(|pulse| (pulse.name.clone(), pulse.age()))
            .collect()
    }
}

impl Pulse {
    pub fn beat(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// Resolves when the next beat is due. Needs a runtime, that of the thread.
    pub async fn due(&self) {
        tokio::time::sleep(self.every).await;
        failpoint::reach(&self.name);
    }

    /// Beats for as long as the runtime of this thread does what it has to do.
    pub async fn keep_beating(self: Arc<Self>) {
        loop {
            self.due().await;
            self.beat();
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn age(&self) -> Duration {
        Duration::from_millis(self.now().saturating_sub(self.last.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_has_an_age_until_its_thread_lets_go_of_it() {
        let pulses = Pulses::new(Some(Duration::from_secs(1)));
        let pulse = pulses.enter("a worker").expect("somebody looks");
        std::thread::sleep(Duration::from_millis(20));
        assert!(pulses.ages()[0].1 >= Duration::from_millis(20));
        pulse.beat();
        assert!(pulses.ages()[0].1 < Duration::from_millis(20));
        drop(pulse);
        assert!(pulses.ages().is_empty());
        assert!(Pulses::default().enter("a worker").is_none());
    }
}
