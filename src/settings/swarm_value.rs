//! The values of `[engine.swarm]`, valid by construction.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use crate::document::target_url::{Credentials, TargetUrl};
use crate::swarm::image::base_image::BaseImage;
use crate::swarm::settings::VolumeDriver;

use super::value::{ValueError, deserialize_from_text};

deserialize_from_text! {
    EngineSocket;
    RegistryUrl;
    Constraint;
    BaseImageValue;
    DriverName;
}

/// Where the API of an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSocket(pub PathBuf);

impl FromStr for EngineSocket {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let path = PathBuf::from(text.strip_prefix("unix://").unwrap_or(text));
        match path.is_absolute() {
            true => Ok(Self(path)),
            false => Err(ValueError(format!(
                "\"{text}\" is no socket of an engine: write the path of a swarm manager's on this machine, as in \
                 \"/var/run/docker.sock\""
            ))),
        }
    }
}

/// Where images are pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryUrl(pub TargetUrl);

impl FromStr for RegistryUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let example = "write https://USER:PASSWORD@HOST/PATH, the path in lower case";
        let url = TargetUrl::parse(text, &["https", "http"]);
        let url = url.map_err(|why| ValueError(format!("the registry's URL {why}: {example}")))?;
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        let is_known = !matches!(url.credentials, Some(Credentials::Token(_)));
        // An engine takes no IPv6 address for a host.
        match url.path.chars().all(is_part) && is_known && !url.host.contains(':') {
            true => Ok(Self(url)),
            false => Err(ValueError(format!(
                "that is no URL of a registry: {example}"
            ))),
        }
    }
}

/// The name of a driver of volumes: `local`, or that of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverName(pub String);

impl FromStr for DriverName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
        let is_good = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        match is_good && text.len() <= 255 && text.chars().all(is_part) {
            true => Ok(Self(text.to_owned())),
            false => Err(ValueError(format!(
                "\"{text}\" is no driver of volumes: write its name as \"docker plugin ls\" has it on each node, or \"local\""
            ))),
        }
    }
}

/// Who makes volumes.
#[derive(Clone, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table, as in { driver = \"local\", options = { type = \"nfs\" } }"
)]
pub struct VolumesValue {
    pub driver: DriverName,
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl VolumesValue {
    #[must_use]
    pub fn driver(self) -> VolumeDriver {
        VolumeDriver {
            name: self.driver.0,
            options: self.options,
        }
    }
}

impl std::fmt::Debug for VolumesValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.clone().driver().fmt(f)
    }
}

/// What images are built on.
#[derive(Clone, Debug)]
pub struct BaseImageValue(pub BaseImage);

impl FromStr for BaseImageValue {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let read = BaseImage::parse(text);
        read.map(Self).map_err(|why| {
            ValueError(format!(
                "the base image {why}: write \"HOST/NAME:TAG\", or https://USER:PASSWORD@HOST/NAME:TAG"
            ))
        })
    }
}

/// Which nodes processes may run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraint(pub String);

impl FromStr for Constraint {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const KEYS: [&str; 5] = [
            "node.id",
            "node.hostname",
            "node.role",
            "node.platform.os",
            "node.platform.arch",
        ];
        let parts = text.split_once("==").or_else(|| text.split_once("!="));
        let is_good = parts.is_some_and(|(key, value)| {
            let (key, value) = (key.trim(), value.trim());
            let label = key.strip_prefix("node.labels.");
            let label = label.or_else(|| key.strip_prefix("engine.labels."));
            let is_word = |c: char| c.is_ascii_alphanumeric() || "._-/:+".contains(c);
            let is_value = !value.is_empty() && value.chars().all(|c| is_word(c) || c == ' ');
            let is_label = label.is_some_and(|l| !l.is_empty() && l.chars().all(is_word));
            (is_label || KEYS.contains(&key)) && is_value
        });
        match is_good {
            true => Ok(Self(text.to_owned())),
            false => Err(ValueError(format!(
                "\"{text}\" is no constraint: write it as for docker service create, as in \"node.labels.apps==yes\", \
                 \"node.role!=manager\" or \"node.hostname==nas\""
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_has_a_password_or_none_and_a_path_that_images_may_have() {
        for good in ["https://r.example.org", "http://u:p@r:5000/a/b-c/"] {
            assert!(good.parse::<RegistryUrl>().is_ok(), "{good}");
        }
        for bad in [
            "r:5000",
            "ftp://r",
            "https://r/A",
            "https://r/a?b",
            "https://token@r",
            "https://[::1]/",
        ] {
            let told = bad.parse::<RegistryUrl>().unwrap_err();
            assert!(!told.0.contains("token@"), "{told}");
        }
    }

    #[test]
    fn a_constraint_is_one_that_a_swarm_takes() {
        for good in [
            "node.role!=manager",
            "node.hostname == nas",
            "node.labels.org.example/disk==ssd",
            "engine.labels.os==Debian 12",
        ] {
            assert!(good.parse::<Constraint>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "nas",
            "node.role=manager",
            "node.labels.==1",
            "node.id==",
            "host==a",
        ] {
            assert!(bad.parse::<Constraint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_engine_is_reached_by_a_socket_of_this_machine() {
        let path = PathBuf::from("/var/run/docker.sock");
        for good in ["/var/run/docker.sock", "unix:///var/run/docker.sock"] {
            assert_eq!(good.parse(), Ok(EngineSocket(path.clone())), "{good}");
        }
        // By TCP an engine obeys whoever reaches it.
        for bad in ["", "docker.sock", "tcp://127.0.0.1:2375", "unix://d.sock"] {
            assert!(bad.parse::<EngineSocket>().is_err(), "{bad}");
        }
    }
}
