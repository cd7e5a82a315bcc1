//! What a check has found, and how it is told (pure).

use serde::Serialize;

/// One check of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub check: &'static str,
    pub ok: bool,
    /// What there is.
    pub found: String,
    /// What to type, or to change, where it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}

impl Finding {
    /// All is as it should be.
    #[must_use]
    pub fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            ok: true,
            found: found.into(),
            todo: None,
        }
    }

    /// Something is missing.
    #[must_use]
    pub fn poor(check: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            check,
            ok: false,
            found: found.into(),
            todo: Some(todo.into()),
        }
    }

    /// The line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let mark = if self.ok { "ok" } else { "MISSING" };
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
    }
}
