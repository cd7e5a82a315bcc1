//! A real Chromium, driven by WebDriver (W3C) through the real chromedriver.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::http::{Peer, Request};
use crate::support::machine::{has, processes_of, send_signal};
use crate::support::wait::within;

/// A machine that builds beside this is slow.
const PATIENCE: Duration = Duration::from_secs(90);

/// A browser with one page; with all its processes it ends when this is dropped.
pub(super) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    /// In the environment of all its processes, by which they are found.
    directory: TempDir,
}

impl Browser {
    /// `None` where there is none.
    pub(super) fn start(test: &str) -> Option<Self> {
        if !has("chromium", "chromium", test) || !has("chromedriver", "chromium-driver", test) {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("TMPDIR", directory.path())
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap());
        let mut browser = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            session: String::new(),
            driver,
            directory,
        };
        let (tell, told) = mpsc::channel();
        // Whatever it says later is read, too, or it would wait.
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if line.contains("started successfully") {
                    let _ = tell.send(line);
                }
            }
        });
        let line = told.recv_timeout(PATIENCE).expect("chromedriver starts");
        let port = line.trim().trim_end_matches('.').rsplit(' ').next();
        let port: u16 = port.and_then(|port| port.parse().ok()).expect("a port");
        browser.address.set_port(port);
        let profile = browser.directory.path().join("profile");
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--window-size=1200,900".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        let options = json!({ "args": arguments });
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": options });
        let wanted = json!({ "capabilities": { "alwaysMatch": wanted } });
        let made = browser.call("POST", "/session", &wanted);
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        browser.post(
            "/timeouts",
            &json!({ "script": 60_000, "pageLoad": 60_000 }),
        );
        Some(browser)
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut request = Request::new(method, path).deadline(PATIENCE);
        if method == "POST" {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send(&Peer::Tcp(self.address));
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        answer.json()["value"].clone()
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.call("POST", &path, body)
    }

    #[track_caller]
    pub(super) fn go(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// Runs a script in the page.
    #[track_caller]
    pub(super) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs a script that calls its last argument when it is done.
    #[track_caller]
    pub(super) fn run_to_end(&self, script: &str) -> Value {
        self.post("/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Speaks to the browser's own protocol.
    #[track_caller]
    pub(super) fn tell(&self, command: &str, parameters: &Value) {
        self.post(
            "/goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        );
    }

    #[track_caller]
    fn find(&self, selector: &str) -> String {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.post("/element", &wanted);
        let mut ids = found.as_object().expect("an element").values();
        ids.next()
            .and_then(Value::as_str)
            .expect("an id")
            .to_owned()
    }

    /// Clicks as a person does: what is hidden or covered cannot be clicked.
    #[track_caller]
    pub(super) fn click(&self, selector: &str) {
        let id = self.find(selector);
        self.post(&format!("/element/{id}/click"), &json!({}));
    }

    #[track_caller]
    pub(super) fn fill_in(&self, selector: &str, text: &str) {
        let id = self.find(selector);
        self.post(&format!("/element/{id}/clear"), &json!({}));
        self.post(&format!("/element/{id}/value"), &json!({ "text": text }));
    }

    /// Says yes to what the page asks.
    #[track_caller]
    pub(super) fn accept(&self) {
        self.post("/alert/accept", &json!({}));
    }

    /// Waits until a condition of the page holds, also while it is replaced by another.
    #[track_caller]
    pub(super) fn until(&self, what: &str, condition: &str) {
        let path = format!("/session/{}/execute/sync", self.session);
        let body = json!({ "script": format!("return Boolean({condition})"), "args": [] });
        let holds = within(PATIENCE, || {
            let request = Request::new("POST", &path)
                .header("Content-Type", "application/json")
                .body(body.to_string());
            let answer = request.try_send(&Peer::Tcp(self.address)).ok()?;
            (answer.status == 200 && answer.json()["value"] == true).then_some(())
        });
        if holds.is_none() {
            let page = self.run("return location.href + '\\n' + document.body.innerText");
            panic!("{what}: {}", page.as_str().unwrap_or_default());
        }
    }

    /// Waits until the page has this text.
    #[track_caller]
    pub(super) fn until_text(&self, text: &str) {
        let quoted = Value::from(text);
        self.until(text, &format!("document.body.innerText.includes({quoted})"));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // Its processes may start others while they are looked for.
        let gone = within(Duration::from_secs(20), || {
            let left = processes_of(self.directory.path());
            left.iter()
                .for_each(|pid| send_signal(*pid, Signal::SIGKILL));
            left.is_empty().then_some(())
        });
        assert!(
            gone.is_some() || std::thread::panicking(),
            "it does not end"
        );
    }
}
