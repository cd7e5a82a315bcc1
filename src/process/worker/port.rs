//! The port of a process: the one it had, else another, and which program took the first.

use std::sync::Arc;

use actix::prelude::*;

use super::{Process, blocking};
use crate::process::port_holder;
use crate::process::ports::{Leased, PortLease, Ports, PortsExhausted};

/// The port of one start.
pub(super) struct ChosenPort {
    lease: Arc<PortLease>,
    /// The port that it would have been, but for another program.
    taken: Option<u16>,
}

/// Why a start did not come to a spawn.
pub(super) enum NotStarted {
    NoPort(String),
    Other(String),
}

impl Process {
    /// The port it has, as long as no other program has taken it.
    pub(super) fn choose_port(
        &self,
    ) -> impl Future<Output = Result<ChosenPort, NotStarted>> + use<> {
        let (ports, old, wanted) = (self.ports.clone(), self.lease.clone(), self.port);
        async move {
            match blocking(move || choose(&ports, old, wanted)).await {
                Ok(chosen) => chosen.map_err(|e| NotStarted::NoPort(e.to_string())),
                Err(error) => Err(NotStarted::Other(error.to_string())),
            }
        }
    }

    pub(super) fn take_port(&mut self, chosen: ChosenPort, ctx: &mut Context<Self>) -> u16 {
        let port = chosen.lease.port();
        let is_another = self.lease.as_ref().is_none_or(|lease| lease.port() != port);
        self.lease = Some(chosen.lease);
        self.port = Some(port);
        if is_another {
            self.port_warning = None;
        }
        if let Some(taken) = chosen.taken {
            self.warn_of_stranger(taken, port, ctx);
        }
        port
    }

    fn warn_of_stranger(&mut self, taken: u16, port: u16, ctx: &mut Context<Self>) {
        let id = self.spec.id.clone();
        let search = blocking(move || {
            // One that is bound and does not listen yet is in no table.
            let holder = port_holder::find(taken)
                .map_or_else(|| "another program".to_owned(), |holder| holder.to_string());
            format!("port {taken} of {id} is taken by {holder}: it has port {port} now")
        });
        ctx.spawn(search.into_actor(self).map(|warning, this, _| {
            this.port_warning = warning.ok();
            this.report(None);
        }));
    }
}

/// Blocks: a search may try each port of the range.
fn choose(
    ports: &Ports,
    old: Option<Arc<PortLease>>,
    wanted: Option<u16>,
) -> Result<ChosenPort, PortsExhausted> {
    let lost = match old {
        Some(lease) if lease.is_free() => return Ok(ChosenPort { lease, taken: None }),
        // Held until there is another one: the search passes its port over.
        lost => lost,
    };
    let Leased { lease, taken } = ports.lease(wanted)?;
    Ok(ChosenPort {
        lease: Arc::new(lease),
        taken: lost.map(|lease| lease.port()).or(taken),
    })
}
