//! Webhooks, as the services send them (`tests/conformance/hooks/`).

mod deliveries;
mod secrets;
mod strangers;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::{Value, json};

use crate::support::fixture::with;
use crate::support::http::Request;
use crate::support::repo::Repo;
use crate::support::server::Server;

/// A delivery as a service sends it.
#[derive(Clone)]
struct Delivery {
    service: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// `branch main`, `tag v1.0` or `nothing`.
    follows: String,
}

impl Delivery {
    /// All that are in the files, each with an id of its own.
    fn all() -> Vec<Self> {
        let cases: Vec<Value> = serde_json::from_str(&file("cases.json")).unwrap();
        let read = |(number, case): (usize, &Value)| Self::of(case, number);
        cases.iter().enumerate().map(read).collect()
    }

    fn of(case: &Value, number: usize) -> Self {
        let text = |name: &str| case[name].as_str().unwrap().to_owned();
        let headers = case["headers"].as_object().unwrap().iter();
        let headers: Vec<(String, String)> = headers
            .map(|(name, value)| {
                let value = value.as_str().unwrap();
                let is_id = name.ends_with("-Delivery") || name == "Idempotency-Key";
                match is_id {
                    true => (name.clone(), format!("{value}-{number}")),
                    false => (name.clone(), value.to_owned()),
                }
            })
            .collect();
        let payload = file(&text("file")).into_bytes();
        let is_form = headers
            .iter()
            .any(|(_, value)| value == "application/x-www-form-urlencoded");
        let body = match is_form {
            true => format!("payload={}", percent_encode(&payload, NON_ALPHANUMERIC)).into_bytes(),
            false => payload,
        };
        Self {
            service: text("service"),
            headers,
            body,
            follows: text("follows"),
        }
    }

    /// The first of this service that deploys the branch.
    fn push(service: &str) -> Self {
        let mut all = Self::all().into_iter();
        let found = all.find(|one| one.service == service && one.follows == "branch main");
        found.expect("each service pushes")
    }

    /// As the service calls it another time.
    fn with_id(mut self, id: &str) -> Self {
        for (name, value) in &mut self.headers {
            if name.ends_with("-Delivery") || name == "Idempotency-Key" {
                *value = id.to_owned();
            }
        }
        self
    }

    fn to(&self, app: &str, secret: &str) -> Request {
        self.at(app, secret, jiff::Timestamp::now().as_second())
    }

    /// As it is sent at this second.
    fn at(&self, app: &str, secret: &str, now: i64) -> Request {
        let mut request = Request::new("POST", &format!("/hooks/{app}"));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        for (name, value) in self.proof(secret, now) {
            request = request.header(name, &value);
        }
        request.body(self.body.clone())
    }

    /// How the service shows that it knows `secret`.
    fn proof(&self, secret: &str, now: i64) -> Vec<(&'static str, String)> {
        let tag = hex(&mac(secret.as_bytes(), &self.body));
        let prefixed = format!("sha256={tag}");
        match self.service.as_str() {
            "github" => vec![("X-Hub-Signature-256", prefixed)],
            "gitea" => vec![
                ("X-Gitea-Signature", tag.clone()),
                ("X-Gogs-Signature", tag),
                ("X-Hub-Signature-256", prefixed),
            ],
            "forgejo" => vec![
                ("X-Forgejo-Signature", tag.clone()),
                ("X-Gitea-Signature", tag.clone()),
                ("X-Gogs-Signature", tag),
                ("X-Hub-Signature-256", prefixed),
            ],
            "gitlab-token" => vec![("X-Gitlab-Token", secret.to_owned())],
            "gitlab-signed" => {
                let key = secret.strip_prefix("whsec_").expect("a signing token");
                let key = STANDARD.decode(key).unwrap();
                let id = self
                    .headers
                    .iter()
                    .find(|(name, _)| name == "Idempotency-Key");
                let (_, id) = id.expect("GitLab has one").clone();
                let message = [format!("{id}.{now}.").as_bytes(), &self.body].concat();
                let signature = format!("v1,{}", STANDARD.encode(mac(&key, &message)));
                vec![
                    ("webhook-id", id),
                    ("webhook-timestamp", now.to_string()),
                    ("webhook-signature", signature),
                ]
            }
            other => panic!("no service {other}"),
        }
    }
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, key), message).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file(name: &str) -> String {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/hooks");
    std::fs::read_to_string(format!("{directory}/{name}")).unwrap()
}

/// A repository of a static site that says `version`, with the branch `main` and the tag `v1.0`.
fn site(version: &str) -> Repo {
    let repo = Repo::on_branch("main", &[("public/index.html", version)]);
    repo.tag("v1.0");
    repo
}

/// Deploys it under this name and returns the secret of its webhook.
fn deployed(server: &Server, name: &str, repo: &Repo, reference: Value) -> String {
    let mut source = json!({ "url": repo.url() });
    let members = source.as_object_mut().unwrap();
    members.extend(reference.as_object().unwrap().clone());
    let document = json!({"name": name, "static": {"dir": "public"}});
    server.deploy(&with(document, json!({ "repo": source })));
    let hook = server.send("POST", &format!("/applications/{name}/hook"), &json!({}));
    hook.expect(200).json()["secret"]
        .as_str()
        .unwrap()
        .to_owned()
}
