//! [`Problem`]: an error of the API (RFC 9457), as sentences.

use std::fmt;

use serde::Deserialize;

use crate::install::record::Failure;

/// `application/problem+json`; what is missing is empty.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Problem {
    pub status: u16,
    pub title: String,
    pub detail: String,
    /// Which fields are wrong.
    pub errors: Vec<FieldProblem>,
    /// Why the deployment failed, where the call waited for one.
    pub failure: Option<Failure>,
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FieldProblem {
    /// JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong and what is allowed.
    pub detail: String,
}

impl Problem {
    /// Reads the body of an answer with `status`; one that is no problem document is quoted.
    #[must_use]
    pub fn read(status: u16, body: &[u8]) -> Self {
        let quoted = || Self {
            detail: String::from_utf8_lossy(body)
                .trim()
                .chars()
                .take(500)
                .collect(),
            ..Self::default()
        };
        let mut problem: Self = serde_json::from_slice(body).unwrap_or_else(|_| quoted());
        problem.status = status;
        problem
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.detail.is_empty(), self.title.is_empty()) {
            (false, _) => f.write_str(&self.detail)?,
            (true, false) => f.write_str(&self.title)?,
            (true, true) => write!(f, "the server answered {} without saying why", self.status)?,
        }
        for error in self
            .errors
            .iter()
            .filter(|e| !self.detail.contains(&e.detail))
        {
            write!(f, "\n  {}: {}", error.pointer, error.detail)?;
        }
        if self.status == 401 {
            f.write_str(
                "\n  pass --token-file FILE or set PROCSERVER_TOKEN; the token is in the file \"token\" of the server's \
                 data directory (/var/lib/procserver/token)",
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_field_is_a_line_with_its_pointer() {
        let body = br#"{"type":"about:blank","title":"Invalid","status":422,"detail":"the document is invalid",
            "errors":[{"pointer":"/repo/url","detail":"must not begin with -"}]}"#;
        let text = Problem::read(422, body).to_string();
        assert_eq!(
            text,
            "the document is invalid\n  /repo/url: must not begin with -"
        );
    }

    #[test]
    fn what_the_detail_says_already_is_not_said_twice() {
        let body = br#"{"detail":"/name: is missing","errors":[{"pointer":"/name","detail":"is missing"}]}"#;
        assert_eq!(Problem::read(422, body).to_string(), "/name: is missing");
    }

    #[test]
    fn an_answer_that_is_no_problem_document_is_quoted_and_bounded() {
        assert_eq!(
            Problem::read(502, b"<h1>Bad</h1>").to_string(),
            "<h1>Bad</h1>"
        );
        assert!(Problem::read(500, b"").to_string().contains("500"));
        assert_eq!(Problem::read(500, &[b'x'; 9000]).to_string().len(), 500);
    }

    #[test]
    fn a_missing_token_is_explained() {
        let text = Problem::read(401, b"{\"title\":\"Unauthorized\"}").to_string();
        assert!(
            text.contains("--token") && text.contains("/var/lib/procserver/token"),
            "{text}"
        );
    }
}
