//! The port of a process: the one it had, else another, and who is to blame for that.

use actix::prelude::*;

use super::Process;
use crate::process::port_holder;
use crate::process::ports::PortsExhausted;

impl Process {
    /// The port it has, as long as no other program has taken it.
    pub(super) fn choose_port(&mut self, ctx: &mut Context<Self>) -> Result<u16, PortsExhausted> {
        if let Some(lease) = self.lease.as_ref().filter(|lease| lease.is_free()) {
            return Ok(lease.port());
        }
        let lost = self.lease.as_ref().map(|lease| lease.port());
        // The old lease is held until there is another one: the search passes its port over.
        let (lease, taken) = self.ports.lease(self.port)?;
        let port = lease.port();
        self.lease = Some(lease);
        self.port = Some(port);
        self.port_warning = None;
        if let Some(taken) = lost.or(taken) {
            self.warn_of_stranger(taken, port, ctx);
        }
        Ok(port)
    }

    fn warn_of_stranger(&mut self, taken: u16, port: u16, ctx: &mut Context<Self>) {
        let id = self.spec.id.clone();
        let search = tokio::task::spawn_blocking(move || {
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
