//! Directories that are deployed without git: by `PUT /applications/A/source` and by `procserver deploy`.

mod archives;
mod growth;
mod hostile;
mod interruptions;
mod verb;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::support::http::{Request, Response};
use crate::support::server::Server;

/// An entry of a tar.
struct Entry<'a> {
    path: &'a str,
    kind: EntryType,
    mode: u32,
    content: &'a [u8],
    target: &'a str,
}

fn file<'a>(path: &'a str, content: &'a str) -> Entry<'a> {
    Entry {
        path,
        kind: EntryType::Regular,
        mode: 0o644,
        content: content.as_bytes(),
        target: "",
    }
}

fn special<'a>(path: &'a str, kind: EntryType, target: &'a str) -> Entry<'a> {
    Entry {
        kind,
        target,
        ..file(path, "")
    }
}

/// A tar of entries, also of such as no program writes.
fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_size(entry.content.len() as u64);
        header.set_mtime(0);
        // The crate itself refuses such names.
        let name = &mut header.as_old_mut().name;
        name[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
        if !entry.target.is_empty() {
            let target = &mut header.as_old_mut().linkname;
            target[..entry.target.len()].copy_from_slice(entry.target.as_bytes());
        }
        header.set_cksum();
        tar.append(&header, entry.content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A site that says `version`.
fn site(version: &str) -> Vec<u8> {
    gzip(&tar(&[file("./public/index.html", version)]))
}

/// Adds an application that gets its code by uploads.
#[track_caller]
fn add(server: &Server, name: &str) {
    let document = json!({"name": name, "repo": {"push": true}, "static": {"dir": "public"}});
    server
        .send_and_wait("POST", "/applications", &document)
        .expect(201);
}

fn request(server: &Server, name: &str, archive: Vec<u8>) -> Request {
    server
        .request("PUT", &format!("/applications/{name}/source"))
        .header("Content-Type", "application/octet-stream")
        .header("Prefer", "wait=50")
        .body(archive)
}

/// Uploads and waits until that is deployed.
#[track_caller]
fn upload(server: &Server, name: &str, archive: Vec<u8>) -> Response {
    request(server, name, archive).send(&server.public())
}

fn deployments(server: &Server, name: &str) -> Vec<Value> {
    let all = server.get(&format!("/applications/{name}/deployments"));
    all.expect(200)
        .json()
        .as_array()
        .cloned()
        .unwrap_or_default()
}

/// The names of what is in the directory of an application, and in its repository.
fn names(server: &Server, name: &str) -> Vec<String> {
    let root = server.directory().join("apps").join(name);
    let list = |path: std::path::PathBuf| {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
    };
    let mut names: Vec<String> = list(root.clone())
        .chain(list(root.join("repo.git")))
        .collect();
    names.sort();
    names
}
