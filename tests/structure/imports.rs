//! Reads which file of `src/` imports which.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

macro_rules! pattern {
    ($text:literal) => {
        LazyLock::new(|| Regex::new($text).expect("a pattern"))
    };
}

/// What a pure file may not say: runtimes, clocks, chance.
static IMPURE: LazyLock<Regex> = pattern!(
    r"\b(?:actix\w*|tokio|awc|getrandom)::|\b(?:Instant|SystemTime|Timestamp|Zoned)::now\b"
);
static COMMENT: LazyLock<Regex> = pattern!(r"(?m)(^|\s)//.*$");
static TESTS: LazyLock<Regex> = pattern!(r"#\[cfg\(test\)\]\s*mod \w+ \{");
/// Where a path to a file of ours begins.
static START: LazyLock<Regex> = pattern!(r"\b(?:crate|super|self|procserver)::");

/// The files of `src/`, by their path in it (`app/supervisor.rs`), without comments and without unit tests.
pub(super) struct Tree {
    texts: BTreeMap<String, String>,
    /// Files whose first lines say so.
    pure: BTreeSet<String>,
    /// File → file and the path by which it is named.
    imports: BTreeMap<String, BTreeMap<String, String>>,
}

impl Tree {
    pub(super) fn read() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut texts, mut pure) = (BTreeMap::new(), BTreeSet::new());
        for (file, text) in read_below(&source) {
            if first_lines(&text).contains("(pure)") {
                pure.insert(file.clone());
            }
            texts.insert(file, without_comments_and_tests(&text));
        }
        let modules: BTreeMap<Vec<String>, String> = texts
            .keys()
            .map(|file| (module(file), file.clone()))
            .collect();
        let imports = texts
            .iter()
            .map(|(file, text)| (file.clone(), targets(file, text, &modules)))
            .collect();
        Self {
            texts,
            pure,
            imports,
        }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    pub(super) fn imports(&self, file: &str) -> impl Iterator<Item = (&str, &str)> {
        self.imports[file]
            .iter()
            .map(|(target, path)| (target.as_str(), path.as_str()))
    }

    /// The file itself and all that it imports, directly or through others.
    pub(super) fn reachable<'t>(&'t self, file: &'t str) -> BTreeSet<&'t str> {
        let mut reached = BTreeSet::new();
        let mut next = vec![file];
        while let Some(file) = next.pop() {
            if reached.insert(file) {
                next.extend(self.imports(file).map(|(target, _)| target));
            }
        }
        reached
    }

    /// A line for each file that leads back to itself by imports that are not between a module and one below it.
    pub(super) fn circles(&self) -> Vec<String> {
        let mut circles = BTreeSet::new();
        for file in self.files() {
            if let Some(way) = self.way_back(file) {
                let least = way.iter().min().expect("a circle of two or more").clone();
                circles.insert((least, way.len(), way));
            }
        }
        let line = |(_, _, way): (_, _, Vec<String>)| format!("{} → {}", way.join(" → "), way[0]);
        circles.into_iter().map(line).collect()
    }

    /// The shortest way from a file to itself.
    fn way_back(&self, start: &str) -> Option<Vec<String>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut next = VecDeque::from([start]);
        while let Some(file) = next.pop_front() {
            for (target, _) in self.imports(file) {
                if is_lineage(file, target) {
                    continue;
                }
                if target == start {
                    let way = std::iter::successors(Some(file), |at| came_from.get(at).copied());
                    let mut way: Vec<String> = way.map(str::to_owned).collect();
                    way.reverse();
                    return Some(way);
                }
                if let Entry::Vacant(entry) = came_from.entry(target) {
                    entry.insert(file);
                    next.push_back(target);
                }
            }
        }
        None
    }

    pub(super) fn is_named_pure(&self, file: &str) -> bool {
        self.pure.contains(file)
    }

    pub(super) fn impure_word(&self, file: &str) -> Option<&str> {
        IMPURE.find(&self.texts[file]).map(|found| found.as_str())
    }
}

/// Whether one is a module and the other lies below it (`stop.rs` and `stop/marked.rs`).
fn is_lineage(one: &str, other: &str) -> bool {
    let (one, other) = (module(one), module(other));
    one.starts_with(&other) || other.starts_with(&one)
}

/// The first folder of a file's path, or the file's own name where it lies in none (`durable`).
pub(super) fn folder(file: &str) -> &str {
    let first = file.split('/').next().expect("a first part");
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The lines of the block below `# Floors` in `src/lib.rs`, the highest floor first.
pub(super) fn stated_floors() -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"))
        .expect("src/lib.rs");
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.trim_start_matches("//!").trim())
        .skip_while(|line| *line != "# Floors")
        .skip_while(|line| !line.starts_with("```"))
        .skip(1)
        .take_while(|line| !line.starts_with("```"))
        .map(str::to_owned)
        .collect();
    assert!(!lines.is_empty(), "src/lib.rs states no floors");
    lines
}

/// Path in `source` and text of each file that is not of unit tests alone.
fn read_below(source: &Path) -> Vec<(String, String)> {
    let (mut files, mut directories) = (Vec::new(), vec![source.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a directory of src") {
            let path = entry.expect("an entry").path();
            let file = path
                .strip_prefix(source)
                .expect("below src")
                .to_str()
                .expect("UTF-8");
            if path.is_dir() {
                directories.push(path);
            } else if file.ends_with(".rs") && !is_of_tests(file) {
                files.push((
                    file.to_owned(),
                    fs::read_to_string(&path).expect("a source file"),
                ));
            }
        }
    }
    files
}

/// The first paragraph of a file's own documentation.
fn first_lines(text: &str) -> String {
    let documented = text.lines().map_while(|line| line.strip_prefix("//! "));
    documented.collect::<Vec<_>>().join(" ")
}

fn is_of_tests(file: &str) -> bool {
    file.ends_with("_tests.rs") || file.ends_with("/tests.rs") || file.contains("/tests/")
}

fn without_comments_and_tests(text: &str) -> String {
    let text = COMMENT.replace_all(text, "");
    let end = TESTS.find(&text).map_or(text.len(), |found| found.start());
    text[..end].to_owned()
}

/// `app/apps/boot.rs` is `app::apps::boot`.
fn module(file: &str) -> Vec<String> {
    let stem = file
        .strip_suffix("/mod.rs")
        .or_else(|| file.strip_suffix(".rs"));
    let stem = stem.expect("a Rust file");
    match stem {
        "lib" => Vec::new(),
        stem => stem.split('/').map(str::to_owned).collect(),
    }
}

/// The files that this text names by a path that begins with `crate`, `super`, `self` or the crate's own name.
fn targets(
    file: &str,
    text: &str,
    modules: &BTreeMap<Vec<String>, String>,
) -> BTreeMap<String, String> {
    let own = module(file);
    let mut targets = BTreeMap::new();
    for path in paths(text) {
        let Some(absolute) = absolute(&own, &path) else {
            continue;
        };
        let target = (1..=absolute.len())
            .rev()
            .find_map(|end| modules.get(&absolute[..end]));
        if let Some(target) = target
            && target != file
        {
            targets
                .entry(target.clone())
                .or_insert_with(|| path.join("::"));
        }
    }
    targets
}

fn absolute(own: &[String], path: &[String]) -> Option<Vec<String>> {
    let mut absolute = match path[0].as_str() {
        "crate" | "procserver" => Vec::new(),
        "super" | "self" => own.to_vec(),
        _ => return None,
    };
    for word in path {
        match word.as_str() {
            "crate" | "procserver" | "self" => {}
            "super" => {
                absolute.pop();
            }
            word => absolute.push(word.to_owned()),
        }
    }
    Some(absolute)
}

/// All paths of a text, with braces written out: `use crate::app::{name, config::Rules}` is two.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut from = 0;
    while let Some(found) = START.find_at(text, from) {
        let mut rest = &text[found.start()..];
        expand(&mut rest, &mut Vec::new(), &mut paths);
        from = text.len() - rest.len();
    }
    paths
}

/// Takes one path, or group of paths, off the front of `rest`.
fn expand(rest: &mut &str, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    let depth = prefix.len();
    loop {
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        if end > 0 {
            prefix.push(rest[..end].to_owned());
        }
        *rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(after) if after.starts_with('{') => {
                *rest = &after[1..];
                expand_group(rest, prefix, paths);
                break;
            }
            Some(after) if after.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                *rest = after;
            }
            _ => {
                paths.push(prefix.clone());
                break;
            }
        }
    }
    prefix.truncate(depth);
}

fn expand_group(rest: &mut &str, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    loop {
        *rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',' || c == '*');
        match rest.strip_prefix('}') {
            Some(after) => {
                *rest = after;
                return;
            }
            None if rest.is_empty() => return,
            None => {
                let before = rest.len();
                expand(rest, prefix, paths);
                // `name as other`: the other name is no path.
                if let Some(after) = rest.strip_prefix(" as ") {
                    *rest = after.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
                }
                assert!(
                    rest.len() < before,
                    "a use line that is not understood: {:.80}",
                    rest
                );
            }
        }
    }
}
