//! [`Entry`]: a line of the audit log (pure). It holds no body, no query and no token.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::tokens::token::{PREFIX, looks_like_one};

const LONGEST_PATH: usize = 200;

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub time: Timestamp,
    pub who: Who,
    /// The client's address, or `socket`.
    pub from: Option<String>,
    pub method: String,
    pub path: String,
    /// The application that it is about.
    pub app: Option<String>,
    pub outcome: Outcome,
    pub request_id: Option<String>,
    /// Refusals of this token, or of strangers, before this one that have no line.
    pub left_out: u64,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Token {
        name: String,
        id: String,
    },
    /// The holder of a key, by ssh.
    Key {
        name: String,
        id: String,
    },
    /// An account of this machine, at the Unix socket.
    Account {
        uid: u32,
    },
    /// An account that may not use the socket.
    Uninvited {
        uid: u32,
    },
    /// The git service of an application, by the application's webhook.
    Hook,
    /// The server itself, when the time for it has come.
    Server,
    /// Somebody who edits files.
    ConfigDirectory,
    /// Nobody knows.
    Stranger,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The status of the answer.
    Status(u16),
    /// It takes long, and its caller waits: another line follows.
    Waiting,
    /// The caller went away before the answer: what was accepted goes on.
    CallerGone,
    /// Of a file: `added`, `changed`, `removed`.
    File(&'static str),
}

impl Entry {
    /// A change of `app` in the config directory.
    #[must_use]
    pub fn of_file(app: &str, outcome: &'static str, time: Timestamp) -> Self {
        Self {
            time,
            who: Who::ConfigDirectory,
            from: None,
            method: "file".to_owned(),
            path: format!("{app}.json"),
            app: Some(app.to_owned()),
            outcome: Outcome::File(outcome),
            request_id: None,
            left_out: 0,
        }
    }

    /// A removal of the preview `app`, which nobody asked for.
    #[must_use]
    pub fn of_preview(app: &str, time: Timestamp) -> Self {
        Self {
            who: Who::Server,
            method: "preview".to_owned(),
            path: app.to_owned(),
            ..Self::of_file(app, "removed", time)
        }
    }

    /// A signal by which the config directory is read again: its changes have lines of their own.
    #[must_use]
    pub fn of_signal(name: &str, time: Timestamp) -> Self {
        Self {
            method: name.to_owned(),
            path: ".".to_owned(),
            app: None,
            ..Self::of_file("", "read again", time)
        }
    }

    /// An account that was turned away at the socket, before anything it might send was read.
    #[must_use]
    pub fn of_uninvited(uid: u32, time: Timestamp) -> Self {
        Self {
            who: Who::Uninvited { uid },
            from: Some("socket".to_owned()),
            method: "connect".to_owned(),
            path: "/".to_owned(),
            app: None,
            outcome: Outcome::Status(403),
            ..Self::of_file("", "", time)
        }
    }

    /// The line, with its newline. `user` is the name of the account.
    #[must_use]
    pub fn line(&self, user: Option<&str>) -> String {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        set("time", format!("{:.6}", self.time).into());
        match &self.who {
            Who::Token { name, id } => {
                set("who", name.as_str().into());
                set("token", id.as_str().into());
            }
            Who::Key { name, id } => {
                set("who", name.as_str().into());
                set("ssh_key", id.as_str().into());
            }
            Who::Account { uid } | Who::Uninvited { uid } => {
                set(
                    "who",
                    user.map_or_else(|| uid.to_string(), str::to_owned).into(),
                );
                set("uid", (*uid).into());
            }
            Who::Hook => drop(set("who", "webhook".into())),
            Who::Server => drop(set("who", "server".into())),
            Who::ConfigDirectory => drop(set("who", "config directory".into())),
            Who::Stranger => drop(set("who", Value::Null)),
        }
        set("from", self.from.as_deref().into());
        set("method", self.method.as_str().into());
        set("path", shown(&self.path).into());
        set("app", self.app.as_deref().into());
        match &self.outcome {
            Outcome::Status(status) => set("outcome", (*status).into()),
            Outcome::Waiting => set("outcome", "waiting".into()),
            Outcome::CallerGone => set("outcome", "caller gone".into()),
            Outcome::File(what) => set("outcome", (*what).into()),
        };
        if let Some(id) = &self.request_id {
            set("request_id", id.as_str().into());
        }
        if self.left_out > 0 {
            set("left_out", self.left_out.into());
        }
        format!("{}\n", Value::Object(fields))
    }
}

/// A path without what somebody may have put there by mistake.
fn shown(path: &str) -> String {
    let short: String = path.chars().take(LONGEST_PATH).collect();
    let parts = short.split('/').map(|part| match part.find(PREFIX) {
        // Also a part of a token is not for a log.
        Some(at) if part.len() - at > 20 || looks_like_one(part.as_bytes()) => {
            format!("{}{PREFIX}…", &part[..at])
        }
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(who: Who) -> Entry {
        Entry {
            time: "2026-11-29T17:50:00Z".parse().unwrap(),
            who,
            from: Some("192.0.2.1".to_owned()),
            method: "POST".to_owned(),
            path: "/applications/blog/stop".to_owned(),
            app: Some("blog".to_owned()),
            outcome: Outcome::Status(202),
            request_id: None,
            left_out: 0,
        }
    }

    #[test]
    fn a_line_says_who_did_what_from_where() {
        let who = Who::Token {
            name: "ci".to_owned(),
            id: "01ab".to_owned(),
        };
        assert_eq!(
            entry(who).line(None),
            "{\"time\":\"2026-11-29T17:50:00.000000Z\",\"who\":\"ci\",\"token\":\"01ab\",\"from\":\"192.0.2.1\",\
             \"method\":\"POST\",\"path\":\"/applications/blog/stop\",\"app\":\"blog\",\"outcome\":202}\n"
        );
        let account = entry(Who::Account { uid: 0 });
        assert!(
            account
                .line(Some("root"))
                .contains("\"who\":\"root\",\"uid\":0,")
        );
        assert!(account.line(None).contains("\"who\":\"0\",\"uid\":0,"));
        let stranger = Entry {
            left_out: 7,
            outcome: Outcome::Status(401),
            ..entry(Who::Stranger)
        };
        let line = stranger.line(None);
        assert!(line.contains("\"who\":null,\"from\"") && line.ends_with("\"left_out\":7}\n"));
        let uninvited = Entry::of_uninvited(1000, stranger.time).line(Some("eve"));
        assert!(
            uninvited.contains(
                "\"who\":\"eve\",\"uid\":1000,\"from\":\"socket\",\"method\":\"connect\""
            )
        );
        let file = Entry::of_file("blog", "changed", stranger.time).line(None);
        assert!(
            file.contains("\"who\":\"config directory\"")
                && file.contains("\"outcome\":\"changed\"")
        );
    }

    #[test]
    fn a_token_in_a_path_is_left_out_and_a_newline_ends_no_line() {
        let token = format!("ps_{}", "a".repeat(43));
        let mut entry = entry(Who::Stranger);
        entry.path = format!("/tokens/{token}/a\n{{");
        let line = entry.line(None);
        assert!(line.contains("\"/tokens/ps_…/a\\n{\""), "{line}");
        assert_eq!(line.matches('\n').count(), 1);
        entry.path = "/".repeat(100_000);
        assert!(entry.line(None).len() < 500);
    }
}
