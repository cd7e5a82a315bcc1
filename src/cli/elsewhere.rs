//! Verbs of other tools that are several words here. Those that are one are aliases of clap's, and of those that have no
//! equal [`super::tips`] says what to type.

use std::ffi::OsString;

use super::app_option;

/// Verbs of Heroku and Dokku, and what stands in their place.
const VERBS: [(&str, &[&str]); 9] = [
    ("run:detached", &["run", "--detach"]),
    ("domains:add", &["domains", "add"]),
    ("domains:remove", &["domains", "rm"]),
    ("domains:rm", &["domains", "rm"]),
    ("domains:report", &["domains"]),
    ("drains:add", &["drains", "add"]),
    ("drains:remove", &["drains", "rm"]),
    ("cron:run", &["cron", "run"]),
    ("cron:list", &["cron"]),
];

/// Verbs of this program with verbs of their own, which stand before the application here and behind it elsewhere.
const INNER: [(&str, &[&str]); 3] = [
    ("cron", &["run"]),
    ("domains", &["add", "rm", "remove", "delete"]),
    ("drains", &["add", "rm", "remove", "delete"]),
];

/// Verbs that take variables away, by their names.
const UNSETS: [&str; 4] = ["config:unset", "config:rm", "config:remove", "env:unset"];

/// The words of a command line (without the program's own) as this program has them.
#[must_use]
pub fn understood(mut words: Vec<OsString>) -> Vec<OsString> {
    let verb = words.first().and_then(|word| word.to_str());
    let verb = verb.unwrap_or_default().to_owned();
    let switch = verb.strip_prefix("maintenance:");
    let is_unset = UNSETS.contains(&verb.as_str());
    let here = VERBS.iter().find(|(there, _)| *there == verb);
    if let Some((_, here)) = here {
        words.splice(..1, here.iter().map(OsString::from));
    } else if is_unset {
        words[0] = "env".into();
    } else if switch.is_some() {
        words[0] = "maintenance".into();
    }
    words = app_option::settled(words);
    turn_inner(&mut words);
    if let Some(state) = switch {
        // Behind the application, wherever that is among options.
        words.push(state.into());
    }
    if is_unset {
        let is_option = |word: &OsString| word.as_encoded_bytes().starts_with(b"-");
        let app = words.iter().skip(1).position(|word| !is_option(word));
        // Behind the verb and the application.
        let names = app.map_or(words.len(), |app| app + 2);
        words.iter_mut().skip(names).for_each(take_away);
    }
    words
}

/// `cron run NAME` for `cron NAME run`.
fn turn_inner(words: &mut [OsString]) {
    let [verb, name, inner, ..] = words else {
        return;
    };
    let known = INNER.iter().find(|(known, _)| *verb == **known);
    let is_inner =
        |word: &OsString| known.is_some_and(|(_, all)| all.iter().any(|one| word == one));
    if is_inner(inner) && !is_inner(name) {
        std::mem::swap(name, inner);
    }
}

/// `-NAME` for the name of a variable.
fn take_away(word: &mut OsString) {
    let is_name = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if word.to_str().is_some_and(is_name) {
        let name = std::mem::replace(word, "-".into());
        word.push(name);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn verbs_of_several_words_are_those_of_this_program() {
        for (typed, meant) in [
            ("config:unset blog A B_2", "env blog -A -B_2"),
            ("config:unset A B -a blog", "env blog -A -B"),
            ("env:unset --app=blog A --no-wait", "env blog -A --no-wait"),
            ("run:detached -a blog ./task", "run blog --detach ./task"),
            ("run:detached blog ./task", "run --detach blog ./task"),
            ("domains:add blog a.example", "domains add blog a.example"),
            (
                "drains:add syslog+tls://h -a blog",
                "drains add blog syslog+tls://h",
            ),
            (
                "domains:add a.example -a blog",
                "domains add blog a.example",
            ),
            ("domains:remove blog a.example", "domains rm blog a.example"),
            ("cron:run blog report", "cron run blog report"),
            ("logs blog", "logs blog"),
            ("maintenance:on blog", "maintenance blog on"),
            ("maintenance:off -a blog", "maintenance blog off"),
            ("maintenance:on --json blog", "maintenance --json blog on"),
            (
                "maintenance:on blog --retry-after 5m",
                "maintenance blog --retry-after 5m on",
            ),
            ("config:unset --json blog A", "env --json blog -A"),
            ("cron blog run report", "cron run blog report"),
            ("cron run run report", "cron run run report"),
            ("domains blog add a.example", "domains add blog a.example"),
            ("drains blog rm https://h", "drains rm blog https://h"),
            ("", ""),
        ] {
            let words = understood(typed.split(' ').map(OsString::from).collect());
            let words: Vec<_> = words.iter().map(|w| w.to_str().unwrap()).collect();
            assert_eq!(words.join(" "), meant, "{typed}");
            let parsed = Cli::try_parse_from(["procserver"].iter().chain(&words));
            assert!(typed.is_empty() || parsed.is_ok(), "{meant}: {parsed:?}");
        }
    }
}
