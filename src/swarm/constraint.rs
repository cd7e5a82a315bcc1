//! [`fits`]: which nodes constraints let (pure), as the swarm itself says (`NodeMatches` of swarmkit).

use bollard::models::Node;

/// Whether all of these hold on a node. The settings have taken them, so each is one that a swarm takes.
#[must_use]
pub fn fits(node: &Node, constraints: &[String]) -> bool {
    constraints.iter().all(|one| holds(node, one))
}

fn holds(node: &Node, constraint: &str) -> bool {
    let (parts, wanted) = match constraint.split_once("==") {
        Some(parts) => (Some(parts), true),
        None => (constraint.split_once("!="), false),
    };
    parts.is_some_and(|(key, value)| {
        // What a node does not have is as if it were empty.
        let own = of(node, key.trim()).unwrap_or_default();
        own.eq_ignore_ascii_case(value.trim()) == wanted
    })
}

/// What a node has for a key.
fn of<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    let description = node.description.as_ref();
    let platform = description.and_then(|description| description.platform.as_ref());
    if let Some(label) = key.strip_prefix("node.labels.") {
        let labels = node.spec.as_ref()?.labels.as_ref()?;
        return labels.get(label).map(String::as_str);
    }
    if let Some(label) = key.strip_prefix("engine.labels.") {
        let labels = description?.engine.as_ref()?.labels.as_ref()?;
        return labels.get(label).map(String::as_str);
    }
    match key {
        "node.id" => node.id.as_deref(),
        "node.hostname" => description?.hostname.as_deref(),
        "node.role" => Some(node.spec.as_ref()?.role.as_ref()?.as_ref()),
        "node.platform.os" => platform?.os.as_deref(),
        "node.platform.arch" => platform?.architecture.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{
        EngineDescription, NodeDescription, NodeSpec, NodeSpecRoleEnum, Platform,
    };

    use super::*;

    #[test]
    fn a_node_fits_where_all_constraints_hold() {
        let labels = |name: &str, value: &str| {
            let label = (name.to_owned(), value.to_owned());
            Some(HashMap::from([label]))
        };
        let node = Node {
            id: Some("z7ft".into()),
            description: Some(NodeDescription {
                hostname: Some("nas".into()),
                platform: Some(Platform {
                    architecture: Some("x86_64".into()),
                    os: Some("linux".into()),
                }),
                engine: Some(EngineDescription {
                    labels: labels("os", "Debian 12"),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            spec: Some(NodeSpec {
                role: Some(NodeSpecRoleEnum::WORKER),
                labels: labels("org.example/disk", "ssd"),
                ..Default::default()
            }),
            ..Default::default()
        };
        let fits = |all: &[&str]| {
            let all: Vec<String> = all.iter().map(|one| (*one).to_owned()).collect();
            fits(&node, &all)
        };
        for good in [
            "node.id==z7ft",
            "node.id!=other",
            "node.hostname == NAS",
            "node.role!=manager",
            "node.platform.os==linux",
            "node.platform.arch==x86_64",
            "node.labels.org.example/disk==ssd",
            "node.labels.none!=ssd",
            "engine.labels.os==Debian 12",
        ] {
            assert!(fits(&[good]), "{good}");
        }
        for bad in [
            "node.role==manager",
            "node.hostname!=nas",
            "node.labels.none==ssd",
        ] {
            assert!(!fits(&[bad]), "{bad}");
            assert!(!fits(&["node.id==z7ft", bad]), "{bad}");
        }
        assert!(fits(&[]) && super::fits(&Node::default(), &[]));
    }
}
