//! The swarm that applications may run on: its engine and nodes, and how images get there.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use bollard::models::{Node, NodeState};

use super::report::Finding;
use super::{bounded, machine};
use crate::document::target_url::TargetUrl;
use crate::settings::Settings;
use crate::swarm::about::{About, Lack, knock};
use crate::swarm::constraint::fits;
use crate::swarm::image::Origin;
use crate::swarm::image::registry::{Registry, RegistryError};
use crate::swarm::settings::SwarmSettings;
use crate::swarm::{Client, EngineError};

const ENGINE: &str = "swarm engine";
const NODES: &str = "swarm nodes";
const IMAGES: &str = "images for nodes";

/// What to do where nodes reach this server nowhere.
const NAME: &str = "name this server in api_hosts, with a certificate ([tls] or [acme]), or a registry in [engine.swarm]";

/// How long engine and registry may take.
const LIMIT: Duration = Duration::from_secs(5);

/// None where the settings name no swarm.
#[must_use]
pub fn checks(settings: &Settings) -> Vec<Finding> {
    let Some(swarm) = &settings.swarm else {
        return Vec::new();
    };
    let mut found = Vec::new();
    found.extend(access(&swarm.socket));
    let asked = ask(swarm);
    let nodes = match &asked {
        Ok((about, nodes)) => {
            found.push(engine(about));
            found.extend(of_nodes(about, nodes));
            found.extend(let_nobody(about, nodes, swarm));
            found.extend(machine::disk("disk of the engine", &about.directory));
            fetching(about, nodes, &swarm.constraints)
        }
        Err(lack) => {
            found.push(unanswered(lack, rustix::process::geteuid().is_root()));
            0
        }
    };
    found.push(images(swarm, nodes, &fetched(swarm)));
    if swarm.base_image.is_none() {
        let version = bounded::output("mmdebstrap", &["--version"]);
        found.push(mmdebstrap(version.as_deref()));
    }
    found
}

/// Asks the engine; what it lacks where it does not answer.
fn ask(swarm: &SwarmSettings) -> Result<(About, Vec<Node>), Lack> {
    let socket = swarm.socket.clone();
    let late = || Lack {
        what: format!("the engine at {} does not answer", swarm.socket.display()),
        todo: "\"journalctl -u docker\" says more".to_owned(),
    };
    bounded::work(move || knock(&socket)).unwrap_or_else(|| Err(late()))?;
    let client = Client::new(swarm.socket.clone());
    let asked = async {
        let about = client.about().await?;
        // Only a manager knows them.
        let nodes = match about.lack() {
            None => client.nodes().await?,
            Some(_) => Vec::new(),
        };
        Ok::<_, EngineError>((about, nodes))
    };
    let asked =
        actix_rt::System::new().block_on(async { tokio::time::timeout(LIMIT, asked).await });
    match asked {
        Ok(Ok(told)) => Ok(told),
        Ok(Err(error)) => Err(Lack {
            what: error.to_string(),
            ..late()
        }),
        Err(_) => Err(late()),
    }
}

/// Whether others may open the socket, and so be root on all nodes.
fn access(socket: &Path) -> Option<Finding> {
    let found = std::fs::metadata(socket).ok()?;
    let mode = found.permissions().mode() & 0o7777;
    (found.file_type().is_socket() && mode & 0o002 != 0).then(|| {
        Finding::warning(
            "socket of the engine",
            format!(
                "everybody can open {} (mode {mode:04o}), and so be root on all nodes",
                socket.display()
            ),
            format!(
                "type \"chmod o= {}\", and see who made it so (SocketMode= of docker.socket)",
                socket.display()
            ),
        )
    })
}

fn unanswered(lack: &Lack, is_root: bool) -> Finding {
    let is_closed = lack.what.contains("not for this user");
    match is_closed && !is_root {
        true => Finding::unseen(ENGINE, lack.what.clone(), "run \"sudo procserver doctor\""),
        false => Finding::poor(ENGINE, lack.what.clone(), lack.todo.clone()),
    }
}

fn engine(about: &About) -> Finding {
    match about.lack() {
        None => Finding::good(ENGINE, format!("{about}, a manager")),
        Some(Lack { what, todo }) => Finding::poor(ENGINE, what, todo),
    }
}

/// Nodes that run nothing: those that are down, and those of another architecture than this machine's images.
fn of_nodes(about: &About, nodes: &[Node]) -> Vec<Finding> {
    if nodes.is_empty() {
        return Vec::new();
    }
    let name = |node: &Node| {
        let description = node.description.as_ref();
        let name = description.and_then(|description| description.hostname.clone());
        name.or_else(|| node.id.clone()).unwrap_or_default()
    };
    let names = |those: &dyn Fn(&Node) -> bool| {
        let those = nodes.iter().filter(|node| those(node));
        those.map(name).collect::<Vec<_>>().join(", ")
    };
    let down = names(&|node| {
        let state = node.status.as_ref().and_then(|status| status.state);
        state != Some(NodeState::READY)
    });
    let other = names(&|node| {
        let description = node.description.as_ref();
        let platform = description.and_then(|description| description.platform.as_ref());
        let architecture = platform.and_then(|platform| platform.architecture.as_ref());
        architecture.is_some_and(|architecture| *architecture != about.architecture)
    });
    let mut found = Vec::new();
    if !down.is_empty() {
        found.push(Finding::warning(
            NODES,
            format!("not ready: {down}"),
            "start their engines, or take them out (docker node rm --force NODE)",
        ));
    }
    if !other.is_empty() {
        found.push(Finding::warning(
            NODES,
            format!(
                "of another architecture than {}, so they run no application: {other}",
                about.architecture
            ),
            "nothing, if they are for other services",
        ));
    }
    if found.is_empty() {
        found.push(Finding::good(NODES, format!("{}, all ready", nodes.len())));
    }
    found
}

/// Constraints that hold on no node that gets images: nothing would start.
fn let_nobody(about: &About, nodes: &[Node], swarm: &SwarmSettings) -> Option<Finding> {
    let is_alone = swarm.images.is_on_loopback();
    let gets_images = |node: &&Node| !is_alone || node.id.as_ref() == Some(&about.node);
    let mut asked = nodes.iter().filter(gets_images).peekable();
    let is_any = asked.peek().is_none() || asked.any(|node| fits(node, &swarm.constraints));
    (!is_any).then(|| {
        Finding::poor(
            NODES,
            format!("constraints let none: {}", swarm.constraints.join(", ")),
            "change constraints in [engine.swarm] (procserver.toml), or give a node what they ask for (docker node update --label-add)",
        )
    })
}

/// What came of asking for images as a node does; `None`: nobody has an address to ask.
type Fetched = Option<Answered>;

enum Answered {
    /// With this status.
    Status(u16),
    /// So, by plain HTTP, which a node takes only where it is told to.
    InClear,
    Not(RegistryError),
}

fn fetched(swarm: &SwarmSettings) -> Fetched {
    let here = |scheme: &str, host: &str| {
        let url = TargetUrl::parse(&format!("{scheme}://{host}/"), &[scheme]);
        url.ok().map(Registry::new)
    };
    match &swarm.images {
        Origin::Here(None) => None,
        Origin::Registry(registry) => Some(look(registry)),
        Origin::Here(Some(host)) if swarm.images.is_on_loopback() => {
            here("http", host).as_ref().map(look)
        }
        // An engine tries HTTPS first, too.
        Origin::Here(Some(host)) => match here("https", host).as_ref().map(look)? {
            Answered::Not(error) => match here("http", host).as_ref().map(look)? {
                Answered::Status(401) => Some(Answered::InClear),
                _ => Some(Answered::Not(error)),
            },
            answered => Some(answered),
        },
    }
}

fn look(registry: &Registry) -> Answered {
    let late = || {
        let why = format!("no answer in {} s", LIMIT.as_secs());
        RegistryError::Unreachable(registry.host(), why)
    };
    let look = async { tokio::time::timeout(LIMIT, registry.look()).await };
    let looked = actix_rt::System::new().block_on(look);
    match looked.unwrap_or_else(|_| Err(late())) {
        Ok(status) => Answered::Status(status),
        Err(error) => Answered::Not(error),
    }
}

/// How many nodes fetch images: this machine's, and others that the constraints let.
fn fetching(about: &About, nodes: &[Node], constraints: &[String]) -> usize {
    let is_other = |node: &&Node| node.id.as_ref() != Some(&about.node);
    let others = nodes.iter().filter(is_other);
    1 + others.filter(|node| fits(node, constraints)).count()
}

fn images(swarm: &SwarmSettings, nodes: usize, fetched: &Fetched) -> Finding {
    match (&swarm.images, fetched) {
        (Origin::Registry(registry), Some(answered)) => in_registry(registry, answered),
        (Origin::Here(Some(host)), Some(_)) if swarm.images.is_on_loopback() && nodes > 1 => {
            let found = format!(
                "only this machine's engine reaches {host}, so processes run on this machine alone, of {nodes} nodes"
            );
            Finding::warning(IMAGES, found, NAME)
        }
        (Origin::Here(Some(host)), Some(answered)) => from_here(host, answered),
        _ => Finding::poor(
            IMAGES,
            "no node reaches this server, so none gets an image",
            NAME,
        ),
    }
}

fn in_registry(registry: &Registry, answered: &Answered) -> Finding {
    let host = registry.host();
    match answered {
        // A registry's URL says itself that it is by plain HTTP.
        Answered::Status(200) | Answered::InClear => {
            Finding::good(IMAGES, format!("in the registry {host}, which answers"))
        }
        Answered::Status(status) => Finding::poor(
            IMAGES,
            format!("the registry {host} answers {status}"),
            "look at user and password in registry of [engine.swarm]",
        ),
        Answered::Not(error) => Finding::poor(
            IMAGES,
            error.to_string(),
            "look at registry in [engine.swarm] and at the registry itself; registry_ca names certificates of your own",
        ),
    }
}

fn from_here(host: &str, answered: &Answered) -> Finding {
    let why = match answered {
        Answered::Status(401 | 200) => {
            return Finding::good(IMAGES, format!("nodes fetch them at {host}"));
        }
        Answered::InClear => {
            let found = format!(
                "nodes fetch them at {host} by plain HTTP, which an engine refuses by itself"
            );
            let todo = format!(
                "give the server a certificate ([tls] or [acme]), or name {host} in insecure-registries of each node's \
                 /etc/docker/daemon.json"
            );
            return Finding::warning(IMAGES, found, todo);
        }
        Answered::Not(error) => error.to_string(),
        Answered::Status(status) => format!("it answers {status}"),
    };
    Finding::warning(
        IMAGES,
        format!("nodes fetch them at {host}, which does not answer here as it should: {why}"),
        format!(
            "start the server, and look at the name and its certificate; one of an authority of your own is believed here by \
             update-ca-certificates, and on each node by /etc/docker/certs.d/{host}/ca.crt"
        ),
    )
}

/// `version`: what `mmdebstrap --version` prints.
fn mmdebstrap(version: Option<&str>) -> Finding {
    match version {
        Some(version) => Finding::good("mmdebstrap", version),
        None => Finding::poor(
            "mmdebstrap",
            "it is not there, so no image is made",
            "type \"apt-get install mmdebstrap\"",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::net::UnixListener;

    use bollard::models::{NodeDescription, NodeStatus, Platform};

    use super::super::report::Level;
    use super::*;
    use crate::swarm::about::Part;

    fn swarm(images: Origin) -> SwarmSettings {
        SwarmSettings {
            socket: "/run/docker.sock".into(),
            images,
            base_image: None,
            registry_ca: None,
            constraints: Vec::new(),
            volumes: None,
        }
    }

    fn about(part: Part) -> About {
        About {
            name: "nas".into(),
            version: "20.10.24".into(),
            api: "1.41".into(),
            architecture: "x86_64".into(),
            directory: "/var/lib/docker".into(),
            part,
            node: "id".into(),
        }
    }

    fn node(name: &str, state: NodeState, architecture: &str) -> Node {
        Node {
            description: Some(NodeDescription {
                hostname: Some(name.into()),
                platform: Some(Platform {
                    architecture: Some(architecture.into()),
                    os: Some("linux".into()),
                }),
                ..Default::default()
            }),
            status: Some(NodeStatus {
                state: Some(state),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn an_engine_is_a_manager_or_missing() {
        assert_eq!(engine(&about(Part::Manager)).level, Level::Ok);
        let none = engine(&about(Part::None));
        assert_eq!(none.level, Level::Missing);
        assert!(none.todo.unwrap().contains("docker swarm init"));
        let closed = Lack {
            what: "/s is not for this user".into(),
            todo: "be root".into(),
        };
        assert_eq!(unanswered(&closed, false).level, Level::Unseen);
        assert_eq!(unanswered(&closed, true).level, Level::Missing);
    }

    #[test]
    fn nodes_that_run_nothing_are_named() {
        let ready = node("a", NodeState::READY, "x86_64");
        let of = |nodes: &[Node]| of_nodes(&about(Part::Manager), nodes);
        assert_eq!(of(std::slice::from_ref(&ready))[0].level, Level::Ok);
        let found = of(&[
            ready,
            node("b", NodeState::DOWN, "x86_64"),
            node("c", NodeState::READY, "aarch64"),
        ]);
        let told: Vec<_> = found.iter().map(|f| (f.level, f.found.clone())).collect();
        assert_eq!(told[0], (Level::Warning, "not ready: b".into()));
        assert!(
            told[1].0 == Level::Warning && told[1].1.ends_with(": c"),
            "{told:?}"
        );
    }

    #[test]
    fn nodes_that_constraints_do_not_let_fetch_nothing() {
        let own = Node {
            id: Some("id".into()),
            ..node("nas", NodeState::READY, "x86_64")
        };
        let nodes = [own, node("b", NodeState::READY, "x86_64")];
        let count = |constraints: &[&str]| {
            let constraints: Vec<String> = constraints.iter().map(|&c| c.to_owned()).collect();
            fetching(&about(Part::Manager), &nodes, &constraints)
        };
        assert_eq!(count(&[]), 2);
        assert_eq!(count(&["node.hostname==b"]), 2);
        assert_eq!(count(&["node.hostname==nas"]), 1);
        let told = |host: &str, constraint: &str| {
            let swarm = SwarmSettings {
                constraints: vec![constraint.to_owned()],
                ..swarm(Origin::Here(Some(host.to_owned())))
            };
            let_nobody(&about(Part::Manager), &nodes, &swarm).map(|found| found.level)
        };
        assert_eq!(told("nas:443", "node.hostname==b"), None);
        let none = told("nas:443", "node.labels.apps==yes");
        assert_eq!(none, Some(Level::Missing));
        // No image gets there.
        let none = told("127.0.0.1:80", "node.hostname==b");
        assert_eq!(none, Some(Level::Missing));
        assert_eq!(told("127.0.0.1:80", "node.hostname==nas"), None);
    }

    #[test]
    fn how_images_get_to_nodes_is_told() {
        let here = |host: Option<&str>| swarm(Origin::Here(host.map(str::to_owned)));
        let level = |swarm: &SwarmSettings, nodes, fetched| images(swarm, nodes, &fetched).level;
        let unreachable = || RegistryError::Unreachable("h:443".into(), "no".into());
        assert_eq!(level(&here(None), 1, None), Level::Missing);
        let own = here(Some("127.0.0.1:80"));
        assert_eq!(level(&own, 1, Some(Answered::Status(401))), Level::Ok);
        assert_eq!(level(&own, 2, Some(Answered::Status(401))), Level::Warning);
        let named = here(Some("ps.example.org:443"));
        assert_eq!(level(&named, 2, Some(Answered::Status(401))), Level::Ok);
        assert_eq!(
            level(&named, 2, Some(Answered::Status(404))),
            Level::Warning
        );
        assert_eq!(level(&named, 2, Some(Answered::InClear)), Level::Warning);
        assert_eq!(
            level(&named, 2, Some(Answered::Not(unreachable()))),
            Level::Warning
        );
        let url = TargetUrl::parse("https://u:p@r/a", &["https"]).unwrap();
        let registry = swarm(Origin::Registry(Registry::new(url)));
        assert_eq!(level(&registry, 2, Some(Answered::Status(200))), Level::Ok);
        assert_eq!(
            level(&registry, 2, Some(Answered::Status(401))),
            Level::Missing
        );
        assert_eq!(
            level(&registry, 2, Some(Answered::Not(unreachable()))),
            Level::Missing
        );
        let told = images(&registry, 1, &Some(Answered::Status(401)));
        assert!(!told.found.contains("p@"), "{told:?}");
    }

    #[test]
    fn a_socket_that_everybody_opens_is_a_warning() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("s");
        let _listener = UnixListener::bind(&socket).unwrap();
        let level = |mode| {
            std::fs::set_permissions(&socket, Permissions::from_mode(mode)).unwrap();
            access(&socket).map(|finding| finding.level)
        };
        assert_eq!(level(0o660), None);
        assert_eq!(level(0o666), Some(Level::Warning));
        assert_eq!(access(&home.path().join("none")), None);
        assert_eq!(mmdebstrap(None).level, Level::Missing);
    }
}
