//! `procserver backup` and `procserver restore`: what one server had, another one serves; a server that is killed meanwhile
//! loses nothing and leaves nothing half.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::command::{Finished, finish, procserver};
use crate::support::fixture::{document, web_repo, with};
use crate::support::http::Request;
use crate::support::machine::is_root;
use crate::support::repo::Repo;
use crate::support::server::Server;
use crate::support::setup::Setup;
use crate::support::wait::{SOON, eventually};

/// Writes pairs of rows to a database in its storage all the time, and tells of it.
const LEDGER: &str = r#"
import http.server, json, os, sqlite3, threading, time

PATH = os.path.join(os.environ["STORAGE_DIR"], "db.sqlite3")

def connect():
    db = sqlite3.connect(PATH, isolation_level=None, timeout=30)
    db.execute("PRAGMA journal_mode=WAL")
    return db

connect().execute("CREATE TABLE IF NOT EXISTS n(i INTEGER PRIMARY KEY, pad TEXT)")

def write():
    db = connect()
    while True:
        db.execute("BEGIN")
        for _ in range(2):
            db.execute("INSERT INTO n(pad) VALUES (?)", ("x" * 500,))
        db.execute("COMMIT")
        time.sleep(0.002)

threading.Thread(target=write, daemon=True).start()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        db = connect()
        told = {
            "rows": db.execute("SELECT count(*) FROM n").fetchone()[0],
            "integrity": db.execute("PRAGMA integrity_check").fetchone()[0],
            "secret": os.environ.get("SECRET"),
        }
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

const HOST: &str = "shop.example.org";

fn ledger_repo() -> Repo {
    Repo::new(&[
        ("Procfile", "web: exec python3 ledger.py\n"),
        ("ledger.py", LEDGER),
    ])
}

fn run(server: &Server, verb: &str, file: &Path, more: &[&str]) -> Finished {
    let url = format!("unix:{}", server.socket().display());
    let mut command = procserver();
    finish(
        command
            .args([verb, file.to_str().unwrap(), "--server", &url])
            .args(more),
    )
}

fn storage(server: &Server, app: &str) -> PathBuf {
    server.directory().join("apps").join(app).join("storage")
}

/// What the ledger tells, once it runs.
fn ledger(server: &Server) -> Value {
    eventually("the ledger answers", SOON, || {
        let answer = Request::get("/ledger/").try_send(&server.public()).ok()?;
        (answer.status == 200).then(|| answer.json())
    })
}

/// Two applications, one of which writes to its storage, and a certificate. The directory is for backups.
struct Old {
    server: Server,
    _repos: [Repo; 2],
    home: tempfile::TempDir,
}

impl Old {
    fn start() -> Self {
        let server = Server::start();
        let repos = [ledger_repo(), web_repo("1")];
        let secret = json!({"env": {"SECRET": "kept"}});
        server.deploy(&with(document("ledger", &repos[0]), secret));
        server.deploy(&with(document("site", &repos[1]), json!({"hosts": [HOST]})));
        let certificate = server.directory().join("certificates/ca/a.example");
        std::fs::create_dir_all(&certificate).unwrap();
        std::fs::write(certificate.join("cert.pem"), "a certificate").unwrap();
        let kept = storage(&server, "site");
        std::fs::create_dir_all(kept.join("in/deep")).unwrap();
        std::fs::write(kept.join("in/deep/file"), "deep").unwrap();
        std::fs::write(kept.join("n".repeat(200)), "a long name").unwrap();
        let mode = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(kept.join("in/deep/file"), mode).unwrap();
        symlink("/etc/passwd", kept.join("link")).unwrap();
        nix::unistd::mkfifo(&kept.join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        Self {
            server,
            _repos: repos,
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("backup.tar.gz")
    }

    fn back_up(&self, more: &[&str]) -> String {
        run(&self.server, "backup", &self.file(), more).success()
    }

    /// The names in the directory for backups.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.home.path()).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

#[track_caller]
fn has_what_it_had(server: &Server, rows: u64) {
    let told = ledger(server);
    assert_eq!(told["integrity"], "ok", "{told}");
    assert_eq!(told["secret"], "kept", "{told}");
    // Both rows of a transaction, or none.
    assert_eq!(
        told["rows"].as_u64().map(|rows| rows % 2),
        Some(0),
        "{told}"
    );
    assert!(
        told["rows"].as_u64() >= Some(rows),
        "{told} has fewer than {rows}"
    );
    eventually("the site answers at its host", SOON, || {
        let request = Request::get("/").header("Host", HOST);
        let answer = request.try_send(&server.public()).ok()?;
        (answer.status == 200).then_some(())
    });
    let kept = storage(server, "site");
    let deep = kept.join("in/deep/file");
    assert_eq!(std::fs::read(&deep).unwrap(), b"deep");
    assert_eq!(deep.metadata().unwrap().mode() & 0o7777, 0o640);
    assert!(kept.join("n".repeat(200)).is_file());
    assert_eq!(
        std::fs::read_link(kept.join("link")).unwrap(),
        Path::new("/etc/passwd")
    );
    assert!(!kept.join("fifo").exists());
}

/// Nothing is left of a restore that is over.
#[track_caller]
fn is_tidy(server: &Server) {
    eventually("nothing is left of the restore", SOON, || {
        let left = ["restore", "backup"].map(|name| server.directory().join(name).exists());
        (left == [false, false]).then_some(())
    });
}

#[test]
fn another_server_serves_what_one_has_backed_up() {
    let old = Old::start();
    let rows = ledger(&old.server)["rows"].as_u64().unwrap();
    let told = old.back_up(&[]);
    assert!(
        told.contains("ledger: ") && told.contains("paused for "),
        "{told}"
    );
    assert!(told.contains("warning: site: fifo: "), "{told}");
    assert_eq!(old.file().metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(old.files(), ["backup.tar.gz"]);
    is_tidy(&old.server);
    // It went on.
    let before = ledger(&old.server)["rows"].as_u64().unwrap();
    eventually("the ledger goes on", SOON, || {
        (ledger(&old.server)["rows"].as_u64() > Some(before)).then_some(())
    });
    let listed = finish(procserver().args(["restore", old.file().to_str().unwrap(), "--list"]));
    assert!(listed.success().contains("2 applications"));

    let setup = match is_root() {
        true => Setup::new().with_own_users(),
        false => Setup::new(),
    };
    let mut new = setup.start();
    let told = run(&new, "restore", &old.file(), &[]).success();
    assert!(
        told.contains("ledger: restored") && told.contains("site: restored"),
        "{told}"
    );
    has_what_it_had(&new, rows);
    is_tidy(&new);
    if is_root() {
        let owner = |path: PathBuf| path.symlink_metadata().unwrap().uid();
        let user = new.status("site")["user"].as_str().unwrap().to_owned();
        let user = nix::unistd::User::from_name(&user).unwrap().unwrap();
        for name in ["", "in", "in/deep/file", "link"] {
            assert_eq!(
                owner(storage(&new, "site").join(name)),
                user.uid.as_raw(),
                "{name}"
            );
        }
    }
    // The token and the certificates count from the next start on.
    assert_ne!(new.token(), old.server.token());
    new.terminate();
    new.start_again();
    assert_eq!(new.token(), old.server.token());
    new.get("/applications").expect(200);
    let certificate = new.directory().join("certificates/ca/a.example/cert.pem");
    assert_eq!(std::fs::read(certificate).unwrap(), b"a certificate");
    has_what_it_had(&new, rows);
}

#[test]
fn what_is_there_stays_unless_it_is_to_be_replaced() {
    let old = Old::start();
    old.back_up(&[]);
    let marker = storage(&old.server, "site").join("later");
    std::fs::write(&marker, "").unwrap();
    let refused = run(&old.server, "restore", &old.file(), &[]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("there is an application \"ledger\""),
        "{}",
        refused.stderr
    );
    is_tidy(&old.server);
    let unknown = run(&old.server, "restore", &old.file(), &["--only", "nobody"]);
    assert!(
        unknown.stderr.contains("has no application \"nobody\""),
        "{}",
        unknown.stderr
    );
    let unknown = run(&old.server, "backup", &old.file(), &["--only", "nobody"]);
    assert!(
        unknown.stderr.contains("no application \"nobody\""),
        "{}",
        unknown.stderr
    );
    assert_eq!(old.files(), ["backup.tar.gz"]);
    let token = old.server.token();
    let pid = old.server.ready_pid("ledger", "web.1");
    run(
        &old.server,
        "restore",
        &old.file(),
        &["--only", "site", "--replace"],
    )
    .success();
    has_what_it_had(&old.server, 0);
    assert!(!marker.exists());
    assert_eq!(old.server.ready_pid("ledger", "web.1"), pid);
    assert_eq!(old.server.token(), token);
    is_tidy(&old.server);
}

#[test]
fn a_file_that_is_cut_off_or_no_backup_changes_nothing() {
    let old = Old::start();
    old.back_up(&["--only", "site", "--no-pause"]);
    let whole = std::fs::read(old.file()).unwrap();
    let new = Server::start();
    let cut = old.home.path().join("cut");
    for bytes in [
        &whole[..whole.len() - 1],
        &whole[..whole.len() / 2],
        b"",
        b"no backup",
    ] {
        std::fs::write(&cut, bytes).unwrap();
        let refused = run(&new, "restore", &cut, &[]);
        assert_eq!(refused.code, Some(1), "{}", refused.stdout);
        assert!(refused.stderr.contains("not whole"), "{}", refused.stderr);
        is_tidy(&new);
    }
    assert_eq!(new.get("/applications").expect(200).json(), json!([]));
    assert!(!new.directory().join("apps/site").exists());
    run(&new, "restore", &old.file(), &[]).success();
    let names = new.get("/applications").expect(200).json();
    assert_eq!(names.as_array().map(Vec::len), Some(1), "{names}");
}

#[test]
fn a_server_that_is_killed_during_a_restore_goes_on_with_it_or_has_changed_nothing() {
    if !cfg!(debug_assertions) {
        return crate::support::machine::skip(
            "a killed restore",
            "there are no failpoints in this build",
        );
    }
    let old = Old::start();
    let rows = ledger(&old.server)["rows"].as_u64().unwrap();
    old.back_up(&[]);
    for (failpoint, is_written) in [
        ("before a restore is unpacked", false),
        ("before a restore is written down", false),
        ("after a restore is written down", true),
        ("before files are restored", true),
        ("after files are restored", true),
        ("before a restore is over", true),
    ] {
        let mut new = Server::start();
        new.arm_kill(failpoint);
        let ended = run(&new, "restore", &old.file(), &[]);
        assert_eq!(ended.code, Some(1), "{failpoint}: {}", ended.stdout);
        new.wait_for_death();
        new.start_again();
        is_tidy(&new);
        if !is_written {
            assert_eq!(
                new.get("/applications").expect(200).json(),
                json!([]),
                "{failpoint}"
            );
            run(&new, "restore", &old.file(), &[]).success();
        }
        has_what_it_had(&new, rows);
        is_tidy(&new);
    }
}

#[test]
fn a_server_that_is_killed_during_a_backup_leaves_no_file_and_no_application_stopped() {
    if !cfg!(debug_assertions) {
        return crate::support::machine::skip(
            "a killed backup",
            "there are no failpoints in this build",
        );
    }
    let mut old = Old::start();
    for failpoint in ["while an app is paused", "before an app is backed up"] {
        let pid = old.server.ready_pid("ledger", "web.1");
        old.server.arm_kill(failpoint);
        let ended = run(&old.server, "backup", &old.file(), &[]);
        assert_eq!(ended.code, Some(1), "{failpoint}: {}", ended.stdout);
        assert_eq!(old.files(), Vec::<String>::new(), "{failpoint}");
        old.server.wait_for_death();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let is_stopped = stat.rsplit(')').next().unwrap().trim().starts_with('T');
        assert_eq!(is_stopped, failpoint == "while an app is paused", "{stat}");
        old.server.start_again();
        let before = ledger(&old.server)["rows"].as_u64().unwrap();
        eventually("the ledger goes on", SOON, || {
            (ledger(&old.server)["rows"].as_u64() > Some(before)).then_some(())
        });
        assert_eq!(old.server.ready_pid("ledger", "web.1"), pid, "{failpoint}");
        is_tidy(&old.server);
    }
    old.back_up(&[]);
}

/// Made by a server of before the format had code.
#[test]
fn a_backup_of_the_first_format_is_restored() {
    let server = Server::start();
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/backup_format_1.tar.gz");
    let told = run(&server, "restore", &file, &[]).success();
    assert!(told.contains("blog: restored"), "{told}");
    let document = server.get("/applications/blog").expect(200).json();
    assert_eq!(document["repo"]["push"], true, "{document}");
    let notes = storage(&server, "blog").join("notes.txt");
    assert_eq!(std::fs::read_to_string(notes).unwrap(), "kept\n");
}
