//! Tables of bytes (`tests/conformance/*.json`) and what becomes of them.
//!
//! Each table is run by one test that tells of every case that fails. Bytes are written as text: a character below
//! U+0100 is the byte of that number, and a pair is a text and how often it is repeated.

mod proxy_headers;
mod requests;
mod responses;
mod routes;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Bytes {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Part {
    Text(String),
    Repeated(String, usize),
}

impl Bytes {
    pub(crate) fn get(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => to_bytes(text),
            Self::Parts(parts) => parts.iter().flat_map(Part::get).collect(),
        }
    }
}

impl Part {
    fn get(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => to_bytes(text),
            Self::Repeated(text, times) => to_bytes(text).repeat(*times),
        }
    }
}

fn to_bytes(text: &str) -> Vec<u8> {
    let byte = |c| u8::try_from(u32::from(c)).expect("a character is a byte");
    text.chars().map(byte).collect()
}

fn to_text(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

pub(crate) fn table<T: for<'de> Deserialize<'de>>(json: &str, at_least: usize) -> Vec<T> {
    let cases: Vec<T> = serde_json::from_str(json).unwrap();
    assert!(cases.len() >= at_least, "cases are missing");
    cases
}

/// Fails with all that failed.
fn report(failures: &[String]) {
    let count = failures.len();
    assert!(count == 0, "{count} failed:\n{}", failures.join("\n"));
}

/// Reads a request, if it comes whole.
fn whole_request(reader: &mut BufReader<&TcpStream>) -> Option<String> {
    let mut message = lines_to_blank(reader)?;
    let head = to_text(&message).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok());
    if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        loop {
            let start = message.len();
            line(reader, &mut message)?;
            let size = to_text(&message[start..]);
            match usize::from_str_radix(size.trim_end(), 16).ok()? {
                0 => break,
                size => exactly(reader, &mut message, size + 2)?,
            }
        }
        message.extend(lines_to_blank(reader)?);
    } else {
        exactly(reader, &mut message, length.unwrap_or(0))?;
    }
    Some(to_text(&message))
}

fn line(reader: &mut BufReader<&TcpStream>, into: &mut Vec<u8>) -> Option<()> {
    reader.read_until(b'\n', into).ok()?;
    into.ends_with(b"\r\n").then_some(())
}

fn lines_to_blank(reader: &mut BufReader<&TcpStream>) -> Option<Vec<u8>> {
    let mut lines = Vec::new();
    loop {
        let start = lines.len();
        line(reader, &mut lines)?;
        if lines[start..] == *b"\r\n" {
            return Some(lines);
        }
    }
}

fn exactly(reader: &mut BufReader<&TcpStream>, into: &mut Vec<u8>, count: usize) -> Option<()> {
    let start = into.len();
    into.resize(start + count, 0);
    reader.read_exact(&mut into[start..]).ok()
}
