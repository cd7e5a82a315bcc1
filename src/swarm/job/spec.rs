//! [`JobSpec`]: what runs once, and what an engine is told of it (pure).

use std::collections::HashMap;

use bollard::models;

use crate::swarm::labels;
use crate::swarm::spec::ServiceSpec;

/// What runs once: as a service would run it, but for how often.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// Its batch is the number of the job.
    pub service: ServiceSpec,
    /// `run.3`.
    pub id: String,
    /// As it was written: what its shell is given may begin with more.
    pub command: String,
}

impl JobSpec {
    /// The name of its service. Services of a type have names without the first part.
    #[must_use]
    pub fn name(&self) -> String {
        format!("job-{}", self.service.name())
    }

    /// What an engine is told. It is no replicated job of the swarm: engines of 20.10, which Debian has, let the task of
    /// one run on that is removed.
    #[must_use]
    pub fn for_engine(&self) -> models::ServiceSpec {
        let mut told = self.service.for_engine(1);
        told.name = Some(self.name());
        told.labels = Some(self.labels());
        told.endpoint_spec = None;
        if let Some(template) = &mut told.task_template {
            // Somebody may wait for all of its output, however much; it goes with the job.
            template.log_driver = None;
            template.restart_policy = Some(models::TaskSpecRestartPolicy {
                condition: Some(models::TaskSpecRestartPolicyConditionEnum::NONE),
                ..Default::default()
            });
            if let Some(container) = &mut template.container_spec {
                container.env = container.env.take().map(|env| self.env(env));
                // By them its task is known once the service is gone.
                container.labels = Some(self.labels());
            }
        }
        told
    }

    fn labels(&self) -> HashMap<String, String> {
        let service = &self.service;
        [
            (labels::SERVER, service.server.clone()),
            (labels::APP, service.app.to_string()),
            (labels::RELEASE, service.release.to_string()),
            (labels::TYPE, service.process_type.clone()),
            (labels::JOB, service.batch.to_string()),
            (labels::PROCESS, self.id.clone()),
        ]
        .map(|(label, value)| (label.to_owned(), value))
        .into()
    }

    /// The environment of a process, with a name that no number ends and without a port.
    fn env(&self, of_service: Vec<String>) -> Vec<String> {
        let name_of = |pair: &String| pair.split('=').next().unwrap_or_default().to_owned();
        let own = ["PS", "PROCSERVER_PROCESS", "PORT"];
        let others = of_service.into_iter();
        let others = others.filter(|pair| !own.contains(&name_of(pair).as_str()));
        let named = ["PS", "PROCSERVER_PROCESS"].map(|name| format!("{name}={}", self.id));
        others.chain(named).collect()
    }
}
