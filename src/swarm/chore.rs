//! [`Chore`]: what the engines of all nodes are to remove: volumes, and images that nothing needs any more.
//!
//! A manager has no call for volumes and images of other nodes, so a global service has a task on each: of an image that
//! nodes have already, which asks the node's engine by its socket. The alternative, to clear a volume through a mount, would leave it
//! there, empty, and make it on nodes that never had it. What opens the socket is root on its node: the task runs our
//! script alone, by perl of Debian's perl-base, and nothing of an app: layers of releases hold no more than the directories
//! of these. What it removes is named by this server's own records, in arguments that no shell reads.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bollard::models;
use sha2::{Digest, Sha256};

use super::client::EngineError;
use super::constraint::fits;
use super::image::Image;
use super::labels;
use super::spec::placement;
use super::swarm::Swarm;
use crate::document::name::AppName;
use crate::failpoint;

/// How long all nodes may take: one may have to fetch the image, and to end what uses a volume.
const PATIENCE: Duration = Duration::from_mins(3);
/// Between two looks at it.
const GLANCE: Duration = Duration::from_secs(1);

/// Where the engine of a node listens, and where a task finds that.
const SOCKET: &str = "/var/run/docker.sock";
const SOCKET_INSIDE: &str = "/run/docker.sock";

/// What a task says by its code.
const IN_USE: i64 = 3;
const REFUSED: i64 = 4;

/// Arguments: `volume=NAME`, `repository=HOST/NAME`, and `keep=sha256:…` for what stays of that. A volume that something
/// still uses is tried for a minute; an image that is used stays. HTTP/1.0 has no chunks.
const SCRIPT: &str = r#"
use strict; use IO::Socket::UNIX;
sub ask {
  my ($method, $path) = @_;
  my $socket = IO::Socket::UNIX->new(Peer => "/run/docker.sock") or exit 4;
  print $socket "$method $path HTTP/1.0\r\nHost: engine\r\n\r\n";
  my $answer = do { local $/; <$socket> };
  my ($status, $body) = $answer =~ m{\AHTTP/1\.\d (\d\d\d).*?\r\n\r\n(.*)\z}s or exit 4;
  return ($status, $body);
}
my ($code, $repository, @volumes, %kept) = (0);
for (@ARGV) {
  if (/\Avolume=(.+)\z/) { push @volumes, $1 }
  elsif (/\Arepository=(.+)\z/) { $repository = $1 }
  elsif (/\Akeep=(.+)\z/) { $kept{$1} = 1 }
  else { exit 4 }
}
if ($repository) {
  my ($status, $body) = ask("GET", "/images/json");
  $code = 4 if $status != 200;
  my %found = map { $_ => 1 } $body =~ /"\Q$repository\E\@(sha256:[0-9a-f]{64})"/g;
  for my $digest (grep { !$kept{$_} } keys %found) { ask("DELETE", "/images/$repository\@$digest") }
}
my $end = time + 60;
for my $volume (@volumes) {
  while (1) {
    my ($status) = ask("DELETE", "/volumes/$volume");
    last if $status == 204 || $status == 404;
    if ($status != 409) { $code = 4; last }
    if (time > $end) { $code = 3; last }
    sleep 1;
  }
}
exit $code;
"#;

/// What is to be removed on all nodes.
#[derive(Clone, Debug)]
pub struct Chore {
    pub app: AppName,
    /// Names of volumes.
    pub volumes: Vec<String>,
    /// Whose images, but for those of the digests.
    pub images: Option<(String, Vec<String>)>,
}

impl Chore {
    fn name(&self, server: &str) -> String {
        let of = match self.volumes.is_empty() {
            true => "images",
            false => "volumes",
        };
        self.name_of(of, server)
    }

    fn name_of(&self, of: &str, server: &str) -> String {
        let app = self.app.as_str();
        // Names that begin alike are of two applications.
        let digest = Sha256::digest(app);
        let digest: String = digest[..4].iter().map(|b| format!("{b:02x}")).collect();
        format!("ps-{of}-{app:.32}-{digest}-{server:.8}")
    }

    /// Of what a server may have left that was killed meanwhile. An application whose volumes go has no next chore.
    fn left(&self, server: &str) -> Vec<String> {
        let own = self.name(server);
        match self.volumes.is_empty() {
            true => vec![own],
            false => vec![own, self.name_of("images", server)],
        }
    }

    fn arguments(&self) -> Vec<String> {
        let volumes = self.volumes.iter().map(|name| format!("volume={name}"));
        let images = self.images.iter().flat_map(|(repository, kept)| {
            let kept = kept.iter().map(|digest| format!("keep={digest}"));
            std::iter::once(format!("repository={repository}")).chain(kept)
        });
        volumes.chain(images).collect()
    }

    /// What a manager is told. It is no job of the swarm (a mode of services): engines of 20.10, which Debian has, keep the containers of one
    /// that is removed a while after its end. `run` tells the tasks of one attempt from those of others.
    fn for_engine(
        &self,
        server: &str,
        constraints: &[String],
        image: &str,
        run: &str,
    ) -> models::ServiceSpec {
        let program = ["/usr/bin/perl", "-e", SCRIPT, "--"].map(str::to_owned);
        let container = models::TaskSpecContainerSpec {
            image: Some(image.to_owned()),
            command: Some([&program[..], &self.arguments()].concat()),
            user: Some("0:0".to_owned()),
            capability_drop: Some(vec!["ALL".to_owned()]),
            read_only: Some(true),
            mounts: Some(vec![models::Mount {
                typ: Some(models::MountType::BIND),
                source: Some(SOCKET.to_owned()),
                target: Some(SOCKET_INSIDE.to_owned()),
                ..Default::default()
            }]),
            ..Default::default()
        };
        models::ServiceSpec {
            name: Some(self.name(server)),
            labels: Some(HashMap::from([
                (labels::SERVER.to_owned(), server.to_owned()),
                (labels::CHORE.to_owned(), run.to_owned()),
            ])),
            task_template: Some(models::TaskSpec {
                container_spec: Some(container),
                placement: Some(placement(constraints)),
                restart_policy: Some(models::TaskSpecRestartPolicy {
                    condition: Some(models::TaskSpecRestartPolicyConditionEnum::NONE),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            mode: Some(models::ServiceSpecMode {
                global: Some(HashMap::new()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }
}

/// Whether the image may run on a node. One of another kind has had no process of ours.
fn is_of_our_kind(node: &models::Node) -> bool {
    let platform = node.description.as_ref().and_then(|d| d.platform.as_ref());
    let kind = platform.and_then(|platform| platform.architecture.as_deref());
    // A machine with ARM of 32 bits tells its version.
    let own = std::env::consts::ARCH;
    kind.is_none_or(|kind| kind == own || own == "arm" && kind.starts_with("arm"))
}

/// Of each node by its name: `None` for one that is still at it, else why it has not done its part, if it has not.
type Progress = BTreeMap<String, Option<Result<(), String>>>;

/// How far the nodes are that the constraints let (pure).
fn progress(nodes: &[models::Node], tasks: &[models::Task], constraints: &[String]) -> Progress {
    let of = |node: &models::Node| {
        let name = node
            .description
            .as_ref()
            .and_then(|d| d.hostname.clone())
            .or_else(|| node.id.clone())
            .unwrap_or_default();
        let is_up =
            node.status.as_ref().and_then(|status| status.state) == Some(models::NodeState::READY);
        let is_active = node.spec.as_ref().and_then(|spec| spec.availability)
            == Some(models::NodeSpecAvailabilityEnum::ACTIVE);
        let mut of_node = tasks.iter().filter(|task| task.node_id == node.id);
        let status = match (is_up, is_active) {
            (false, _) => Some(Err("it is down".to_owned())),
            (_, false) => Some(Err("it takes no tasks (docker node ls)".to_owned())),
            _ => of_node.find_map(outcome),
        };
        (name, status)
    };
    let has_one = |node: &&models::Node| is_of_our_kind(node) && fits(node, constraints);
    nodes.iter().filter(has_one).map(of).collect()
}

fn outcome(task: &models::Task) -> Option<Result<(), String>> {
    use models::TaskState::{COMPLETE, FAILED, ORPHANED, REJECTED, REMOVE, SHUTDOWN};
    let status = task.status.as_ref()?;
    let code = status.container_status.as_ref().and_then(|c| c.exit_code);
    match status.state? {
        COMPLETE => Some(Ok(())),
        FAILED | REJECTED | SHUTDOWN | ORPHANED | REMOVE => Some(Err(match code {
            Some(IN_USE) => "something still uses them".to_owned(),
            Some(REFUSED) => format!("its engine does not do it by {SOCKET}"),
            _ => status.err.clone().unwrap_or_default(),
        })),
        _ => None,
    }
}

impl Swarm {
    /// The name of a volume of an app: `storage` or `home`.
    #[must_use]
    pub fn volume(server: &str, app: &AppName, what: &str) -> String {
        format!("procserver-{server}-{app}-{what}")
    }

    /// Has all nodes do their part. Returns those that have not, each with why.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn do_everywhere(
        &self,
        chore: &Chore,
        image: &Image,
    ) -> Result<Vec<(String, String)>, EngineError> {
        let name = chore.name(&self.server);
        for left in chore.left(&self.server) {
            self.client.remove(&left).await?;
        }
        let now = jiff::Timestamp::now().as_nanosecond();
        let run = format!("{}{now:x}", self.chores_prefix);
        let constraints = self.client.confined(&self.constraints).await?;
        let spec = chore.for_engine(&self.server, &constraints, &image.reference, &run);
        self.client.create(spec, image.credentials()).await?;
        failpoint::reach("a chore is created");
        let done = self.wait_for(&run, &constraints).await;
        self.client.remove(&name).await?;
        done
    }

    async fn wait_for(
        &self,
        run: &str,
        constraints: &[String],
    ) -> Result<Vec<(String, String)>, EngineError> {
        let label = format!("{}={run}", labels::CHORE);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let is_late = Instant::now() >= deadline;
            match self.look(&label, constraints).await {
                Ok(progress) if is_late || progress.values().all(Option::is_some) => {
                    let left = progress.into_iter().filter_map(|(node, outcome)| {
                        let late = || Err("it has not done it in time".to_owned());
                        Some((node, outcome.unwrap_or_else(late).err()?))
                    });
                    return Ok(left.collect());
                }
                Err(error) if is_late => return Err(error),
                // A manager that does not answer for a moment keeps no node from doing its part.
                Ok(_) | Err(_) => tokio::time::sleep(GLANCE).await,
            }
        }
    }

    /// How far the nodes are.
    async fn look(&self, label: &str, constraints: &[String]) -> Result<Progress, EngineError> {
        let nodes = self.client.nodes().await?;
        let tasks = self.client.tasks(label).await?;
        Ok(progress(&nodes, &tasks, constraints))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, state: models::NodeState) -> models::Node {
        models::Node {
            id: Some(format!("id of {name}")),
            description: Some(models::NodeDescription {
                hostname: Some(name.to_owned()),
                ..Default::default()
            }),
            spec: Some(models::NodeSpec {
                availability: Some(models::NodeSpecAvailabilityEnum::ACTIVE),
                ..Default::default()
            }),
            status: Some(models::NodeStatus {
                state: Some(state),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn task(node: &str, state: models::TaskState, code: i64) -> models::Task {
        models::Task {
            node_id: Some(format!("id of {node}")),
            status: Some(models::TaskStatus {
                state: Some(state),
                container_status: Some(models::ContainerStatus {
                    exit_code: Some(code),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn each_node_is_waited_for_but_those_that_are_down() {
        use models::{NodeState, TaskState};
        let nodes = ["a", "b", "c", "d"].map(|name| node(name, NodeState::READY));
        let down = node("e", NodeState::DOWN);
        let mut strange = node("f", NodeState::READY);
        let platform = models::Platform {
            architecture: Some("s390".to_owned()),
            ..Default::default()
        };
        strange.description.as_mut().unwrap().platform = Some(platform);
        let nodes = [&nodes[..], &[down, strange]].concat();
        let tasks = [
            task("a", TaskState::COMPLETE, 0),
            task("b", TaskState::FAILED, IN_USE),
            task("c", TaskState::RUNNING, 0),
        ];
        let told = progress(&nodes, &tasks, &[]);
        assert_eq!(told["a"], Some(Ok(())));
        assert_eq!(told["b"], Some(Err("something still uses them".to_owned())));
        assert_eq!((&told["c"], &told["d"]), (&None, &None));
        assert_eq!(told["e"], Some(Err("it is down".to_owned())));
        assert!(!told.contains_key("f"));
        // The others are not waited for where constraints hold only on some.
        let told = progress(&nodes, &tasks, &["node.hostname!=c".to_owned()]);
        assert_eq!(told["e"], Some(Err("it is down".to_owned())));
        assert!(told.contains_key("d") && !told.contains_key("c"));
    }

    #[test]
    fn what_is_removed_is_named_in_arguments_of_their_own() {
        let chore = Chore {
            app: AppName::parse(&"a".repeat(63)).unwrap(),
            volumes: vec!["v".to_owned()],
            images: Some(("host:1/a".to_owned(), vec!["sha256:00".to_owned()])),
        };
        let left = chore.left("0123456789abcdef");
        assert!(left.iter().all(|name| name.len() <= 63));
        let mut other = chore.clone();
        other.app = AppName::parse(&format!("{}b", "a".repeat(62))).unwrap();
        assert_ne!(left[0], other.name("0123456789abcdef"));
        assert!(left[0].starts_with("ps-volumes-") && left[1].starts_with("ps-images-"));
        let told = chore
            .for_engine("0123", &[], "image", "1")
            .task_template
            .unwrap();
        let command = told.container_spec.unwrap().command.unwrap();
        let last = ["volume=v", "repository=host:1/a", "keep=sha256:00"];
        assert_eq!(command[4..], last);
    }
}
