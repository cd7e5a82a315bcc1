//! `git http-backend` behind a small HTTP server, with Git LFS beside it, on loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use super::servers::{Listening, git};

/// `git http-backend` on everything below a directory, and a Git LFS server beside it.
pub(super) struct Http {
    listening: Listening,
    state: Arc<State>,
}

struct State {
    base: PathBuf,
    /// The `Authorization` that it wants.
    wanted: Mutex<Option<String>>,
    /// Method, target and `Authorization` of each request.
    requests: Mutex<Vec<String>>,
    address: Mutex<Option<SocketAddr>>,
}

/// The head of a request, and its body.
struct Request {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let field = fields.find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(&field.1)
    }
}

impl Http {
    pub(super) fn start(base: &Path) -> Self {
        let state = Arc::new(State {
            base: base.to_owned(),
            wanted: Mutex::new(None),
            requests: Mutex::new(Vec::new()),
            address: Mutex::new(None),
        });
        let shared = state.clone();
        let listening = Listening::start(move |stream| shared.serve(&stream));
        *state.address.lock().unwrap() = Some(listening.address);
        Self { listening, state }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.listening.address
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.listening.address)
    }

    /// From now on it wants `Basic` and this (base64 of `user:password`).
    pub(super) fn want(&self, basic: &str) {
        *self.state.wanted.lock().unwrap() = Some(format!("Basic {basic}"));
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }

    /// What Git LFS has of this id.
    pub(super) fn object(&self, id: &str) -> PathBuf {
        self.state.base.join("lfs-objects").join(id)
    }
}

impl State {
    fn serve(&self, mut stream: &TcpStream) {
        let Some(request) = read(&mut stream) else {
            return;
        };
        let authorization = request.field("authorization").unwrap_or("-");
        let line = format!("{} {} {authorization}", request.method, request.target);
        self.requests.lock().unwrap().push(line);
        let wanted = self.wanted.lock().unwrap().clone();
        let answer = if wanted.is_some_and(|wanted| wanted != authorization) {
            b"Status: 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nLFS-Authenticate: Basic realm=\"x\"\r\n\r\n".to_vec()
        } else if request.target.ends_with("/info/lfs/objects/batch") {
            self.batch(&request)
        } else if let Some(id) = request.target.strip_prefix("/lfs-objects/") {
            let mut answer = b"Content-Type: application/octet-stream\r\n\r\n".to_vec();
            answer.extend(std::fs::read(self.base.join("lfs-objects").join(id)).unwrap());
            answer
        } else {
            self.backend(&request)
        };
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
        let status = head.lines().find_map(|line| line.strip_prefix("Status: "));
        let answer_head = format!(
            "HTTP/1.1 {}\r\n{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            status.unwrap_or("200 OK"),
            body.len()
        );
        // The client may have gone.
        let _ = stream.write_all(answer_head.as_bytes());
        let _ = stream.write_all(body);
    }

    /// git-http-backend(1), by way of CGI.
    fn backend(&self, request: &Request) -> Vec<u8> {
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        let mut child = git()
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.base)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REQUEST_METHOD", &request.method)
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env(
                "CONTENT_TYPE",
                request.field("content-type").unwrap_or_default(),
            )
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env(
                "HTTP_CONTENT_ENCODING",
                request.field("content-encoding").unwrap_or_default(),
            )
            .env(
                "GIT_PROTOCOL",
                request.field("git-protocol").unwrap_or_default(),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let body = request.body.clone();
        let writer = std::thread::spawn(move || drop(input.write_all(&body)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output.stdout
    }

    /// <https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md>.
    fn batch(&self, request: &Request) -> Vec<u8> {
        let asked: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let address = self.address.lock().unwrap().expect("it listens");
        let objects = asked["objects"].as_array().unwrap().iter().map(|object| {
            let id = object["oid"].as_str().unwrap();
            if !self.base.join("lfs-objects").join(id).exists() {
                return serde_json::json!({"oid": id, "size": object["size"],
                    "error": {"code": 404, "message": "Object does not exist"}});
            }
            let header = self.wanted.lock().unwrap().clone();
            let header = match header {
                Some(wanted) => serde_json::json!({"Authorization": wanted}),
                None => serde_json::json!({}),
            };
            let href = format!("http://{address}/lfs-objects/{id}");
            serde_json::json!({"oid": id, "size": object["size"], "actions": {"download": {"href": href, "header": header}}})
        });
        let answer =
            serde_json::json!({"transfer": "basic", "objects": objects.collect::<Vec<_>>()});
        format!("Content-Type: application/vnd.git-lfs+json\r\n\r\n{answer}").into_bytes()
    }
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let fields = lines.filter_map(|line| line.split_once(": "));
    let fields = fields.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let mut request = Request {
        method,
        target,
        fields,
        body: Vec::new(),
    };
    if request.field("transfer-encoding").is_some() {
        request.body = chunked(stream)?;
    } else if let Some(length) = request.field("content-length") {
        request.body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut request.body).ok()?;
    }
    Some(request)
}

fn chunked(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            line.push(byte[0]);
        }
        let size = String::from_utf8(line).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
