//! `-a NAME` and `--app NAME`, as users of Heroku name an application: put where this command line has the name.

use std::ffi::OsString;

use clap::{Command, CommandFactory};

use super::Cli;
use crate::document::name::AppName;

/// The words of a command line (without the program's own) with the application's name behind the verb, where `-a` or
/// `--app` names it. Words of verbs that take no such name stay as they are.
#[must_use]
pub fn settled(mut words: Vec<OsString>) -> Vec<OsString> {
    let Some(found) = find(&words) else {
        return words;
    };
    words.drain(found.at..found.end);
    let verb = Cli::command();
    let verb = words.first().and_then(|word| verb.find_subcommand(word));
    // `domains add` is two words.
    let second = words.get(1).zip(verb);
    let is_within = second.is_some_and(|(word, verb)| verb.find_subcommand(word).is_some());
    if !verb.is_some_and(takes_name) {
        words.splice(found.at..found.at, found.words);
    } else if let Some(name) = found.name {
        words.insert(1 + usize::from(is_within), name.into());
    }
    words
}

/// Whether the first argument of the verb is an application.
fn takes_name(verb: &Command) -> bool {
    let first = verb.get_positionals().next();
    first.is_some_and(|first| ["name", "names", "target"].contains(&first.get_id().as_str()))
}

/// The option in a command line.
struct AppOption {
    at: usize,
    end: usize,
    words: Vec<OsString>,
    /// `None` where the command line ends with the option.
    name: Option<String>,
}

fn find(words: &[OsString]) -> Option<AppOption> {
    let text = |at: usize| words.get(at).and_then(|word| word.to_str());
    let options = 0..words
        .iter()
        .position(|word| word == "--")
        .unwrap_or(words.len());
    options.into_iter().find_map(|at| {
        let word = text(at)?;
        let (end, name) = match word.strip_prefix("--app=") {
            Some(name) => (at + 1, Some(name)),
            // `env NAME -a` removes the variable of that name.
            None if word == "-a" && has_name(&words[..at]) => return None,
            None if word == "-a" || word == "--app" => ((at + 2).min(words.len()), text(at + 1)),
            None => return None,
        };
        Some(AppOption {
            at,
            end,
            words: words[at..end].to_vec(),
            name: name.map(str::to_owned),
        })
    })
}

/// Whether the words, which begin with `env` or an alias of it, name an application already.
fn has_name(words: &[OsString]) -> bool {
    let verb = words.first().and_then(|word| word.to_str());
    let is_env = verb.is_some_and(|verb| verb.starts_with("env") || verb.starts_with("config"));
    let is_name = |word: &OsString| {
        word.to_str()
            .is_some_and(|word| AppName::parse(word).is_ok())
    };
    is_env && words.iter().skip(1).any(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: &str) -> String {
        let words = settled(line.split(' ').map(OsString::from).collect());
        let words: Vec<_> = words
            .into_iter()
            .map(|w| w.into_string().unwrap())
            .collect();
        words.join(" ")
    }

    #[test]
    fn the_name_is_put_behind_the_verb() {
        for (typed, meant) in [
            ("logs -a blog", "logs blog"),
            ("logs -f --app blog -n 5", "logs blog -f -n 5"),
            ("ps --app=blog", "ps blog"),
            ("--app blog ps", "ps blog"),
            ("ps:scale web=2 -a blog", "ps:scale blog web=2"),
            ("config:set A=1 B=2 -a blog", "config:set blog A=1 B=2"),
            ("apps:destroy -a blog", "apps:destroy blog"),
            ("rollback 12 -a blog", "rollback blog 12"),
            ("domains -a blog", "domains blog"),
            (
                "domains add a.example -a blog",
                "domains add blog a.example",
            ),
            ("logs -a", "logs"),
        ] {
            assert_eq!(line(typed), meant, "{typed}");
        }
    }

    #[test]
    fn other_words_stay_where_they_are() {
        for typed in [
            "logs blog",
            "env blog -a",
            "env blog B=1 -a",
            "set blog -- --app x",
            "apps -a blog",
            "nonsense -a blog",
            "route --app blog http://x/",
        ] {
            assert_eq!(line(typed), typed);
        }
    }
}
