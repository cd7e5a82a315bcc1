//! The route of the app: who answers its requests, and what they meet while nobody does.

use std::sync::Arc;

use super::App;
use crate::app::batch::Batch;
use crate::app::lifecycle::Wanted;
use crate::document::formation::ROUTED;
use crate::router::policies::Policies;
use crate::router::table::{Availability, Pool, Route, StaticFiles};

impl App {
    pub(super) fn publish(&mut self) {
        let route = (!self.deployer.is_removed()).then(|| self.route());
        self.policies = route.as_ref().and_then(|route| route.policies.clone());
        self.publisher.publish(route);
    }

    /// Takes requests again that [`Batch::close`] kept out, those among them that were held meanwhile: only a newer
    /// route has them look again.
    pub(super) fn let_through(&mut self) {
        self.serving().into_iter().for_each(Batch::reopen);
        self.publish();
    }

    fn route(&self) -> Route {
        let serving = self.serving();
        let documents = &self.deployer.documents;
        // While nothing serves, the document of the release that would serve says which requests are held or refused.
        let otherwise = match self.deployer.life.current() {
            Some(_) => documents.standing(),
            None => documents.newest(),
        };
        let config = serving.map_or(otherwise, |batch| &batch.runnable.config);
        let directory = serving.map(|batch| &batch.runnable.release.directory);
        let static_files = serving.and_then(|batch| batch.runnable.static_files());
        let static_files = static_files.zip(directory);
        // Nobody gets through while it is paused.
        let open = serving.filter(|_| self.pause.is_none());
        let backends = |of: &str| open.map(|batch| batch.backends(of)).unwrap_or_default();
        let pool = |process_type: &str| Pool {
            process_type: process_type.to_owned(),
            availability: self.availability(serving, process_type),
            backends: backends(process_type),
        };
        let root = directory.map(AsRef::as_ref);
        let policies = Policies::after(self.policies.as_ref(), &config.policies, root);
        let others = config.routed().into_iter().filter(|name| *name != ROUTED);
        Route {
            app: config.name.shared(),
            created: u64::try_from(self.deployer.created.as_microsecond()).unwrap_or(0),
            hosts: config.hosts.clone(),
            domain: config.domain.clone(),
            path: config.path,
            strip_path: config.strip_path,
            port: config.port,
            static_files: static_files.map(|(files, directory)| {
                Arc::new(StaticFiles {
                    root: directory.to_owned(),
                    dir: files.dir.clone(),
                    prefix: files.prefix.clone(),
                    spa: files.spa,
                    cache_control: files.cache_control.clone(),
                })
            }),
            buffer: config.buffer,
            policies,
            tls: config.tls,
            has_deployed: self.deployer.life.current().is_some(),
            availability: self.availability(serving, ROUTED),
            backends: backends(ROUTED),
            others: others.map(pool).collect(),
        }
    }

    fn availability(&self, serving: Option<&Batch>, process_type: &str) -> Availability {
        let life = &self.deployer.life;
        match serving {
            _ if !matches!(life.wanted(), Wanted::Running | Wanted::Asleep) => {
                Availability::Stopped
            }
            _ if life.wanted() == Wanted::Asleep && self.pause.is_none() => Availability::Asleep,
            Some(batch) if !batch.has_routed(process_type) => Availability::NoWeb,
            _ if let Some(pause) = &self.pause => Availability::Paused(pause.ends),
            Some(batch) if batch.is_down(process_type) => Availability::Crashed,
            Some(_) => Availability::Starting,
            None if life.active().is_some() => Availability::Starting,
            None if life.current().is_none() => Availability::Undeployed,
            None => Availability::Crashed,
        }
    }
}
