//! The dashboard: who gets pages, what they let one do, and a real browser that uses them.

mod browser;
mod command_line;
mod doors;
mod pages;
mod session;
mod visit;

use serde_json::{Value, json};

use crate::support::fixture::{document, web_repo, with};
use crate::support::http::{Peer, Request, Response};
use crate::support::server::Server;
use crate::support::setup::Setup;

const HOST: &str = "admin.example";

/// A server with pages on [`HOST`].
fn server() -> Server {
    Setup::new().flag("--api-hosts", HOST).start()
}

/// Deploys an application with a secret and two names.
fn deployed(server: &Server) {
    let repo = web_repo("1");
    server.deploy(&with(
        document("echo", &repo),
        json!({ "env": { "SESAME": "open-it-now" }, "hosts": ["shop.example", of_web()] }),
    ));
}

/// A name that leads to a process type of its own.
fn of_web() -> Value {
    json!({ "name": "ws.example", "process": "cable" })
}

/// A browser without a screen: it keeps a cookie and fills in forms.
struct Visitor {
    peer: Peer,
    cookie: Option<String>,
}

impl Visitor {
    fn of(server: &Server) -> Self {
        Self {
            peer: server.public(),
            cookie: None,
        }
    }

    /// One that has logged in.
    #[track_caller]
    fn logged_in(server: &Server, token: &str) -> Self {
        let mut visitor = Self::of(server);
        let answer = visitor.log_in(token).expect(303);
        assert_eq!(answer.header("location"), Some("/ui"));
        visitor
    }

    fn request(&self, method: &str, target: &str) -> Request {
        let request = Request::new(method, target)
            .header("Host", HOST)
            .header("Accept", "text/html");
        match &self.cookie {
            Some(cookie) => request.header("Cookie", cookie),
            None => request,
        }
    }

    fn get(&self, target: &str) -> Response {
        self.request("GET", target).send(&self.peer)
    }

    fn log_in(&mut self, token: &str) -> Response {
        let page = self.get("/ui/login").expect(200);
        self.cookie = cookie(&page);
        let key = key(&page.text());
        let fields = [("form_key", key.as_str()), ("token", token), ("next", "")];
        let answer = self.post("/ui/login", &fields);
        self.cookie = cookie(&answer).or(self.cookie.take());
        answer
    }

    fn post(&self, target: &str, fields: &[(&str, &str)]) -> Response {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        let fields = fields
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        self.request("POST", target)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Origin", &format!("http://{HOST}"))
            .body(fields.collect::<Vec<_>>().join("&"))
            .send(&self.peer)
    }

    /// Sends a form with the key of a page that was shown.
    #[track_caller]
    fn submit(&self, target: &str, fields: &[(&str, &str)]) -> Response {
        let key = key(&self.get("/ui").expect(200).text());
        let mut all = vec![("form_key", key.as_str())];
        all.extend(fields);
        self.post(target, &all)
    }
}

/// The cookie that an answer sets, as it is sent back.
fn cookie(answer: &Response) -> Option<String> {
    let field = answer.header("set-cookie")?;
    field.split(';').next().map(str::to_owned)
}

/// The key in the first form of a page.
#[track_caller]
fn key(page: &str) -> String {
    let (_, rest) = page
        .split_once("name=\"form_key\" value=\"")
        .unwrap_or_else(|| panic!("no form in {page}"));
    rest.split('"').next().expect("a value").to_owned()
}
