//! [`Event`]: what a delivery tells; [`verdict`]: what follows from it for an application (pure).

use std::borrow::Cow;

use percent_encoding::percent_decode;
use serde::Deserialize;

use super::signature::Field;
use crate::document::config::{Reference, Repo};

/// Fields with the kind of event. Gitea and Forgejo send several of them, with the same word.
const KINDS: [&str; 4] = [
    "x-forgejo-event",
    "x-gitea-event",
    "x-gogs-event",
    "x-github-event",
];

const GITLAB_KIND: &str = "x-gitlab-event";

/// What a delivery tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody tries whether deliveries arrive.
    Ping,
    Push(Push),
    /// Something else that the service was told to send.
    Other(String),
}

/// A branch or tag is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The full name, `refs/heads/main`.
    pub reference: String,
    pub is_deletion: bool,
    /// The branch that the service calls the repository's default.
    pub default_branch: Option<String>,
}

/// Why the body of a delivery makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error(
        "a body of type \"{0}\" is not read: choose application/json as the hook's content type"
    )]
    Type(String),
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    #[error("the form has no field \"payload\"")]
    NoPayload,
    #[error("no field says which event this is, such as X-GitHub-Event or X-Gitlab-Event")]
    NoKind,
    #[error("the push does not say of which branch or tag: there is no \"ref\" in it")]
    NoReference,
}

/// The part of a payload that counts. The rest is skipped as it is read: it may be megabytes.
#[derive(Debug, Default, Deserialize)]
struct Payload {
    /// `ref` is a member of many events.
    #[serde(default, rename = "ref")]
    reference: Option<String>,
    /// `branch` or `tag`, of a `delete`.
    #[serde(default)]
    ref_type: Option<String>,
    #[serde(default)]
    deleted: Option<bool>,
    #[serde(default)]
    after: Option<String>,
    /// GitLab's kind.
    #[serde(default)]
    object_kind: Option<String>,
    #[serde(default)]
    event_name: Option<String>,
    #[serde(default)]
    repository: Option<Repository>,
    /// GitLab's repository.
    #[serde(default)]
    project: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    #[serde(default)]
    default_branch: Option<String>,
}

impl Event {
    /// Reads a delivery.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn read(field: &Field<'_>, body: &[u8]) -> Result<Self, EventError> {
        let text = json(field("content-type"), body)?;
        // serde would take a list for an object.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(EventError::NotJson("an object is expected".to_owned()));
        }
        let payload: Payload = serde_json::from_slice(&text)
            .map_err(|error| EventError::NotJson(error.to_string()))?;
        let kind = KINDS.iter().find_map(|name| field(name));
        let is_gitlab = kind.is_none() && field(GITLAB_KIND).is_some();
        let kind = match (kind, is_gitlab) {
            (Some(kind), _) => shown(kind),
            (None, true) => payload
                .object_kind
                .as_deref()
                .or(payload.event_name.as_deref())
                .map(|kind| shown(kind.as_bytes()))
                .ok_or(EventError::NoKind)?,
            (None, false) => return Err(EventError::NoKind),
        };
        Ok(match kind.as_str() {
            "ping" => Self::Ping,
            "push" => Self::Push(payload.push()?),
            "tag_push" if is_gitlab => Self::Push(payload.push()?),
            // Gitea and Forgejo send no push then, GitHub may send both.
            "delete" => payload.deletion().map_or(Self::Other(kind), Self::Push),
            _ => Self::Other(kind),
        })
    }
}

impl Payload {
    /// What a `delete` says, which names its branch or tag without the part in front; `None`: it is of neither.
    fn deletion(self) -> Option<Push> {
        let name = self.reference.filter(|name| !name.is_empty())?;
        let place = match self.ref_type.as_deref()? {
            "branch" => "refs/heads/",
            "tag" => "refs/tags/",
            _ => return None,
        };
        Some(Push {
            reference: format!("{place}{name}"),
            is_deletion: true,
            default_branch: self.repository.and_then(|of| of.default_branch),
        })
    }

    fn push(self) -> Result<Push, EventError> {
        let reference = self.reference.filter(|name| !name.is_empty());
        // A ref that is gone is at no commit: all digits are zeros.
        let is_nowhere = |id: &String| !id.is_empty() && id.bytes().all(|digit| digit == b'0');
        Ok(Push {
            reference: reference.ok_or(EventError::NoReference)?,
            is_deletion: self.deleted == Some(true) || self.after.as_ref().is_some_and(is_nowhere),
            default_branch: self
                .project
                .or(self.repository)
                .and_then(|repository| repository.default_branch),
        })
    }
}

/// The JSON in a body, which GitHub may also send as a field of a form.
fn json<'a>(content_type: Option<&[u8]>, body: &'a [u8]) -> Result<Cow<'a, [u8]>, EventError> {
    let full = String::from_utf8_lossy(content_type.unwrap_or_default()).to_ascii_lowercase();
    let essence = full.split(';').next().unwrap_or_default().trim();
    match essence {
        "application/json" => Ok(body.into()),
        "application/x-www-form-urlencoded" => {
            let fields = body.split(|byte| *byte == b'&');
            let mut payload = fields.filter_map(|field| field.strip_prefix(b"payload="));
            let payload = payload.next_back().ok_or(EventError::NoPayload)?;
            let blanks: Vec<u8> = payload
                .iter()
                .map(|byte| if *byte == b'+' { b' ' } else { *byte })
                .collect();
            Ok(percent_decode(&blanks).collect::<Vec<u8>>().into())
        }
        other => Err(EventError::Type(shown(other.as_bytes()))),
    }
}

/// What follows from an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Deploy,
    /// Nothing, for this reason.
    Leave(String),
}

/// What follows from `event` for an application of `repo`.
#[must_use]
pub fn verdict(event: &Event, repo: &Repo) -> Verdict {
    if repo.pushed_branch().is_some() {
        let why = "the application's code is pushed or uploaded to this server: there is nothing to fetch";
        return Verdict::Leave(why.to_owned());
    }
    let push = match event {
        Event::Ping => {
            return Verdict::Leave("the hook arrives and its secret is right".to_owned());
        }
        Event::Other(kind) => {
            let why = format!("only pushes deploy, and this is an event \"{kind}\"");
            return Verdict::Leave(why);
        }
        Event::Push(push) => push,
    };
    let pushed = shown(push.reference.as_bytes());
    let is_wanted = match &repo.reference {
        Reference::Branch(name) => push.reference == format!("refs/heads/{name}"),
        Reference::Tag(name) => push.reference == format!("refs/tags/{name}"),
        // `master`, where there is one.
        Reference::Default => {
            let branch = push.reference.strip_prefix("refs/heads/");
            branch.is_some_and(|branch| {
                branch == "master"
                    || push
                        .default_branch
                        .as_deref()
                        .is_none_or(|own| own == branch)
            })
        }
        Reference::Commit(_) => {
            let why = "the document names a commit (repo.commit), which no push changes";
            return Verdict::Leave(why.to_owned());
        }
    };
    if !is_wanted {
        let own = match &repo.reference {
            Reference::Branch(name) => format!("the branch {name}"),
            Reference::Tag(name) => format!("the tag {name}"),
            Reference::Default | Reference::Commit(_) => "the default branch".to_owned(),
        };
        return Verdict::Leave(format!(
            "{pushed} was pushed, and {own} is what is deployed"
        ));
    }
    match push.is_deletion {
        true => Verdict::Leave(format!("{pushed} was deleted: what runs goes on")),
        false => Verdict::Deploy,
    }
}

/// What a stranger wrote, fit for a line.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let text = text.chars().filter(|c| !c.is_control()).take(120);
    text.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::document::config::Origin;

    fn read(fields: &[(&str, &str)], body: &str) -> Result<Event, EventError> {
        let field = |name: &str| {
            let found = fields.iter().find(|(of, _)| *of == name);
            let json = (name == "content-type").then_some(&("", "application/json"));
            found.or(json).map(|(_, value)| value.as_bytes())
        };
        Event::read(&field, body.as_bytes())
    }

    fn push(reference: &str) -> Push {
        Push {
            reference: reference.to_owned(),
            is_deletion: false,
            default_branch: None,
        }
    }

    #[test]
    fn each_service_names_its_events_in_its_own_way() {
        let github = |kind| [("x-github-event", kind)];
        assert_eq!(read(&github("ping"), r#"{"zen": "x"}"#), Ok(Event::Ping));
        let body = r#"{"ref": "refs/heads/main", "deleted": false, "repository": {"default_branch": "main"}}"#;
        let main = Push {
            default_branch: Some("main".into()),
            ..push("refs/heads/main")
        };
        assert_eq!(read(&github("push"), body), Ok(Event::Push(main)));
        assert_eq!(
            read(&github("create"), r#"{"ref": "v1", "ref_type": "tag"}"#),
            Ok(Event::Other("create".into()))
        );
        let gitea = [("x-gitea-event", "delete"), ("x-github-event", "delete")];
        let gone = |place: &str| Push {
            is_deletion: true,
            ..push(place)
        };
        assert_eq!(
            read(&gitea, r#"{"ref": "a/b", "ref_type": "branch"}"#),
            Ok(Event::Push(gone("refs/heads/a/b")))
        );
        assert_eq!(
            read(&gitea, r#"{"ref": "v1", "ref_type": "tag"}"#),
            Ok(Event::Push(gone("refs/tags/v1")))
        );
        assert_eq!(
            read(&gitea, r#"{"ref": "v1", "ref_type": "repository"}"#),
            Ok(Event::Other("delete".into()))
        );
        let gitlab = [("x-gitlab-event", "Tag Push Hook")];
        let body = r#"{"object_kind": "tag_push", "ref": "refs/tags/v1", "after": "00000000"}"#;
        assert_eq!(read(&gitlab, body), Ok(Event::Push(gone("refs/tags/v1"))));
        let body = r#"{"object_kind": "issue", "ref": null}"#;
        assert_eq!(read(&gitlab, body), Ok(Event::Other("issue".into())));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let github = [("x-github-event", "push")];
        assert!(matches!(read(&github, "{"), Err(EventError::NotJson(_))));
        assert!(matches!(read(&github, "[]"), Err(EventError::NotJson(_))));
        assert!(matches!(
            read(&github, r#"{"ref": 1}"#),
            Err(EventError::NotJson(_))
        ));
        assert_eq!(read(&github, "{}"), Err(EventError::NoReference));
        assert_eq!(read(&[], "{}"), Err(EventError::NoKind));
        assert_eq!(
            read(&[("x-gitlab-event", "Push Hook")], "{}"),
            Err(EventError::NoKind)
        );
        let xml = [github[0], ("content-type", "text/xml")];
        assert_eq!(read(&xml, "{}"), Err(EventError::Type("text/xml".into())));
        let deep = "[".repeat(100_000);
        assert!(read(&github, &format!("{{\"commits\": {deep}")).is_err());
    }

    #[test]
    fn a_form_has_the_payload_in_a_field() {
        let form = [
            ("x-github-event", "push"),
            (
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            ),
        ];
        let body = "a=b&payload=%7B%22ref%22%3A+%22refs%2Fheads%2Fa%2Bb%22%7D";
        assert_eq!(read(&form, body), Ok(Event::Push(push("refs/heads/a+b"))));
        assert_eq!(read(&form, "a=b"), Err(EventError::NoPayload));
        assert!(matches!(
            read(&form, "payload=%7"),
            Err(EventError::NotJson(_))
        ));
    }

    #[test]
    fn only_what_the_document_names_is_deployed() {
        let branch = || Reference::Branch("main".into());
        for (reference, pushed, default, deploys) in [
            (branch(), "refs/heads/main", None, true),
            (branch(), "refs/heads/main2", None, false),
            (branch(), "refs/tags/main", None, false),
            (branch(), "main", None, false),
            (Reference::Tag("v1".into()), "refs/tags/v1", None, true),
            (Reference::Tag("v1".into()), "refs/heads/v1", None, false),
            (
                Reference::Commit("abcd".into()),
                "refs/heads/main",
                None,
                false,
            ),
            (Reference::Default, "refs/heads/master", Some("main"), true),
            (Reference::Default, "refs/heads/main", Some("main"), true),
            (Reference::Default, "refs/heads/other", Some("main"), false),
            (Reference::Default, "refs/heads/main", None, true),
            (Reference::Default, "refs/tags/v1", None, false),
        ] {
            let repo = Repo {
                origin: Origin::Url("https://h/a.git".into()),
                reference: reference.clone(),
                dir: None,
            };
            let mut push = push(pushed);
            push.default_branch = default.map(str::to_owned);
            let is = verdict(&Event::Push(push.clone()), &repo);
            assert_eq!(
                is == Verdict::Deploy,
                deploys,
                "{reference:?} {pushed}: {is:?}"
            );
            push.is_deletion = true;
            assert_ne!(verdict(&Event::Push(push), &repo), Verdict::Deploy);
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in "\\PC{0,300}", kind in "\\PC{0,20}", form in any::<bool>()) {
            let of = if form { "application/x-www-form-urlencoded" } else { "application/json" };
            for name in ["x-github-event", "x-gitlab-event"] {
                let _read = read(&[(name, &kind), ("content-type", of)], &body);
            }
        }
    }
}
