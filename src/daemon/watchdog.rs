//! The watchdog of systemd (`WatchdogSec=`, sd_notify(3)): it is fed only while all that serve answer.

mod policy;

use std::time::Duration;

use actix::Addr;

use super::root::{Ping, Root};
use crate::app::apps::{self, Apps};
use crate::pulse::Pulses;
use crate::supervision::ChildRef;
use policy::{Policy, Remark};

/// Whose thread all control actors are on.
const CONTROL: &str = "the control thread";

/// The pulses of this server: they beat if systemd wants to be fed.
pub(super) fn pulses() -> Pulses {
    Pulses::new(sd_notify::watchdog_enabled().map(policy::beat))
}

/// Begins to feed, on a thread of its own: it must go on when all others hang.
pub(super) fn start(pulses: Pulses) {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return;
    };
    let feeding = std::thread::Builder::new().name("watchdog".to_owned());
    let feeding = feeding.spawn(move || feed(&pulses, period));
    if let Err(error) = feeding {
        log::error!(
            "there is no thread for the watchdog, so systemd will restart this server: {error}"
        );
    }
}

fn feed(pulses: &Pulses, period: Duration) {
    let mut policy = Policy::new(period);
    loop {
        let (is_well, remarks) = policy.look(&pulses.ages());
        for remark in remarks {
            match remark {
                Remark::Hangs(name, age) => log::error!(
                    "{name} has not answered for {} s: unless it does, systemd restarts the server (WatchdogSec=), and \
                     applications run on meanwhile",
                    age.as_secs()
                ),
                Remark::Answers(name) => log::warn!("{name} answers again"),
            }
        }
        if is_well {
            super::notify(&[sd_notify::NotifyState::Watchdog]);
        }
        std::thread::sleep(policy::beat(period));
    }
}

/// Asks the control actors now and then, on their own thread.
pub(super) async fn ask_control(pulses: Pulses, root: Addr<Root>, apps: ChildRef<Apps>) {
    let Some(pulse) = pulses.enter(CONTROL) else {
        return;
    };
    loop {
        pulse.due().await;
        // One that has ended is no sign that the thread hangs: its supervisor is there to see to that.
        let _ended = root.send(Ping).await;
        if let Some(apps) = apps.get() {
            let _ended = apps.send(apps::Ping).await;
        }
        pulse.beat();
    }
}
