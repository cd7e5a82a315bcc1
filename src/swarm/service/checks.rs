//! Whether the processes of a service answer, over the network.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Service;
use crate::document::config::HealthCheck;
use crate::process::health::{Checks, Trouble, Unready};
use crate::process::probe;
use crate::router::backend::Alarm;
use crate::swarm::life::Event;
use crate::swarm::seen::Seen;

/// How long a connection to a machine may take that the swarm has not heard of.
const REACH: Duration = Duration::from_secs(3);

/// How long a process may take to get ready before it is told what it does instead. Most take less.
const PATIENCE: Duration = Duration::from_secs(10);

/// As [`PATIENCE`], but before a deploy fails, which shows it.
fn patience(health: &HealthCheck) -> Duration {
    PATIENCE.min(health.boot_timeout / 2)
}

/// The checks of one task.
#[derive(Debug)]
pub(super) struct Watch {
    task: String,
    address: SocketAddr,
    checks: Checks,
    since: Instant,
    /// It takes longer than most to get ready.
    is_late: bool,
    alarm: Alarm,
    /// Why the last check failed.
    failure: Option<Unready>,
    check: Option<SpawnHandle>,
    /// The swarm has not heard of its machine, and that was looked into.
    is_doubted: bool,
}

impl Watch {
    /// Why the process should get no request.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.checks.trouble().cloned()
    }

    /// What it does instead of getting ready, and what to do about it, once it should have been.
    pub(super) fn unready(&self) -> Option<String> {
        let why = self.failure.as_ref().filter(|_| self.is_late)?;
        Some(match why {
            Unready::NotListening => format!(
                "{why}, at {}: on a swarm a process has a network of its own, so it must listen on all addresses (0.0.0.0, \
                 or ::) at $PORT, not on 127.0.0.1",
                self.address
            ),
            _ => format!("{why}, at {}", self.address),
        })
    }

    /// Rung by who cannot connect to the process.
    pub(super) fn alarm(&self) -> Alarm {
        self.alarm.clone()
    }
}

/// What came of waiting and one check.
struct Checked {
    /// The proxy could not connect.
    is_refused: bool,
    result: Result<(), Unready>,
}

impl Service {
    /// Checks a process as long as this task runs it.
    pub(super) fn check(&mut self, number: u64, task: String, ctx: &mut Context<Self>) {
        self.uncheck(number, ctx);
        let member = self.life.member(number);
        let address = member.and_then(|member| member.task.as_ref()?.address);
        let Some(address) = address.filter(|_| self.spec.routed) else {
            return;
        };
        let watch = Watch {
            task,
            address,
            checks: Checks::new(&self.spec.health),
            since: Instant::now(),
            is_late: false,
            alarm: Alarm::default(),
            failure: None,
            check: None,
            is_doubted: false,
        };
        self.watches.insert(number, watch);
        self.check_after(Duration::ZERO, number, ctx);
    }

    /// Looks for machines that the swarm has not heard of for a while. What cannot be reached from here either is lost:
    /// whoever waits for an answer need not wait longer.
    pub(super) fn doubt(&mut self, seen: &Seen, ctx: &mut Context<Self>) {
        let is_doubtful = |task: &str| {
            let mut tasks = seen.tasks.iter();
            tasks.any(|seen| seen.id == task && seen.is_out_of_reach)
        };
        for watch in self.watches.values_mut() {
            let was_doubted = std::mem::replace(&mut watch.is_doubted, is_doubtful(&watch.task));
            match (was_doubted, watch.is_doubted) {
                (false, true) => {
                    let (task, alarm) = (watch.task.clone(), watch.alarm());
                    let connected = timeout(REACH, TcpStream::connect(watch.address));
                    let connected = actix::fut::wrap_future::<_, Self>(connected);
                    ctx.spawn(connected.map(move |connected, this, _| {
                        let is_reached = connected.is_ok_and(|connected| connected.is_ok());
                        // The task may be another's place by now.
                        let is_back = |watch: &Watch| watch.task == task && !watch.is_doubted;
                        if !is_reached && !this.watches.values().any(is_back) {
                            alarm.lose();
                        }
                    }));
                }
                (true, false) => watch.alarm.regain(),
                _ => {}
            }
        }
    }

    pub(super) fn uncheck(&mut self, number: u64, ctx: &mut Context<Self>) {
        let watch = self.watches.remove(&number);
        if let Some(check) = watch.and_then(|watch| watch.check) {
            ctx.cancel_future(check);
        }
    }

    /// Looks at the process after a while, or as soon as the proxy cannot connect to it.
    fn check_after(&mut self, pause: Duration, number: u64, ctx: &mut Context<Self>) {
        let Some(watch) = self.watches.get(&number) else {
            return;
        };
        let (address, alarm) = (watch.address, watch.alarm());
        let health = self.spec.health.clone();
        let checked = async move {
            let is_refused = probe::is_refused_within(pause, &alarm).await;
            let result = probe::answers(address, &health).await;
            Checked { is_refused, result }
        };
        let checked = checked.into_actor(self).map(move |checked, this, ctx| {
            this.checked(&checked, number, ctx);
        });
        let handle = ctx.spawn(checked);
        if let Some(watch) = self.watches.get_mut(&number) {
            watch.check = Some(handle);
        }
    }

    fn checked(&mut self, checked: &Checked, number: u64, ctx: &mut Context<Self>) {
        let Some(watch) = self.watches.get_mut(&number) else {
            return;
        };
        let before = (watch.checks.is_ready(), watch.trouble(), watch.unready());
        if checked.is_refused {
            watch.checks.refused();
        }
        match &checked.result {
            Ok(()) => watch.checks.passed(),
            Err(why) => watch.checks.failed(why),
        }
        watch.failure = checked.result.clone().err();
        watch.is_late = watch.since.elapsed() >= patience(&self.spec.health);
        let is_ready = watch.checks.is_ready();
        let pause = watch.checks.pause();
        if before != (is_ready, watch.trouble(), watch.unready()) {
            let task = watch.task.clone();
            self.apply(Event::Checked { task, is_ready }, ctx);
        }
        if checked.is_refused || checked.result.is_err() && is_ready {
            // Its machine may be gone: what the swarm makes of that is wanted soon.
            let _number = self.swarm.observer.look();
        }
        self.check_after(pause, number, ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_merely_starts_is_told_nothing_and_one_that_is_late_what_to_do() {
        let mut watch = Watch {
            task: "t".to_owned(),
            address: ([10, 0, 0, 2], 32_768).into(),
            checks: Checks::new(&HealthCheck::default()),
            since: Instant::now(),
            is_late: false,
            alarm: Alarm::default(),
            failure: Some(Unready::NotListening),
            check: None,
            is_doubted: false,
        };
        assert_eq!(watch.unready(), None);
        watch.is_late = true;
        assert!(watch.unready().unwrap().contains("0.0.0.0"));
    }

    #[test]
    fn what_a_process_does_is_known_before_its_time_to_start_is_over() {
        let of = |boot_timeout| {
            let health = HealthCheck {
                boot_timeout,
                ..HealthCheck::default()
            };
            patience(&health)
        };
        assert_eq!(of(Duration::from_secs(60)), PATIENCE);
        assert!(of(Duration::from_secs(3)) < Duration::from_secs(3));
    }
}
