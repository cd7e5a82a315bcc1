//! What one app has and no other can: its port, and the names in `hosts`.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Apps, AppsError};
use crate::document::config::AppConfig;
use crate::document::name::AppName;
use crate::settings::value::PortRange;

impl Apps {
    /// Refuses a port or a name that another app or the server has.
    pub(super) fn check_claims(&self, config: &AppConfig) -> Result<(), AppsError> {
        self.check_port(config)?;
        self.check_hosts(config)
    }

    /// Makes what `config` claims its own while it is written, so that of two that claim the same only one gets it.
    pub(super) fn begin_claim(&mut self, config: &Arc<AppConfig>) {
        let name = config.name.clone();
        self.writing.insert(name, Arc::clone(config));
    }

    /// The document is written, and known, or it could not be written.
    pub(super) fn end_claim(&mut self, app: &AppName) {
        self.writing.remove(app);
    }

    /// The documents of the other apps, also those that are being written.
    fn others<'a>(&'a self, own: &'a AppName) -> impl Iterator<Item = &'a Arc<AppConfig>> {
        let known = self.apps.values().map(|entry| &entry.spec.config);
        let all = known.chain(self.writing.values());
        all.filter(move |config| config.name != *own)
    }

    /// Refuses a port that another app or the server listens on, or that processes are given.
    fn check_port(&self, config: &AppConfig) -> Result<(), AppsError> {
        let Some(port) = config.port else {
            return Ok(());
        };
        let mut others = self.others(&config.name);
        if let Some(other) = others.find(|other| other.port == Some(port)) {
            let owner = other.name.clone();
            return Err(AppsError::PortOfApp { port, owner });
        }
        let settings = &self.context.settings;
        let own = settings.listen.iter().chain(&settings.tls_listen);
        let mut own = own.chain(&settings.metrics_listen);
        if own.any(|address| address.port() == port) {
            return Err(AppsError::PortOfServer(port));
        }
        let PortRange { first, last } = settings.ports;
        if (first..=last).contains(&port) {
            return Err(AppsError::PortOfProcesses { port, first, last });
        }
        Ok(())
    }

    /// Refuses a name that another app has, or that always leads to the API.
    pub(super) fn check_hosts(&self, config: &AppConfig) -> Result<(), AppsError> {
        if config.hosts.is_empty() {
            return Ok(());
        }
        let reach = &self.context.settings.front.reach;
        let mut names = config.hosts.iter().map(|host| &host.name);
        if let Some(host) = names.find(|name| reach.is_api_host(name.as_str())) {
            return Err(AppsError::HostOfServer(host.clone()));
        }
        let wanted: HashSet<_> = config.hosts.iter().map(|host| &host.name).collect();
        for other in self.others(&config.name) {
            let mut names = other.hosts.iter().map(|host| &host.name);
            if let Some(host) = names.find(|name| wanted.contains(name)) {
                let (host, owner) = (host.clone(), other.name.clone());
                return Err(AppsError::HostOfApp { host, owner });
            }
        }
        Ok(())
    }
}
