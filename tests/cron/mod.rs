//! Jobs at set times. Their clock is the server's own (`faults::clock`), or each second will do.

mod clock;
mod jobs;

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::wait::{SOON, eventually};

/// A job that runs each second.
fn each_second(name: &str, command: &str) -> Value {
    json!({"name": name, "schedule": "* * * * * *", "command": command})
}

/// A job that runs when it is asked to.
fn yearly(name: &str, command: &str) -> Value {
    json!({"name": name, "schedule": "@yearly", "command": command})
}

fn deploy(server: &Server, jobs: Value) -> Repo {
    let repo = web_repo("1");
    server.deploy(&with(document("echo", &repo), json!({ "cron": jobs })));
    repo
}

/// A job as it is listed, once it is as wanted.
#[track_caller]
fn listed(server: &Server, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("the job {name} is as wanted"), SOON, || {
        let answer = server.request("GET", "/applications/echo/cron");
        let answer = answer.try_send(&server.public()).ok()?;
        let all = (answer.status == 200).then(|| answer.json())?;
        let job = all.as_array()?.iter().find(|job| job["name"] == name)?;
        wanted(job).then(|| job.clone())
    })
}

/// Its runs that are over, oldest first.
fn ended(job: &Value) -> Vec<Value> {
    let runs = job["runs"].as_array().unwrap().iter();
    let ended = runs.filter(|run| !run["last_exit"].is_null());
    ended.cloned().collect()
}

/// Its runs that live.
fn live(job: &Value) -> Vec<Value> {
    let runs = job["runs"].as_array().unwrap().iter();
    let live = runs.filter(|run| run["pid"].is_number());
    live.cloned().collect()
}

fn start(server: &Server, job: &str) -> crate::support::http::Response {
    let call = server.request("POST", &format!("/applications/echo/cron/{job}/run"));
    call.send(&server.public())
}

/// How often a job that adds a line to a file has run.
fn count(server: &Server, file: &str) -> usize {
    let path = server.directory().join("apps/echo/storage").join(file);
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}
