//! [`Place`]: which names are due where a word is being typed (pure).

use clap::{Arg, Command};
use serde_json::Value;

use crate::document::name::AppName;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Applications,
    Processes,
    /// Process types with their quantities.
    Scale,
    Variables,
    Hosts,
    Jobs,
    Releases,
    Deployments,
    Tokens,
}

/// A word that is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) kind: Kind,
    /// Of which application.
    pub(super) app: Option<AppName>,
    /// How the word begins.
    pub(super) begin: String,
}

/// The words of a line. bash takes them apart at colons and equals signs, as of `config:set`.
pub(super) fn joined<'a>(parts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut goes_on = false;
    for part in parts {
        let is_break = matches!(part, ":" | "=" | "::");
        match words.last_mut() {
            Some(word) if is_break || goes_on => word.push_str(part),
            _ => words.push(part.to_owned()),
        }
        goes_on = is_break;
    }
    words
}

impl Place {
    /// What is due for the last of `words`, which follow the program's name; `None` where it is not a name of the server.
    pub(super) fn of(command: &Command, words: &[String]) -> Option<Self> {
        let (typed, before) = words.split_last()?;
        let mut verb = command;
        let mut path: Vec<&str> = Vec::new();
        let (mut values, mut option): (Vec<&str>, Option<&Arg>) = (Vec::new(), None);
        let mut app = None;
        for word in before {
            if let Some(waiting) = option.take() {
                // An application may be named as Heroku's users do.
                app = app.or((is_app_option(waiting)).then_some(word.as_str()));
            } else if word == "--" {
                return None;
            } else if word == "-a" || word == "--app" {
                option = Some(app_option(verb)?);
            } else if word.starts_with('-') {
                option = option_of(verb, word);
            } else if let Some(inner) = verb.find_subcommand(word).filter(|_| values.is_empty()) {
                verb = inner;
                path.push(inner.get_name());
            } else {
                values.push(word);
            }
        }
        let (name, begin) = match typed
            .strip_prefix("--")
            .and_then(|word| word.split_once('='))
        {
            Some((name, begin)) => (Some(name), begin),
            None => (None, typed.as_str()),
        };
        let argument = match (option, name) {
            (Some(option), _) => option,
            (None, Some(name)) => verb.get_arguments().find(|a| a.get_long() == Some(name))?,
            (None, None) if begin.starts_with('-') && path != ["env"] => return None,
            (None, None) => {
                let at = values.len() + usize::from(app.is_some() && takes_app(verb));
                let mut positionals = verb.get_positionals();
                let many =
                    |argument: &&Arg| argument.get_num_args().is_some_and(|n| n.max_values() > 1);
                positionals
                    .nth(at)
                    .or(verb.get_positionals().last().filter(many))?
            }
        };
        let kind = kind(&path, argument.get_id().as_str())?;
        let first = values.first().copied().filter(|_| takes_app(verb));
        let app = app.or(first).and_then(|name| AppName::parse(name).ok());
        let begin = begin.to_owned();
        Some(Self { kind, app, begin })
    }

    /// Where the API tells of it; `None` where an application must be named first.
    pub(super) fn path(&self) -> Option<String> {
        let below = match self.kind {
            Kind::Applications => return Some("/applications".to_owned()),
            Kind::Tokens => return Some("/tokens".to_owned()),
            Kind::Processes | Kind::Scale => "/status",
            Kind::Variables | Kind::Hosts => "",
            Kind::Jobs => "/cron",
            Kind::Releases => "/releases",
            Kind::Deployments => "/deployments",
        };
        Some(format!("/applications/{}{below}", self.app.as_ref()?))
    }

    /// The candidates in what the API has answered. Each is a word that means nothing else to any shell, whatever an
    /// application calls its things.
    pub(super) fn candidates(&self, answer: &Value) -> Vec<String> {
        let all = match self.kind {
            Kind::Applications | Kind::Jobs | Kind::Tokens => members(answer, "name"),
            Kind::Releases | Kind::Deployments => members(answer, "id"),
            Kind::Processes => {
                let ids = members(&answer["processes"], "id");
                ids.into_iter()
                    .chain(members(&answer["processes"], "type"))
                    .collect()
            }
            Kind::Hosts => members(&answer["hosts"], "host"),
            Kind::Scale => {
                let types = members(&answer["processes"], "type");
                let quantity = |name: &String| types.iter().filter(|other| *other == name).count();
                let entry = |name: &String| format!("{name}={}", quantity(name));
                types.iter().map(entry).collect()
            }
            // Their values are nobody's business here.
            Kind::Variables => entries(&answer["env"])
                .filter(|(name, _)| is_variable(name))
                .map(|(name, _)| match self.begin.starts_with('-') {
                    true => format!("-{name}"),
                    false => name.clone(),
                })
                .collect(),
        };
        let own = |word: &String| self.kind == Kind::Variables || !word.starts_with('-');
        let wanted =
            |word: &String| is_harmless(word) && own(word) && word.starts_with(&self.begin);
        all.into_iter().filter(wanted).collect()
    }
}

/// What the argument `id` of the verb at `path` is about.
fn kind(path: &[&str], id: &str) -> Option<Kind> {
    Some(match (path, id) {
        (["token", ..], "token_id") => Kind::Tokens,
        (["token", ..] | ["certs", ..], "name") => return None,
        (["rollback"], "release") => Kind::Releases,
        (["deployment" | "cancel"], "id") => Kind::Deployments,
        (["cron", "run"], "job") => Kind::Jobs,
        (["domains", "rm"], "hosts") => Kind::Hosts,
        (["scale"], "types") => Kind::Scale,
        (["env"], "variables") => Kind::Variables,
        (["logs" | "stop"], "process") => Kind::Processes,
        (_, "name" | "names" | "app" | "apps" | "only" | "x_app") => Kind::Applications,
        _ => return None,
    })
}

/// Whether the first argument of a verb is an application.
fn takes_app(verb: &Command) -> bool {
    // `token create NAME` and `certs renew NAME` name something else, and the first has an option for applications.
    let first = verb.get_positionals().next();
    let first = first.filter(|_| !verb.get_arguments().any(|a| a.get_long() == Some("app")));
    first.is_some_and(|first| ["name", "names"].contains(&first.get_id().as_str()))
}

/// Where `-a` puts its value: the first argument, or an option of that name.
fn app_option(verb: &Command) -> Option<&Arg> {
    let own = verb
        .get_arguments()
        .find(|argument| argument.get_long() == Some("app"));
    own.or(verb.get_positionals().next().filter(|_| takes_app(verb)))
}

fn is_app_option(argument: &Arg) -> bool {
    ["name", "names"].contains(&argument.get_id().as_str())
}

/// The option of this name, if its value is the next word.
fn option_of<'a>(verb: &'a Command, word: &str) -> Option<&'a Arg> {
    let is_named = |argument: &&Arg| match word.strip_prefix("--") {
        Some(long) => {
            argument.get_long() == Some(long)
                || argument
                    .get_all_aliases()
                    .is_some_and(|all| all.contains(&long))
        }
        None => argument
            .get_short()
            .is_some_and(|short| word.ends_with(short)),
    };
    let option = verb.get_arguments().find(is_named)?;
    let needs = |argument: &&Arg| {
        let values = argument.get_num_args();
        argument.get_action().takes_values() && values.is_none_or(|n| n.min_values() > 0)
    };
    Some(option).filter(needs)
}

fn members(list: &Value, name: &str) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    let text = |item: &Value| match item {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    list.filter_map(|item| text(item).or_else(|| text(&item[name])))
        .collect()
}

fn entries(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flatten()
}

fn is_variable(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.starts_with(|first: char| first.is_ascii_digit()) && name.bytes().all(rest)
}

fn is_harmless(word: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-=".contains(&byte);
    !word.is_empty() && word.len() <= 253 && word.bytes().all(fine)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use serde_json::json;

    use super::*;
    use crate::cli::Cli;

    fn place(line: &str) -> Option<Place> {
        let words = joined(line.split(' '));
        Place::of(&Cli::command(), &words)
    }

    #[test]
    fn the_verb_and_the_words_before_say_which_names_are_due() {
        use Kind::*;
        for (line, kind, app, begin) in [
            ("logs ", Applications, None, ""),
            ("logs bl", Applications, None, "bl"),
            ("logs a b c", Applications, Some("a"), "c"),
            ("logs -f --since 2h ", Applications, None, ""),
            ("logs blog -p ", Processes, Some("blog"), ""),
            ("logs blog -fp we", Processes, Some("blog"), "we"),
            ("logs blog --process = we", Processes, Some("blog"), "we"),
            ("tail blog --process=we", Processes, Some("blog"), "we"),
            ("logs -a blog -p ", Processes, Some("blog"), ""),
            ("ps : scale blog ", Scale, Some("blog"), ""),
            ("ps:scale -a blog w", Scale, Some("blog"), "w"),
            ("scale blog web=2 ", Scale, Some("blog"), ""),
            ("env blog -K", Variables, Some("blog"), "-K"),
            ("config:get blog K", Variables, Some("blog"), "K"),
            ("domains rm blog ", Hosts, Some("blog"), ""),
            ("domains ", Applications, None, ""),
            ("cron run blog ", Jobs, Some("blog"), ""),
            ("rollback blog ", Releases, Some("blog"), ""),
            ("deployment blog ", Deployments, Some("blog"), ""),
            ("cancel blog 1", Deployments, Some("blog"), "1"),
            ("token revoke ", Tokens, None, ""),
            ("token create x --app b", Applications, None, "b"),
            ("token create --app ", Applications, None, ""),
            ("audit --app ", Applications, None, ""),
            ("restart -a ", Applications, None, ""),
            ("backup x.tar --only ", Applications, None, ""),
        ] {
            let place = place(line).unwrap_or_else(|| panic!("{line}"));
            let name = place.app.as_ref().map(AppName::as_str);
            assert_eq!(
                (place.kind, name, place.begin.as_str()),
                (kind, app, begin),
                "{line}"
            );
        }
        for line in [
            "",
            "lo",
            "logs -",
            "logs --f",
            "create b",
            "token create ",
            "run blog -- ",
            "show a ",
            "logs --since ",
            "nonsense ",
            "logs a --grep ",
            "certs renew ",
            "route ",
        ] {
            assert_eq!(place(line), None, "{line}");
        }
    }

    #[test]
    fn nothing_becomes_a_candidate_that_a_shell_could_take_for_more_than_a_word() {
        let apps = json!([{"name": "blog"}, {"name": "$(id)"}, {"name": "a b"}, {"name": "-rf"}, {"name": "x;y"},
            {"name": "`z`"}, {"name": "b\nc"}, {"name": "*"}, {"name": 7}, {"name": {}}, {"name": "bücher"}]);
        let candidates = |line: &str, answer: &Value| place(line).unwrap().candidates(answer);
        assert_eq!(candidates("logs ", &apps), ["blog", "7"]);
        assert_eq!(candidates("logs bl", &apps), ["blog"]);
        let document = json!({"env": {"KEY": "secret", "A-B": "x", "$X": ""},
            "hosts": ["a.example", "*.b.example", {"host": "c.example"}]});
        assert_eq!(candidates("env blog ", &document), ["KEY"]);
        assert_eq!(candidates("env blog -", &document), ["-KEY"]);
        assert_eq!(
            candidates("domains rm blog ", &document),
            ["a.example", "c.example"]
        );
        let status = json!({"processes": [{"id": "web.1", "type": "web"}, {"id": "run.1"}]});
        assert_eq!(candidates("scale blog ", &status), ["web=1"]);
        assert_eq!(
            candidates("logs blog -p ", &status),
            ["web.1", "run.1", "web"]
        );
        for nonsense in [json!(null), json!(3), json!({"processes": 1})] {
            assert!(candidates("logs blog -p ", &nonsense).is_empty());
        }
    }
}
