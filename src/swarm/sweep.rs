//! What servers before this one have left on the swarm when they were killed: chores that nobody waits for any more, and
//! records of services that are gone.

use std::collections::BTreeSet;
use std::time::Duration;

use actix_rt::task::spawn_blocking;
use bollard::models::Service;

use super::client::EngineError;
use super::labels;
use super::swarm::Swarm;

/// How long is waited after the swarm could not be listed.
const PAUSE: Duration = Duration::from_secs(10);

impl Swarm {
    /// Removes it; tries until the swarm can be listed.
    pub async fn sweep(&self) {
        while let Err(error) = self.sweep_once().await {
            log::debug!("swarm: what servers before this one have left is not removed: {error}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn sweep_once(&self) -> Result<(), EngineError> {
        let known = self.known.clone();
        // Read first: the service of a record that is written meanwhile may not be listed.
        let recorded = spawn_blocking(move || known.names()).await;
        let label = format!("{}={}", labels::SERVER, self.server);
        let services = self.client.services(&label).await?;
        for id in former_chores(&services, &self.chores_prefix) {
            self.client.remove(id).await?;
        }
        let gone = gone(recorded.unwrap_or_default(), &services);
        let known = self.known.clone();
        let forget = move || gone.iter().for_each(|name| known.forget(name));
        // What is not forgotten now is by the next server.
        let _forgotten = spawn_blocking(forget).await;
        Ok(())
    }
}

/// The ids of chores that another server has begun: the runs of this one have the prefix (pure).
fn former_chores<'s>(services: &'s [Service], prefix: &str) -> Vec<&'s str> {
    let is_former = |service: &&Service| {
        let labels = service.spec.as_ref().and_then(|spec| spec.labels.as_ref());
        let run = labels.and_then(|labels| labels.get(labels::CHORE));
        run.is_some_and(|run| !run.starts_with(prefix))
    };
    let former = services.iter().filter(is_former);
    former.filter_map(|service| service.id.as_deref()).collect()
}

/// The names without a service (pure).
fn gone(names: Vec<String>, services: &[Service]) -> Vec<String> {
    let specs = services.iter().filter_map(|service| service.spec.as_ref());
    let there: BTreeSet<&str> = specs.filter_map(|spec| spec.name.as_deref()).collect();
    let is_gone = |name: &String| !there.contains(name.as_str());
    names.into_iter().filter(is_gone).collect()
}

#[cfg(test)]
mod tests {
    use bollard::models::ServiceSpec;

    use super::*;

    fn service(name: &str, label: &str, value: &str) -> Service {
        Service {
            id: Some(format!("id of {name}")),
            spec: Some(ServiceSpec {
                name: Some(name.to_owned()),
                labels: Some([(label.to_owned(), value.to_owned())].into()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn chores_of_servers_before_are_left_and_neither_those_of_this_one_nor_processes() {
        let services = [
            service("mine", labels::CHORE, "b.1"),
            service("left", labels::CHORE, "a.1"),
            // Of a version that knew no prefix.
            service("old", labels::CHORE, "18f2"),
            service("web", labels::TYPE, "web"),
        ];
        assert_eq!(former_chores(&services, "b."), ["id of left", "id of old"]);
    }

    #[test]
    fn a_record_whose_service_is_gone_is_forgotten() {
        let services = [service("web-2", labels::TYPE, "web")];
        let names = ["web-1", "web-2"].map(str::to_owned).to_vec();
        assert_eq!(gone(names, &services), ["web-1"]);
    }
}
