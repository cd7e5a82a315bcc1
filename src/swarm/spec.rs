//! [`ServiceSpec`]: what a Service actor runs, and what an engine is told of it (pure).

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use bollard::models;
use sha2::{Digest, Sha256};

use super::image::manifest::architecture;
use super::labels;
use super::meter::{MEASURE, Mark};
use super::settings::VolumeDriver;
use crate::document::config::{HealthCheck, StopPolicy, StopTo};
use crate::document::limits::Limits;
use crate::document::name::AppName;
use crate::document::shell::Shell;
use crate::supervision::Restart;

/// The port that a process is told to listen on: it has a network of its own.
const PORT: u16 = 8000;

/// How long the swarm waits before it runs a process again.
const DELAY: Duration = Duration::from_secs(1);

/// How often a container tells what it uses, seconds.
const TELLS_EACH: u64 = 15;

/// The processes of a container that are ours: the first one, what measures, and its sleep(1).
const OWN_TASKS: u32 = 3;

/// The first process of each container. Signals reach all others, and it ends when none is left; the kernel gives a
/// signal to the first process of a container only if that has asked for it, so the command itself must not be that.
/// A signal interrupts wait(1), which then has another code than the command's, so it is asked again.
/// What a shell starts beside itself ignores two signals, of which one may be the one to stop it (env(1) undoes that).
/// Arguments: the signal's name, `all` or `main`, the shell, the command, and, where its container tells what it uses, the
/// mark and a definition of `measured`. What tells that is a session of its own: it ends as one, and whatever the signal is.
/// No variable is set before the command begins: the environment may have one of the name. No set-id file gives it rights,
/// where the image has setpriv(1).
const INIT: &str = r#"
signal=$1 to=$2 shell=$3 command=$4
stopping= hit= code=
stop() { stopping=1 hit=1; case $to in main) kill -s "$signal" "$main";; *) kill -s "$signal" -- -1;; esac; }
env --default-signal=INT,QUIT $(command -v setpriv >/dev/null && echo setpriv --no-new-privs) "$shell" -c "$command" &
main=$!
trap 'stop 2>/dev/null' "$signal"
meter=
if [ -n "$5" ] && command -v setsid >/dev/null; then
  setsid /bin/sh -c "$6"'while :; do measured "$1" up; sleep "$2"; done' meter "$5" "$7" &
  meter=$!
fi
last() { if [ -n "$meter" ]; then measured "$1" end; fi; }
eval "$6"
while :; do
  hit=
  wait "$main"; now=$?
  [ "$now" = 127 ] && [ -n "$code" ] || code=$now
  [ -z "$hit" ] && break
done
if [ -z "$stopping" ]; then last "$5"; exit "$code"; fi
[ "$to" = main ] && kill -s "$signal" -- -1 2>/dev/null
while
  # Until it has begun to be a session it cannot be ended.
  [ -n "$meter" ] && kill -s KILL -- "-$meter" 2>/dev/null
  kill -s 0 -- -1 2>/dev/null
do sleep 0.1; done
last "$5"
exit "$code"
"#;

/// What a Service actor runs. Fixed for its life, but for how many there are.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    /// The server that it is of.
    pub server: String,
    pub app: AppName,
    pub release: u64,
    pub commit: String,
    /// The activation it belongs to: two sets of processes of one release differ in it.
    pub batch: u64,
    /// `web`.
    pub process_type: String,
    /// How many processes there are to begin with.
    pub quantity: u64,
    pub shell: Shell,
    /// For its `-c`.
    pub command: String,
    pub directory: PathBuf,
    /// Reference of the image, by digest.
    pub image: String,
    /// Which nodes it may run on, as the settings have it.
    pub constraints: Vec<String>,
    /// Who makes its volumes, if not each node itself.
    pub volume_driver: Option<VolumeDriver>,
    /// Numbers of user and group; `None`: those of the image.
    pub user: Option<(u32, u32)>,
    /// Numbers of its other groups.
    pub groups: Vec<u32>,
    pub environment: BTreeMap<String, String>,
    /// Directories that outlive the container, each with the name of its volume.
    pub volumes: Vec<(String, PathBuf)>,
    /// Directories in memory.
    pub temporary: Vec<PathBuf>,
    /// Whether the proxy routes to it.
    pub routed: bool,
    pub limits: Limits,
    pub health: HealthCheck,
    pub stop: StopPolicy,
    pub restart: Restart,
    /// Whether its containers tell what they use, among what they print.
    pub is_measured: bool,
}

impl ServiceSpec {
    /// The name of the service. A swarm takes no more than 63 characters.
    #[must_use]
    pub fn name(&self) -> String {
        let (app, kind) = (self.app.as_str(), self.process_type.as_str());
        let mut hash = Sha256::new();
        for text in [&self.server, app, kind, &self.release.to_string()] {
            hash.update(text);
            hash.update([0]);
        }
        let digest = hash.finalize();
        let digest: String = digest[..4].iter().map(|b| format!("{b:02x}")).collect();
        format!("ps-{app:.16}-{kind:.10}-{}-{digest}", self.batch)
    }

    /// What lines have in them by which its containers tell what they use.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark::of(&self.server, &self.name())
    }

    /// The id of its process of this number.
    #[must_use]
    pub fn process(&self, number: u64) -> String {
        format!("{}.{number}", self.process_type)
    }

    /// What an engine is told, for so many processes.
    #[must_use]
    pub fn for_engine(&self, replicas: u64) -> models::ServiceSpec {
        models::ServiceSpec {
            name: Some(self.name()),
            labels: Some(self.labels()),
            task_template: Some(models::TaskSpec {
                container_spec: Some(self.container()),
                resources: Some(self.resources()),
                restart_policy: Some(self.restart_policy()),
                placement: Some(placement(&self.constraints)),
                log_driver: Some(log_driver()),
                ..Default::default()
            }),
            mode: Some(models::ServiceSpecMode {
                replicated: Some(models::ServiceSpecModeReplicated {
                    replicas: i64::try_from(replicas).ok(),
                }),
                ..Default::default()
            }),
            // Only after somebody else has changed it.
            update_config: Some(models::ServiceSpecUpdateConfig {
                parallelism: Some(1),
                order: Some(models::ServiceSpecUpdateConfigOrderEnum::START_FIRST),
                ..Default::default()
            }),
            endpoint_spec: self.routed.then(|| models::EndpointSpec {
                ports: Some(vec![models::EndpointPortConfig {
                    protocol: Some(models::EndpointPortConfigProtocolEnum::TCP),
                    target_port: Some(i64::from(PORT)),
                    publish_mode: Some(models::EndpointPortConfigPublishModeEnum::HOST),
                    ..Default::default()
                }]),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn labels(&self) -> HashMap<String, String> {
        [
            (labels::SERVER, self.server.clone()),
            (labels::APP, self.app.to_string()),
            (labels::RELEASE, self.release.to_string()),
            (labels::BATCH, self.batch.to_string()),
            (labels::TYPE, self.process_type.clone()),
        ]
        .map(|(label, value)| (label.to_owned(), value))
        .into()
    }

    fn container(&self) -> models::TaskSpecContainerSpec {
        let signal = signal_name(self.stop.signal);
        let to = match self.stop.to {
            StopTo::All => "all",
            StopTo::Main => "main",
        };
        let (mark, each) = (self.mark(), TELLS_EACH.to_string());
        let measure = match self.is_measured {
            true => [mark.as_str(), MEASURE, &each],
            false => ["", "", ""],
        };
        let command = [
            "/bin/sh",
            "-c",
            INIT,
            "init",
            signal.trim_start_matches("SIG"),
            to,
            self.shell.path(),
            &self.command,
        ];
        let command = command.iter().chain(&measure);
        models::TaskSpecContainerSpec {
            image: Some(self.image.clone()),
            command: Some(command.copied().map(str::to_owned).collect()),
            env: Some(self.env()),
            dir: Some(self.directory.to_string_lossy().into_owned()),
            user: self.user.map(|(uid, gid)| format!("{uid}:{gid}")),
            groups: Some(self.groups.iter().map(u32::to_string).collect()),
            mounts: Some(self.mounts()),
            stop_signal: Some(signal.to_owned()),
            stop_grace_period: i64::try_from(self.stop.timeout.as_nanos()).ok(),
            capability_drop: Some(vec!["ALL".to_owned()]),
            ulimits: self.limits.files.map(|files| {
                vec![models::ResourcesUlimits {
                    name: Some("nofile".to_owned()),
                    soft: Some(i64::from(files)),
                    hard: Some(i64::from(files)),
                }]
            }),
            ..Default::default()
        }
    }

    /// `NAME=value`; the swarm itself puts in what differs between the processes of a service.
    fn env(&self) -> Vec<String> {
        let id = format!("{}.{{{{.Task.Slot}}}}", self.process_type);
        let own = [
            ("PS", id.clone()),
            ("PROCSERVER_APP", self.app.to_string()),
            ("PROCSERVER_PROCESS", id),
            ("PROCSERVER_RELEASE", self.release.to_string()),
            ("PROCSERVER_COMMIT", self.commit.clone()),
            ("PORT", PORT.to_string()),
        ];
        let is_own = |name: &str| own.iter().any(|(known, _)| *known == name);
        let given = self.environment.iter().filter(|(name, _)| !is_own(name));
        let given = given.map(|(name, value)| format!("{name}={}", literally(value)));
        let own_too = own.iter().map(|(name, value)| format!("{name}={value}"));
        given.chain(own_too).collect()
    }

    fn mounts(&self) -> Vec<models::Mount> {
        let volumes = self.volumes.iter().map(|(name, place)| models::Mount {
            target: Some(place.to_string_lossy().into_owned()),
            source: Some(name.clone()),
            typ: Some(models::MountType::VOLUME),
            volume_options: self.volume_options(),
            ..Default::default()
        });
        let temporary = self.temporary.iter().map(|place| models::Mount {
            target: Some(place.to_string_lossy().into_owned()),
            typ: Some(models::MountType::TMPFS),
            tmpfs_options: Some(models::MountTmpfsOptions {
                mode: Some(0o1777),
                ..Default::default()
            }),
            ..Default::default()
        });
        volumes.chain(temporary).collect()
    }

    fn volume_options(&self) -> Option<models::MountVolumeOptions> {
        let VolumeDriver { name, options } = self.volume_driver.clone()?;
        Some(models::MountVolumeOptions {
            driver_config: Some(models::MountVolumeOptionsDriverConfig {
                name: Some(name),
                options: Some(options.into_iter().collect()),
            }),
            ..Default::default()
        })
    }

    fn resources(&self) -> models::TaskSpecResources {
        models::TaskSpecResources {
            limits: Some(models::Limit {
                nano_cpus: self.limits.cpu.map(|cpu| i64::from(cpu) * 1_000_000),
                memory_bytes: self
                    .limits
                    .memory
                    .and_then(|bytes| i64::try_from(bytes).ok()),
                pids: self
                    .limits
                    .tasks
                    .map(|tasks| i64::from(tasks) + i64::from(OWN_TASKS)),
            }),
            ..Default::default()
        }
    }

    fn restart_policy(&self) -> models::TaskSpecRestartPolicy {
        use models::TaskSpecRestartPolicyConditionEnum as Condition;
        models::TaskSpecRestartPolicy {
            condition: Some(match self.restart {
                Restart::Permanent => Condition::ANY,
                Restart::Transient => Condition::ON_FAILURE,
                Restart::Temporary => Condition::NONE,
            }),
            delay: i64::try_from(DELAY.as_nanos()).ok(),
            ..Default::default()
        }
    }
}

/// An architecture as swarms compare them, to which amd64 is x86_64 and arm64 is aarch64. A machine with ARM of 32 bits
/// tells its version (`armv7l`), and nothing that is equal to it.
fn platform(name: &str) -> Option<&str> {
    Some(architecture(name)).filter(|name| *name != "arm")
}

/// What a node keeps of what a container prints: this server reads it more slowly than it may be written, and is not always
/// there. By itself an engine keeps all of it.
fn log_driver() -> models::TaskSpecLogDriver {
    let options = [("max-size", "100m"), ("max-file", "3")];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    models::TaskSpecLogDriver {
        name: Some("json-file".to_owned()),
        options: Some(options.into()),
    }
}

/// The image is of this machine's kind, and so are the nodes that it runs on: others would start it again and again.
pub(super) fn placement(constraints: &[String]) -> models::TaskSpecPlacement {
    models::TaskSpecPlacement {
        constraints: Some(constraints.to_vec()),
        platforms: Some(vec![models::Platform {
            architecture: platform(std::env::consts::ARCH).map(str::to_owned),
            os: Some("linux".to_owned()),
        }]),
        ..Default::default()
    }
}

/// The swarm replaces what is between double braces; these stand for themselves.
fn literally(value: &str) -> String {
    value.replace("{{", r#"{{"{{"}}"#)
}

fn signal_name(signal: i32) -> &'static str {
    nix::sys::signal::Signal::try_from(signal).map_or("SIGTERM", nix::sys::signal::Signal::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn example() -> ServiceSpec {
        ServiceSpec {
            server: "0123".to_owned(),
            app: AppName::parse("shop").unwrap(),
            release: 3,
            commit: "c0ffee".to_owned(),
            batch: 7,
            process_type: "web".to_owned(),
            quantity: 2,
            shell: Shell::default(),
            command: "./web".to_owned(),
            directory: "/releases/3".into(),
            image: "host/shop@sha256:00".to_owned(),
            constraints: vec!["node.role==worker".to_owned()],
            volume_driver: None,
            user: Some((1001, 1002)),
            groups: vec![],
            environment: BTreeMap::from([
                ("GREETING".to_owned(), "{{.Node.ID}}".to_owned()),
                ("PORT".to_owned(), "1".to_owned()),
            ]),
            volumes: vec![("shop-storage".to_owned(), "/storage".into())],
            temporary: vec!["/tmp/shop".into()],
            routed: true,
            limits: Limits {
                memory: Some(1 << 29),
                cpu: Some(1500),
                tasks: Some(20),
                files: Some(100),
            },
            health: HealthCheck::default(),
            stop: StopPolicy::default(),
            restart: Restart::Permanent,
            is_measured: true,
        }
    }

    #[test]
    fn what_users_write_is_not_a_template_and_what_is_ours_wins() {
        let env = example().env();
        assert!(
            env.contains(&r#"GREETING={{"{{"}}.Node.ID}}"#.to_owned()),
            "{env:?}"
        );
        assert!(env.contains(&"PS=web.{{.Task.Slot}}".to_owned()), "{env:?}");
        let ports: Vec<_> = env.iter().filter(|v| v.starts_with("PORT=")).collect();
        assert_eq!(ports, ["PORT=8000"]);
    }

    #[test]
    fn processes_run_on_nodes_of_this_machine_s_kind_and_those_that_are_wanted() {
        let told = example().for_engine(1).task_template.unwrap();
        let told = told.placement.unwrap();
        assert_eq!(told.constraints.unwrap(), ["node.role==worker"]);
        let of = &told.platforms.unwrap()[0];
        assert_eq!(of.os.as_deref(), Some("linux"));
        assert_eq!(of.architecture.as_deref(), platform(std::env::consts::ARCH));
        assert_eq!(platform("x86_64"), Some("amd64"));
        assert_eq!(platform("aarch64"), Some("arm64"));
        assert_eq!(platform("arm"), None);
    }

    #[test]
    fn a_node_keeps_a_bounded_part_of_what_is_printed() {
        let driver = example().for_engine(1).task_template.unwrap().log_driver;
        let options = driver.unwrap().options.unwrap();
        assert_eq!(
            (&*options["max-size"], &*options["max-file"]),
            ("100m", "3")
        );
    }

    #[test]
    fn names_of_the_longest_apps_are_short_enough_and_differ() {
        let long = "a".repeat(63);
        let spec = ServiceSpec {
            app: AppName::parse(&long).unwrap(),
            process_type: "b".repeat(63),
            batch: u64::MAX / 2,
            ..example()
        };
        assert!(spec.name().len() <= 63, "{}", spec.name());
        let other = ServiceSpec {
            process_type: "b".repeat(62),
            ..spec.clone()
        };
        assert_ne!(spec.name(), other.name());
    }

    #[test]
    fn limits_and_port_are_told_as_an_engine_counts_them() {
        let told = example().for_engine(4);
        let template = told.task_template.unwrap();
        let limits = template.resources.unwrap().limits.unwrap();
        assert_eq!(limits.nano_cpus, Some(1_500_000_000));
        assert_eq!(
            (limits.memory_bytes, limits.pids),
            (Some(1 << 29), Some(23))
        );
        let ports = told.endpoint_spec.unwrap().ports.unwrap();
        assert_eq!(ports[0].target_port, Some(8000));
        assert_eq!(ports[0].published_port, None);
        assert_eq!(
            template.container_spec.unwrap().user.as_deref(),
            Some("1001:1002")
        );
    }
}
