//! What a check has found, and how it is told (pure).

use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// It could not be looked at, by this user or on this machine.
    Unseen,
    /// It works, and a person should look at it.
    Warning,
    /// Something that a server needs is not there.
    Missing,
}

/// One check of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub check: String,
    /// Nothing that is needed is missing.
    pub ok: bool,
    pub level: Level,
    /// What there is.
    pub found: String,
    /// What to type, or to change, where it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}

impl Finding {
    /// All is as it should be.
    #[must_use]
    pub fn good(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            ok: true,
            level: Level::Ok,
            found: found.into(),
            todo: None,
        }
    }

    /// Something is missing.
    #[must_use]
    pub fn poor(
        check: impl Into<String>,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self {
            ok: false,
            level: Level::Missing,
            todo: Some(todo.into()),
            ..Self::good(check, found)
        }
    }

    /// It works, and a person should look at it.
    #[must_use]
    pub fn warning(
        check: impl Into<String>,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Warning,
            todo: Some(todo.into()),
            ..Self::good(check, found)
        }
    }

    /// It could not be looked at.
    #[must_use]
    pub fn unseen(
        check: impl Into<String>,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Unseen,
            ..Self::warning(check, found, todo)
        }
    }

    /// The line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let mark = match self.level {
            Level::Ok => "ok",
            Level::Unseen => "unseen",
            Level::Warning => "warning",
            Level::Missing => "MISSING",
        };
        let todo = self.todo.iter().map(|todo| format!("; {todo}"));
        let todo: String = todo.collect();
        format!("{mark:<8}{}: {}{todo}", self.check, self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_says_what_to_do() {
        let good = Finding::good("landlock", "ABI 3");
        assert_eq!(good.line(), "ok      landlock: ABI 3");
        let poor = Finding::poor("useradd", "it is not there", "apt-get install passwd");
        assert_eq!(
            poor.line(),
            "MISSING useradd: it is not there; apt-get install passwd"
        );
        let warning = Finding::warning("clock", "it is not set", "timedatectl set-ntp true");
        assert!(warning.ok && warning.line().starts_with("warning clock"));
    }
}
