//! Finds out what a checkout needs where its document has no `install` (pure). [`look`] names the languages of its files
//! and the commands that install what these need; [`procfile`] says what runs where there is no Procfile.
//!
//! What is done is what Heroku does, as far as it is good without its images: tests and development packages are left
//! out, and Django's and Rails' static files are collected.

mod compiled;
mod node;
mod php;
mod procfile;
mod python;
mod ruby;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

pub use procfile::{Derived, procfile};

/// The files of a checkout, by their paths in it.
pub trait Files {
    fn has(&self, path: &str) -> bool;
    /// The text of a small file; `None` if there is none, or it is no text.
    fn text(&self, path: &str) -> Option<String>;
}

/// What is known beside the files.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Whether a program is on PATH.
    pub has_program: &'a dyn Fn(&str) -> bool,
    /// What the document and the settings say.
    pub env: &'a BTreeMap<String, String>,
    /// Names of the document's packages.
    pub packages: &'a [&'a str],
}

/// A program that a language needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    Python,
    /// The part of Python that Debian packages apart.
    Venv,
    Node,
    Npm,
    Ruby,
    Bundler,
    Go,
    Cargo,
    Php,
    Composer,
}

impl Tool {
    /// Its program.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Python | Self::Venv => "python3",
            Self::Node => "node",
            Self::Npm => "npm",
            Self::Ruby => "ruby",
            Self::Bundler => "bundle",
            Self::Go => "go",
            Self::Cargo => "cargo",
            Self::Php => "php",
            Self::Composer => "composer",
        }
    }

    /// Debian's package that has it.
    #[must_use]
    pub fn package(self) -> &'static str {
        match self {
            Self::Python => "python3",
            Self::Venv => "python3-venv",
            Self::Node => "nodejs",
            Self::Npm => "npm",
            Self::Ruby => "ruby",
            Self::Bundler => "ruby-bundler",
            Self::Go => "golang-go",
            Self::Cargo => "cargo",
            Self::Php => "php-cli",
            Self::Composer => "composer",
        }
    }
}

/// What one language needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// `Python`.
    pub language: &'static str,
    /// The file that says so.
    pub found: String,
    pub tools: Vec<Tool>,
    /// Commands that fill the directories of `cache`. Nothing of them is needed where the key is the one of the release
    /// before.
    pub install: Vec<String>,
    /// Commands that each release needs.
    pub build: Vec<String>,
    /// Variables of install commands and processes, unless somebody else sets them.
    pub env: BTreeMap<String, String>,
    /// What the next release takes over.
    pub cache: Vec<String>,
    /// Digest of all that decides what `install` leaves; `None`: that depends on more than a few files.
    pub key: Option<String>,
    /// It is installed into a Python environment, which is no part of the release.
    pub has_venv: bool,
}

/// The languages of a checkout. Others than Node come first: with these, a `package.json` may be there for tools alone.
#[must_use]
pub fn look(files: &dyn Files, around: Around<'_>) -> Vec<Part> {
    let languages = [
        python::part(files, around),
        ruby::part(files),
        compiled::go(files),
        compiled::rust(files),
        php::part(files),
    ];
    let mut parts: Vec<Part> = languages.into_iter().flatten().collect();
    // What others collect may be built by Node.
    if let Some(node) = node::part(files, around, parts.is_empty()) {
        parts.insert(0, node);
    }
    parts
}

/// Digest of what decides the result of `install`.
fn key(install: &[String], inputs: &[(String, String)]) -> String {
    let mut hash = Sha256::new();
    let inputs = inputs.iter().flat_map(|(name, text)| [name, text]);
    for text in install.iter().chain(inputs) {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    hex(&hash.finalize())
}

/// In hexadecimal digits.
#[must_use]
pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Those of `names` that are there, with their texts.
fn texts(files: &dyn Files, names: &[&str]) -> Vec<(String, String)> {
    let text = |name: &&str| Some(((*name).to_owned(), files.text(name)?));
    names.iter().filter_map(text).collect()
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn commands(of: &[&str]) -> Vec<String> {
    of.iter().map(|command| (*command).to_owned()).collect()
}

#[cfg(test)]
mod tests;
