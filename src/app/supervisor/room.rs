//! Whether there is room for what is to be started. Without it processes would start until the ports are used up, which
//! other applications need as well, and fail only then.

use super::App;
use crate::app::batch::Batch;
use crate::app::lifecycle::Replaces;
use crate::app::runnable::Runnable;
use crate::install::record::{Failure, Step};

impl App {
    /// Why a batch of `runnable` cannot be started, where it has more processes than there are ports.
    pub(super) fn lacks_room_for(
        &self,
        runnable: &Runnable,
        replaces: &Replaces,
    ) -> Option<Failure> {
        let serving = self.deployer.life.serving();
        let serving = serving.and_then(|id| self.batches.get(id));
        let all: usize = self.batches.iter().map(Batch::ports).sum();
        // Whatever else there is of this app is ended before.
        let others = all - serving.map_or(0, Batch::ports);
        let ended = match (serving, replaces) {
            (None, _) => 0,
            (Some(batch), Replaces::All) => batch.ports(),
            (Some(batch), Replaces::These(ids)) => batch.ports().min(ids.len()),
        };
        self.lacks_ports(runnable.ports(), others + ended)
    }

    /// Why so many processes more cannot be started, while so many ports are given back before.
    pub(super) fn lacks_ports(&self, wanted: usize, given_back: usize) -> Option<Failure> {
        let (first, last, leased) = self.spec.context.ports.count();
        let all = usize::from(last - first) + 1;
        let free = all.saturating_sub(leased) + given_back;
        (wanted > free).then(|| {
            let reason = format!(
                "{wanted} processes are to be started, each with a port, and of the {all} ports {first}-{last} {free} are free"
            );
            let name = self.name();
            let hint = format!(
                "start fewer (procserver scale {name} TYPE=N), or widen `ports` in procserver.toml"
            );
            Failure::new(Step::Start, reason).hint(hint)
        })
    }
}
