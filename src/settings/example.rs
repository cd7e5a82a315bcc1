//! `systemd/procserver.toml`, which is installed as `/etc/procserver/procserver.toml`, names every setting and says its
//! true default.

use std::collections::BTreeSet;
use std::path::Path;

use super::Settings;
use super::environment::Environment;
use super::raw::RawSettings;

const FILE: &str = include_str!("../../systemd/procserver.toml");
/// Before a value that is not the default.
const EXAMPLE: &str = "# For example:";

/// A line that is commented out.
#[derive(Debug)]
struct Line {
    /// Empty at the top.
    table: &'static str,
    name: &'static str,
    text: &'static str,
    is_example: bool,
}

impl Line {
    /// A file in which it alone is not commented out.
    fn alone(&self) -> String {
        match self.table {
            "" => self.text.to_owned(),
            table => format!("[{table}]\n{}", self.text),
        }
    }
}

fn lines() -> Vec<Line> {
    let (mut table, mut before, mut found) = ("", "", Vec::new());
    for line in FILE.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']');
        } else if let Some(text) = line.strip_prefix('#').filter(|line| !line.starts_with(' ')) {
            let (name, _) = text.split_once(" = ").expect(text);
            let is_example = before == EXAMPLE;
            found.push(Line {
                table,
                name,
                text,
                is_example,
            });
        }
        before = line;
    }
    found
}

/// What the reader says that it knows in a table.
fn known(table: &str) -> BTreeSet<String> {
    let wrong = match table {
        "" => "no_such_setting = 1".to_owned(),
        table => format!("[{table}]\nno_such_setting = 1"),
    };
    let error = RawSettings::from_toml(&wrong, Path::new("x"))
        .unwrap_err()
        .to_string();
    // Of two it says "expected `a` or `b`".
    let (_, expected) = error.split_once(", expected ").expect(&error);
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn resolve(text: &str) -> Settings {
    let raw = RawSettings::from_toml(text, Path::new("procserver.toml")).unwrap();
    Settings::resolve(RawSettings::default(), raw, &Environment::example(true)).expect(text)
}

#[test]
fn the_file_names_every_setting_that_the_reader_knows() {
    let lines = lines();
    let tables: BTreeSet<_> = lines.iter().map(|line| line.table).collect();
    let mut all = known("");
    for table in tables.iter().filter(|table| !table.is_empty()) {
        // Of [engine.swarm] the reader knows the first part at the top.
        let (first, _) = table.split_once('.').unwrap_or((table, ""));
        assert!(all.remove(first), "[{table}] is no table");
        all.extend(
            known(table)
                .into_iter()
                .map(|name| format!("{table}.{name}")),
        );
    }
    let named = lines.iter().map(|line| match line.table {
        "" => line.name.to_owned(),
        table => format!("{table}.{}", line.name),
    });
    assert_eq!(named.collect::<BTreeSet<_>>(), all);
}

#[test]
fn the_file_as_it_is_changes_nothing_and_says_true_defaults() {
    let usual = format!("{:?}", resolve(""));
    assert_eq!(format!("{:?}", resolve(FILE)), usual);
    for line in lines().iter().filter(|line| !line.is_example) {
        assert_eq!(format!("{:?}", resolve(&line.alone())), usual, "{line:?}");
    }
}

#[test]
fn all_that_is_commented_out_is_accepted_together() {
    let mut all = FILE.to_owned();
    for line in lines() {
        RawSettings::from_toml(&line.alone(), Path::new("x")).unwrap();
        all = all.replacen(
            &format!("\n#{}\n", line.text),
            &format!("\n{}\n", line.text),
            1,
        );
    }
    let all = resolve(&all);
    assert!(all.tls.acme.is_some() && all.front.reach.path_hosts.is_some());
}
