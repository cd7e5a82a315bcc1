//! [`HostEntry`]: an entry of `hosts` (pure).

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::formation::ROUTED;
use super::host_name::HostName;
use super::rules::routed_type;

/// A name, and the process type that its requests go to. In documents it is the name alone where that is `web`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    pub name: HostName,
    /// A type of the Procfile.
    pub process: String,
}

impl HostEntry {
    /// Takes `NAME` or `NAME=TYPE`, as it is typed on a command line.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn parse_typed(text: &str) -> Result<Self, String> {
        let Some((name, process)) = text.split_once('=') else {
            return HostName::parse(text).map(Self::from);
        };
        let name = HostName::parse(name)?;
        let process = routed_type(process)?;
        Ok(Self { name, process })
    }

    /// Whether its requests go to `web`.
    #[must_use]
    pub fn is_of_web(&self) -> bool {
        self.process == ROUTED
    }

    /// As it stands in a document.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self.is_of_web() {
            true => Value::from(self.name.as_str()),
            false => json!({"name": self.name.as_str(), "process": self.process}),
        }
    }
}

impl From<HostName> for HostEntry {
    fn from(name: HostName) -> Self {
        let process = ROUTED.to_owned();
        Self { name, process }
    }
}

impl Serialize for HostEntry {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_command_line_a_type_follows_the_name() {
        let typed = |text| HostEntry::parse_typed(text).map(|entry| entry.to_value());
        assert_eq!(typed("A.example"), Ok(json!("a.example")));
        assert_eq!(typed("a.example=web"), Ok(json!("a.example")));
        let cable = json!({"name": "ws.example", "process": "cable"});
        assert_eq!(typed("ws.example=cable"), Ok(cable));
        for wrong in [
            "",
            "=cable",
            "a.example=",
            "a.example=release",
            "a.example=a b",
        ] {
            assert!(typed(wrong).is_err(), "{wrong}");
        }
    }
}
