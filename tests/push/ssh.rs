//! Pushes over ssh: through a real sshd(8), as a user of the machine that a test makes for itself.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{create, is_at, let_go, page, run, site};
use crate::install::servers::{Listening, has_sshd, make_key};
use crate::support::command::{Finished, finish, procserver};
use crate::support::machine::{is_root, skip};
use crate::support::own_users::{useradd, userdel};
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// A server, an sshd that lets its holders of keys in, and keys. Dropped from above.
struct Ssh {
    server: Server,
    sshd: Listening,
    /// sshd's files, and the keys of people.
    home: TempDir,
    user: User,
}

/// A user of this machine as the package makes it.
struct User(String);

impl Drop for User {
    fn drop(&mut self) {
        userdel(&self.0);
    }
}

impl User {
    fn new() -> Self {
        static TURN: AtomicU32 = AtomicU32::new(0);
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        Self(format!("psssh-{}-{turn}", std::process::id()))
    }

    fn make(&self, home: &Path) {
        let home = home.display().to_string();
        let mut words = vec!["--system", "--user-group", "--no-create-home"];
        words.extend(["--home-dir", &home, "--shell", "/bin/sh"]);
        words.extend(["--password", "*", &self.0]);
        useradd(&words);
    }
}

impl Ssh {
    /// Says so where the machine has no sshd, or the tests may make no user.
    fn start(test: &str) -> Option<Self> {
        if !is_root() {
            skip(test, "only root makes users");
            return None;
        }
        if !has_sshd(test) {
            return None;
        }
        let user = User::new();
        // Other users can reach a copy of the program, wherever the tests are.
        let setup = Setup::new().with_own_program().flag("--ssh-user", &user.0);
        user.make(&setup.directory().join("ssh"));
        let home = tempfile::tempdir().unwrap();
        make_key(&home.path().join("host_key"));
        let configuration = home.path().join("sshd_config");
        // As on a Debian, but for PAM: StrictModes, and the keys where sshd looks for those of every user.
        let text = format!(
            "HostKey {}\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n\
             X11Forwarding yes\nAcceptEnv LANG LC_* GIT_PROTOCOL\nSubsystem sftp internal-sftp\n",
            home.path().join("host_key").display(),
        );
        std::fs::write(&configuration, text).unwrap();
        let log = home.path().join("log");
        let sshd = Listening::start(move |stream| {
            let log = std::fs::File::options()
                .create(true)
                .append(true)
                .open(&log);
            let mut sshd = Command::new("/usr/sbin/sshd");
            sshd.args(["-i", "-e", "-f"]).arg(&configuration);
            sshd.stdin(Stdio::from(OwnedFd::from(stream.try_clone().unwrap())));
            sshd.stdout(Stdio::from(OwnedFd::from(stream)))
                .stderr(log.unwrap());
            sshd.status().unwrap();
        });
        Some(Self {
            server: setup.start(),
            sshd,
            home,
            user,
        })
    }

    /// Makes a key pair for `name` and lets its holder in.
    #[track_caller]
    fn add(&self, name: &str, apps: &[&str]) -> Finished {
        let key = self.home.path().join(name);
        if !key.exists() {
            make_key(&key);
        }
        let public = key.with_extension("pub").display().to_string();
        let mut words = vec!["ssh-key", "add", name, &public];
        for app in apps {
            words.extend(["--app", app]);
        }
        self.cli(&words)
    }

    /// The program as a client of the server.
    #[track_caller]
    fn cli(&self, words: &[&str]) -> Finished {
        let mut command = procserver();
        let url = format!("unix:{}", self.server.socket().display());
        finish(command.args(words).args(["--server", &url]))
    }

    fn url(&self, app: &str) -> String {
        let port = self.sshd.address.port();
        format!("ssh://{}@127.0.0.1:{port}/{app}.git", self.user.0)
    }

    /// The words of ssh as the holder of a key of this name.
    fn ssh(&self, name: &str) -> Vec<String> {
        let key = self.home.path().join(name).display().to_string();
        let words = "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
                     -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -i";
        let words = words.split_whitespace().map(str::to_owned);
        words.chain([key]).collect()
    }

    /// git as the holder of a key of this name.
    fn git(&self, name: &str, directory: &Path, arguments: &[&str]) -> Output {
        let mut git = super::git(directory, arguments);
        git.env("GIT_SSH_COMMAND", self.ssh(name).join(" "));
        git.output().unwrap()
    }

    /// Pushes, and returns whether that worked and what was shown.
    fn push(&self, name: &str, app: &str, repo: &Repo, refspec: &str) -> (bool, String) {
        let output = self.git(name, repo.path(), &["push", &self.url(app), refspec]);
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), shown)
    }

    #[track_caller]
    fn refuses(&self, name: &str, app: &str, repo: &Repo, refspec: &str, says: &str) {
        let (worked, shown) = self.push(name, app, repo, refspec);
        assert!(
            !worked && shown.contains(says),
            "{says}: {shown}\n{}",
            self.log()
        );
    }

    /// Runs ssh with `options` and `command`, whose words are sent as they are.
    fn run(&self, name: &str, options: &[&str], command: &[&str]) -> (bool, String) {
        let words = self.ssh(name);
        let port = self.sshd.address.port().to_string();
        let to = format!("{}@127.0.0.1", self.user.0);
        let output = Command::new(&words[0])
            .args(&words[1..])
            .args(["-p", &port])
            .args(options)
            .arg(to)
            .args(command)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let shown = [output.stdout, output.stderr].concat();
        let shown = String::from_utf8_lossy(&shown).into_owned();
        (output.status.success(), shown)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

#[test]
fn a_push_over_ssh_deploys_and_shows_each_step_and_a_clone_gets_it_back() {
    let Some(ssh) = Ssh::start("a push over ssh deploys") else {
        return;
    };
    let added = ssh.add("ann", &[]);
    assert_eq!(added.code, Some(0), "{added:?}");
    let url = format!("ssh://{}@SERVER/NAME.git", ssh.user.0);
    assert!(
        added.stdout.contains("SHA256:") && added.stdout.contains(&url),
        "{added:?}"
    );
    create(&ssh.server, &site("site"));
    let repo = page("one");
    // More than fits into any pipe or buffer on the way.
    let noise: String = (0..200_000)
        .map(|n: u32| format!("{:x}", n.wrapping_mul(2_654_435_761)))
        .collect();
    repo.commit(&[("noise", &noise)]);
    let (worked, shown) = ssh.push("ann", "site", &repo, "main");
    assert!(worked, "{shown}\n{}", ssh.log());
    for line in [
        "remote: === fetch",
        "remote: === checkout done in ",
        "remote: === deployment 1 succeeded: release 1",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert_eq!(ssh.server.visit("/site/").expect(200).text(), "one");
    is_at(&ssh.server, "site", &repo.commit_id());
    // By scp's way to write it, and by the protocol's second version.
    for protocol in ["0", "2"] {
        let place = tempfile::tempdir().unwrap();
        let version = format!("protocol.version={protocol}");
        let arguments = ["-c", &version, "clone", &ssh.url("site"), "clone"];
        let cloned = ssh.git("ann", place.path(), &arguments);
        assert!(cloned.status.success(), "{cloned:?}");
        let read = std::fs::read_to_string(place.path().join("clone/noise")).unwrap();
        assert!(read == noise);
    }
    // The audit log names the key, and its holder's address.
    let audit = ssh.server.get("/audit?app=site").expect(200).json();
    let lines = audit.as_array().unwrap();
    let pushed = lines
        .iter()
        .find(|line| line["path"] == "/git/site.git/session/git-receive-pack");
    let pushed = pushed.expect("the push has a line");
    let keys = ssh.server.get("/-/ssh-keys").expect(200).json();
    assert_eq!(
        (&pushed["who"], &pushed["ssh_key"], &pushed["from"]),
        (&json!("ann"), &keys[0]["id"], &json!("127.0.0.1"))
    );
    assert!(keys[0]["last_used"].is_string(), "{keys}");
    // A later server knows the keys.
    let mut ssh = ssh;
    ssh.server.kill();
    ssh.server.start_again();
    repo.commit(&[("index.html", "two")]);
    let (worked, shown) = ssh.push("ann", "site", &repo, "main");
    assert!(worked, "{shown}\n{}", ssh.log());
    is_at(&ssh.server, "site", &repo.commit_id());
}

#[test]
fn what_may_not_be_pushed_is_refused_over_ssh_as_over_http() {
    let Some(ssh) = Ssh::start("what may not be pushed is refused over ssh") else {
        return;
    };
    assert_eq!(ssh.add("ann", &[]).code, Some(0));
    create(&ssh.server, &site("site"));
    let repo = page("good");
    let (worked, shown) = ssh.push("ann", "site", &repo, "main");
    assert!(worked, "{shown}\n{}", ssh.log());
    let good = repo.commit_id();
    ssh.refuses(
        "ann",
        "site",
        &repo,
        "main:other",
        "only main is deployed here",
    );
    ssh.refuses("ann", "site", &repo, ":main", "cannot be deleted");
    ssh.refuses("ann", "none", &repo, "main", "none");
    repo.commit(&[("Procfile", "web: echo it is broken >&2; exit 3\n")]);
    let says = "not deployed: start: web.1 ended with exit code 3";
    ssh.refuses("ann", "site", &repo, "main", says);
    is_at(&ssh.server, "site", &good);
    assert_eq!(ssh.server.visit("/site/").expect(200).text(), "good");
}

#[test]
fn a_key_is_for_its_apps_until_it_is_removed() {
    let Some(ssh) = Ssh::start("a key is for its apps until it is removed") else {
        return;
    };
    create(&ssh.server, &site("mine"));
    create(&ssh.server, &site("other"));
    let repo = page("one");
    make_key(&ssh.home.path().join("ann"));
    ssh.refuses("ann", "mine", &repo, "main", "Permission denied");
    assert_eq!(ssh.add("ann", &["mine"]).code, Some(0));
    assert_eq!(ssh.add("bob", &[]).code, Some(0));
    // As an application that is not there.
    ssh.refuses(
        "ann",
        "other",
        &repo,
        "main",
        "there is no application \"other\"",
    );
    assert_eq!(ssh.server.status("other")["state"], "empty");
    let (worked, shown) = ssh.push("ann", "mine", &repo, "main");
    assert!(worked, "{shown}\n{}", ssh.log());
    let twice = ssh.add("ann", &[]);
    assert!(
        twice.code == Some(1) && twice.stderr.contains("already"),
        "{twice:?}"
    );
    let listed = ssh.cli(&["ssh-key", "list"]).stdout;
    assert!(
        listed.contains("mine") && listed.contains("ssh-ed25519"),
        "{listed}"
    );
    let removed = ssh.cli(&["ssh-key", "remove", "ann"]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    repo.commit(&[("index.html", "two")]);
    ssh.refuses("ann", "mine", &repo, "main", "Permission denied");
    // Where sshd has not heard of it, the server refuses the key itself.
    let keys = ssh.server.directory().join("ssh/.ssh/authorized_keys");
    let told = std::fs::read_to_string(&keys).unwrap();
    let public = std::fs::read_to_string(ssh.home.path().join("ann.pub")).unwrap();
    let bob = ssh.server.get("/-/ssh-keys").expect(200).json()[0]["id"].clone();
    let stale = told.replace(bob.as_str().unwrap(), "k0000000000000000");
    let (options, _) = stale
        .lines()
        .nth(1)
        .unwrap()
        .split_once("ssh-ed25519")
        .unwrap();
    std::fs::write(&keys, format!("{options}{public}")).unwrap();
    ssh.refuses("ann", "mine", &repo, "main", "This ssh key was removed");
    let refused = ssh.cli(&["ssh-key", "remove", "ann"]);
    assert!(
        refused.code == Some(1) && refused.stderr.contains("no key \"ann\""),
        "{refused:?}"
    );
}

#[test]
fn nothing_but_git_can_be_had_over_ssh() {
    let Some(ssh) = Ssh::start("nothing but git can be had over ssh") else {
        return;
    };
    assert_eq!(ssh.add("ann", &[]).code, Some(0));
    create(&ssh.server, &site("site"));
    let mark = ssh.server.directory().join("ssh/mark");
    let touch = format!("touch {}", mark.display());
    let refused = |options: &[&str], command: &[&str], says: &str| {
        let (worked, shown) = ssh.run("ann", options, command);
        assert!(
            !worked && shown.contains(says),
            "{command:?}: {shown}\n{}",
            ssh.log()
        );
    };
    let only_git = "only git push";
    refused(&[], &[], "there is no shell");
    refused(&["-tt"], &[], "PTY allocation request failed");
    refused(&[], &["sh"], only_git);
    refused(&[], &["sh", "-c", &touch], only_git);
    refused(&[], &[&touch], only_git);
    refused(&[], &["git-upload-archive 'site.git'"], only_git);
    refused(
        &[],
        &[&format!("git-receive-pack 'site.git'\n{touch}")],
        only_git,
    );
    // Of a subsystem, sshd shows no stderr.
    refused(&["-s"], &["sftp"], "");
    let no_repository = "that is no repository";
    for path in [
        "../x",
        "'../site.git'",
        "'/etc/passwd'",
        &format!("'site.git'; {touch}"),
        &format!("$({touch})"),
        &format!("'site.git' --receive-pack='{touch}'"),
        &format!("'site'\"$({touch})\"'.git'"),
    ] {
        refused(&[], &[&format!("git-receive-pack {path}")], no_repository);
    }
    // What a client sets reaches nothing.
    let set = [
        "-o",
        "SetEnv=LC_ALL=$(sh) GIT_PROTOCOL=version=2;X LANG=../../x",
    ];
    refused(&set, &["sh"], only_git);
    // Neither a port nor an agent is carried on.
    let port = ssh.server.address().port();
    let forward = format!("127.0.0.1:{port}");
    refused(
        &["-o", "ExitOnForwardFailure=yes", "-W", &forward],
        &[],
        "forwarding failed",
    );
    assert!(!mark.exists());
    // Who is not sshd's user finds the socket closed, root too.
    let socket = ssh.server.directory().join("run/git.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o777, 0o660);
    let mut serve = procserver();
    serve.args(["ssh-serve", "--socket"]).arg(&socket).arg("k1");
    let served = finish(serve.env("SSH_ORIGINAL_COMMAND", "git-upload-pack 'site.git'"));
    assert!(
        served.code == Some(1) && served.stderr.contains("Only sshd's user"),
        "{served:?}"
    );
    // And that user finds the API's closed.
    let api = ssh.server.socket().display().to_string();
    let tried = Command::new("setpriv")
        .args([
            &format!("--reuid={}", ssh.user.0),
            &format!("--regid={}", ssh.user.0),
            "--init-groups",
        ])
        .args(["curl", "-s", "--unix-socket", &api, "http://a/applications"])
        .output()
        .unwrap();
    assert!(
        !tried.status.success() || !String::from_utf8_lossy(&tried.stdout).contains("site"),
        "{tried:?}"
    );
}

#[test]
fn the_user_of_ssh_is_nobody_else() {
    let Some(ssh) = Ssh::start("the user of ssh is nobody else") else {
        return;
    };
    // An application that ran as this user could push as everybody.
    let mut document = site("site");
    document["user"] = json!(ssh.user.0);
    let refused = ssh
        .server
        .send("POST", "/applications", &document)
        .expect(422);
    assert!(
        refused.text().contains("lets in who pushes"),
        "{}",
        refused.text()
    );
    let not_there = |user: &str, says: &str| {
        let server = Setup::new().flag("--ssh-user", user).start();
        let key = std::fs::read_to_string({
            let key = ssh.home.path().join("host_key.pub");
            assert!(key.exists());
            key
        });
        let wish: Value = json!({"name": "a", "key": key.unwrap()});
        let answer = server.send("POST", "/-/ssh-keys", &wish).expect(409).text();
        assert!(answer.contains(says), "{answer}");
        assert!(!server.directory().join("ssh").exists());
    };
    not_there("procserver-nobody-has-this", "useradd --system");
    not_there("root", "as good as root");
    not_there("nobody", "usermod --home");
}

#[test]
fn a_client_that_goes_away_while_its_push_is_deployed_does_not_end_the_deploy() {
    let Some(ssh) = Ssh::start("a client over ssh that goes away") else {
        return;
    };
    assert_eq!(ssh.add("ann", &[]).code, Some(0));
    create(&ssh.server, &super::held_site("site"));
    let repo = page("one");
    let shown = ssh.home.path().join("shown");
    let mut git = super::git(repo.path(), &["push", &ssh.url("site"), "main"]);
    git.env("GIT_SSH_COMMAND", ssh.ssh("ann").join(" "));
    let file = std::fs::File::create(&shown).unwrap();
    let mut git = git.stdout(Stdio::null()).stderr(file).spawn().unwrap();
    eventually("the install runs", SOON, || {
        let text = std::fs::read_to_string(&shown).unwrap();
        text.contains("=== install").then_some(())
    });
    git.kill().unwrap();
    git.wait().unwrap();
    let_go(&ssh.server, "site");
    eventually("it is deployed", SOON, || {
        let status = ssh.server.status("site");
        (status["commit"] == repo.commit_id().as_str()).then_some(())
    });
    let listed = run(
        Path::new("/"),
        &["ls-remote", &super::url(&ssh.server, "site")],
    );
    assert!(
        String::from_utf8_lossy(&listed.stdout).contains(&repo.commit_id()),
        "{listed:?}"
    );
}
