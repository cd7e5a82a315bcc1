//! The values of `[engine.swarm]`, valid by construction.

use std::path::PathBuf;
use std::str::FromStr;

use super::value::{ValueError, deserialize_from_text};

deserialize_from_text! {
    EngineSocket;
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

#[cfg(test)]
mod tests {
    use super::*;

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
