//! Applications whose code is pushed to the server: by the real git, over the real HTTP.

mod backups;
mod documents;
pub(crate) mod growth;
mod hostile;
mod kills;
mod pushes;
mod ssh;
mod turns;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::repo::Repo;
use crate::support::server::Server;

/// A site of files.
fn site(name: &str) -> Value {
    json!({"name": name, "repo": {"push": true}, "static": {"dir": "."}})
}

/// A site whose deploys wait until they are let go.
fn held_site(name: &str) -> Value {
    let hold = "while [ ! -e \"$STORAGE_DIR/go\" ]; do sleep 0.1; done";
    let mut document = site(name);
    document["install"] = json!([hold]);
    document
}

fn create(server: &Server, document: &Value) {
    server
        .send_and_wait("POST", "/applications", document)
        .expect(201);
}

/// Lets the deploys of a [`held_site`] go.
fn let_go(server: &Server, app: &str) {
    let file = server.directory().join("apps").join(app).join("storage/go");
    std::fs::write(file, "").unwrap();
}

/// A repository on the branch `main` with one page.
fn page(text: &str) -> Repo {
    Repo::on_branch("main", &[("index.html", text)])
}

fn url(server: &Server, app: &str) -> String {
    url_with(server, app, &server.token())
}

fn url_with(server: &Server, app: &str, token: &str) -> String {
    format!("http://git:{token}@{}/git/{app}.git", server.address())
}

/// git without the developer's configuration, and without questions.
fn git(directory: &Path, arguments: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=Test", "-c", "user.email=test@example.org"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("no_proxy", "*")
        .stdin(Stdio::null());
    git
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    git(directory, arguments)
        .output()
        .expect("git is installed")
}

/// Pushes, and returns whether that worked and what was shown.
fn push(server: &Server, app: &str, repo: &Repo, refspec: &str) -> (bool, String) {
    let output = run(repo.path(), &["push", &url(server, app), refspec]);
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Pushes the branch, which works.
#[track_caller]
fn pushed(server: &Server, app: &str, repo: &Repo) -> String {
    let (worked, shown) = push(server, app, repo, "main");
    assert!(worked, "{shown}");
    shown
}

/// A push that goes on, with what it shows in `to`.
fn begin_push(server: &Server, app: &str, repo: &Repo, to: &Path) -> Child {
    let shown = std::fs::File::create(to).unwrap();
    let mut git = git(repo.path(), &["push", &url(server, app), "main"]);
    git.stdout(Stdio::null()).stderr(shown).spawn().unwrap()
}

/// The commit of the server's branch.
fn branch(server: &Server, app: &str) -> Option<String> {
    let output = run(
        Path::new("/"),
        &["ls-remote", &url(server, app), "refs/heads/main"],
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next().map(str::to_owned)
}

/// That branch and what runs are at `commit`.
#[track_caller]
fn is_at(server: &Server, app: &str, commit: &str) {
    assert_eq!(branch(server, app).as_deref(), Some(commit));
    assert_eq!(server.status(app)["commit"], commit);
}
