//! [`FakeApi`]: a scripted API on a Unix socket, for tests of the client verbs.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::client::{Client, ClientArgs};

/// What the API answers to the next request, which must be `request` (method and target).
pub(super) struct Exchange {
    pub(super) request: &'static str,
    pub(super) status: u16,
    pub(super) fields: &'static str,
    pub(super) body: String,
}

/// An exchange without fields of its own.
pub(super) fn exchange(request: &'static str, status: u16, body: &Value) -> Exchange {
    Exchange {
        request,
        status,
        fields: "",
        body: body.to_string(),
    }
}

/// A scripted API; it remembers the requests, head and body.
pub(super) struct FakeApi {
    pub(super) client: Client,
    pub(super) requests: Rc<RefCell<Vec<String>>>,
    _directory: TempDir,
}

impl FakeApi {
    /// Answers the exchanges in order; any other request gets 500.
    pub(super) fn start(script: Vec<Exchange>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let requests = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&requests);
        let mut script = VecDeque::from(script);
        actix_rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &mut script, &seen).await;
            }
        });
        let args = ClientArgs {
            server: Some(format!("unix:{}", socket.display())),
            ..ClientArgs::default()
        };
        let client = Client::new(&args).unwrap();
        Self {
            client,
            requests,
            _directory: directory,
        }
    }
}

async fn serve(
    mut stream: UnixStream,
    script: &mut VecDeque<Exchange>,
    seen: &RefCell<Vec<String>>,
) {
    let request = receive(&mut stream).await;
    let line = request.lines().next().unwrap_or_default().to_owned();
    seen.borrow_mut().push(request);
    let expected = script
        .front()
        .is_some_and(|next| line == format!("{} HTTP/1.1", next.request));
    let (status, fields, body) = match script.pop_front().filter(|_| expected) {
        Some(next) => (next.status, next.fields, next.body),
        None => (500, "", format!("not in the script: {line}")),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
}

async fn receive(stream: &mut UnixStream) -> String {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "the request broke off: {text}");
        text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
    }
}
