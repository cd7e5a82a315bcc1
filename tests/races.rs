//! Two calls at once: what is left is what one order of the two leaves, and each is answered by what became of it.

use std::sync::Barrier;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fixture::{document, with};
use crate::support::http::Response;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// How often each pair is tried; what once failed did so in every third round.
fn rounds() -> usize {
    std::env::var("PROCSERVER_TEST_ROUNDS").map_or(1, |text| text.parse().unwrap())
}

/// Which pairs are tried: those with a call whose name begins so.
fn is_wanted(calls: [Call; 2]) -> bool {
    let named = std::env::var("PROCSERVER_TEST_CALLS").unwrap_or_default();
    let mut names = named.split(',');
    names.any(|name| {
        calls
            .iter()
            .any(|call| format!("{call:?}").starts_with(name))
    })
}

/// How many kinds of calls there are.
const CALLS: usize = 12;

/// Applications whose pairs are tried beside each other.
const APPS: usize = 4;

/// A call, with values of its own where it changes a document.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Create(u64),
    Put(u64),
    Scale(u64),
    Env(u64),
    Repo(u64),
    Delete,
    Start,
    Stop,
    Restart,
    Redeploy,
    Rollback,
    Cancel(u64),
}

/// What there is of the app.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Model {
    scale: u64,
    env: u64,
    /// Which of the two repositories.
    repo: u64,
    runs: bool,
}

impl Call {
    fn all(value: u64, deployment: u64) -> [Self; CALLS] {
        [
            Self::Create(value),
            Self::Put(value),
            Self::Scale(value),
            Self::Env(value),
            Self::Repo(value),
            Self::Delete,
            Self::Start,
            Self::Stop,
            Self::Restart,
            Self::Redeploy,
            Self::Rollback,
            Self::Cancel(deployment),
        ]
    }

    fn send(self, server: &Server, app: &App<'_>) -> Response {
        let whole = |value| app.document(value);
        let (method, verb, body) = match self {
            Self::Create(value) => {
                return send(server, "POST", "/applications", &whole(value));
            }
            Self::Put(value) => ("PUT", String::new(), whole(value)),
            Self::Scale(value) => ("PATCH", String::new(), scale(value)),
            Self::Env(value) => ("PATCH", String::new(), env(value)),
            Self::Repo(value) => ("PATCH", String::new(), app.repo(value)),
            Self::Delete => ("DELETE", String::new(), Value::Null),
            Self::Start => ("POST", "/start".to_owned(), Value::Null),
            Self::Stop => ("POST", "/stop".to_owned(), Value::Null),
            Self::Restart => ("POST", "/restart".to_owned(), Value::Null),
            Self::Redeploy => ("POST", "/redeploy".to_owned(), Value::Null),
            Self::Rollback => ("POST", "/rollback".to_owned(), Value::Null),
            Self::Cancel(id) => ("POST", format!("/deployments/{id}/cancel"), Value::Null),
        };
        send(server, method, &app.path(&verb), &body)
    }

    /// What it leaves; `None`: where it cannot be done.
    fn apply(self, there: Option<Model>) -> Option<Option<Model>> {
        let created = |value: u64| Model {
            scale: processes(value),
            env: value,
            repo: value % 2,
            runs: true,
        };
        let Some(model) = there else {
            return match self {
                Self::Create(value) => Some(Some(created(value))),
                _ => None,
            };
        };
        let runs = Model {
            runs: true,
            ..model
        };
        Some(match self {
            Self::Create(_) => return None,
            Self::Put(value) => Some(created(value)),
            Self::Scale(value) => Some(Model {
                scale: processes(value),
                ..model
            }),
            Self::Env(value) => Some(Model {
                env: value,
                ..model
            }),
            Self::Repo(value) => Some(Model {
                repo: value % 2,
                ..model
            }),
            Self::Delete => None,
            Self::Stop => Some(Model {
                runs: false,
                ..model
            }),
            Self::Cancel(_) => Some(model),
            Self::Start | Self::Restart | Self::Redeploy | Self::Rollback => Some(runs),
        })
    }
}

fn send(server: &Server, method: &str, target: &str, body: &Value) -> Response {
    let request = server.request(method, target).header("Prefer", "wait=50");
    let request = match body.is_null() {
        true => request,
        false => request.body(body.to_string()),
    };
    request.send(&server.public())
}

fn processes(value: u64) -> u64 {
    1 + value % 2
}

fn scale(value: u64) -> Value {
    json!({ "scale": { "worker": processes(value) } })
}

fn env(value: u64) -> Value {
    json!({ "env": { "V": value.to_string() } })
}

/// One application.
struct App<'a> {
    name: String,
    repos: &'a [Repo; 2],
}

impl App<'_> {
    fn path(&self, below: &str) -> String {
        format!("/applications/{}{below}", self.name)
    }

    fn repo(&self, value: u64) -> Value {
        let number = usize::try_from(value % 2).unwrap();
        json!({ "repo": { "url": self.repos[number].url() } })
    }

    fn document(&self, value: u64) -> Value {
        let document = with(document(&self.name, &self.repos[0]), scale(value));
        let document = with(document, self.repo(value));
        let stop = json!({ "stop": { "timeout": "1s" } });
        with(with(document, env(value)), stop)
    }
}

/// What there is, once nothing is at work any more.
#[track_caller]
fn settled(server: &Server, app: &App<'_>) -> Option<Model> {
    eventually("nothing is at work", SOON, || {
        let answer = server.get(&app.path(""));
        if answer.status == 404 {
            return Some(None);
        }
        let document = answer.expect(200).json();
        let answer = server.get(&app.path("/status"));
        let status = if answer.status == 200 {
            answer.json()
        } else {
            return None;
        };
        let model = Model {
            scale: document["scale"]["worker"].as_u64()?,
            env: document["env"]["V"].as_str()?.parse().ok()?,
            repo: u64::from(document["repo"]["url"] == app.repos[1].url()),
            runs: status["state"] != "stopped",
        };
        let list = status["processes"].as_array()?;
        let is_at_rest = match status["state"].as_str()? {
            "stopped" => list.is_empty(),
            "running" => {
                u64::try_from(list.len()).ok()? == model.scale
                    && list.iter().all(|p| p["state"] == "ready")
            }
            "failed" => true,
            _ => false,
        };
        is_at_rest.then_some(Some(model))
    })
}

/// Whether a call took effect by its answer. A deployment that was cancelled leaves its document.
fn is_accepted(answer: &Response) -> bool {
    let text = answer.text();
    match answer.status {
        200..=202 => true,
        409 => text.contains("the document stays") || text.contains("it counts when"),
        404 => false,
        other => panic!("{other}: {text}"),
    }
}

#[track_caller]
fn at_once(
    server: &Server,
    app: &App<'_>,
    before: Option<Model>,
    calls: [Call; 2],
) -> Option<Model> {
    let barrier = Barrier::new(2);
    let answers = std::thread::scope(|scope| {
        let sent = calls.map(|call| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                call.send(server, app)
            })
        });
        sent.map(|thread| thread.join().unwrap())
    });
    let accepted = [0, 1].map(|i| is_accepted(&answers[i]));
    let orders = [[0, 1], [1, 0]].map(|order| {
        let mut state = Some(before);
        for i in order.into_iter().filter(|i| accepted[*i]) {
            state = state.and_then(|state| calls[i].apply(state));
        }
        state
    });
    let after = settled(server, app);
    let told = answers.each_ref().map(|a| (a.status, a.text()));
    assert!(
        orders.contains(&Some(after)),
        "{calls:?} on {before:?} left {after:?}, which neither order does: {told:#?}"
    );
    if after.is_none() {
        for place in ["apps", "run/apps"] {
            let left = server.directory().join(place).join(&app.name);
            assert!(!left.exists(), "{calls:?} left {}", left.display());
        }
    }
    after
}

/// An app that runs and has a release to go back to.
#[track_caller]
fn running(server: &Server, app: &App<'_>, there: Option<Model>, value: u64) -> Option<Model> {
    match there {
        Some(model) if model.runs => return there,
        Some(_) => server.act(&app.name, "start").expect(200),
        None => {
            server.deploy(&app.document(value));
            let newer = server.send_and_wait("PATCH", &app.path(""), &env(value + 1));
            newer.expect(200)
        }
    };
    settled(server, app)
}

/// Tries every pair whose number is one of this app's.
fn try_pairs(server: &Server, app: &App<'_>, own: usize) {
    let kinds = Call::all(0, 0);
    let pairs = (0..CALLS * CALLS)
        .filter(|n| n / CALLS <= n % CALLS && is_wanted([kinds[n / CALLS], kinds[n % CALLS]]))
        .collect::<Vec<_>>();
    let all = pairs.iter().cycle().take(pairs.len() * rounds());
    let mut there = None;
    for (turn, pair) in all.enumerate().skip(own).step_by(APPS) {
        let value = 1000 + u64::try_from(turn).unwrap() * 10;
        there = running(server, app, there, value);
        let records = server.get(&app.path("/deployments")).json();
        let next = u64::try_from(records.as_array().unwrap().len()).unwrap() + 1;
        let first = Call::all(value + 2, next)[pair / CALLS];
        let second = Call::all(value + 3, next)[pair % CALLS];
        there = at_once(server, app, there, [first, second]);
    }
}

#[test]
fn each_pair_of_calls_at_once_leaves_what_one_order_of_the_two_does() {
    let repos = ["1", "2"].map(|version| {
        Repo::new(&[
            ("Procfile", "worker: exec sleep 9999\n"),
            ("VERSION", version),
        ])
    });
    let server = Server::start();
    std::thread::scope(|scope| {
        for own in 0..APPS {
            let (server, repos) = (&server, &repos);
            scope.spawn(move || {
                let name = format!("echo{own}");
                try_pairs(server, &App { name, repos }, own);
            });
        }
    });
}

#[test]
fn two_hundred_patches_at_once_are_all_in_effect_and_say_so() {
    let repos = [(); 2].map(|()| Repo::new(&[("Procfile", "worker: exec sleep 9999\n")]));
    let server = Server::start();
    let name = "echo".to_owned();
    let app = App {
        name,
        repos: &repos,
    };
    server.deploy(&app.document(0));
    let answers: Vec<Response> = std::thread::scope(|scope| {
        let sent: Vec<_> = (0..200)
            .map(|n| {
                let patch = json!({ "env": { format!("N{n}"): "1" } });
                let request = server
                    .request("PATCH", "/applications/echo")
                    .header("Prefer", "wait=90")
                    .deadline(Duration::from_secs(120))
                    .body(patch.to_string());
                let peer = server.public();
                scope.spawn(move || request.send(&peer))
            })
            .collect();
        sent.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for answer in answers {
        answer.expect(200);
    }
    let document = server.get("/applications/echo").json();
    assert_eq!(document["env"].as_object().unwrap().len(), 201);
}
