//! What to write instead of verbs that other tools have (pure).

use crate::document::name::AppName;

/// What to write here for `word`, which is no verb, with the name of the application where `next`, the word behind it,
/// is one; nothing where there is no such thing.
#[must_use]
pub fn instead_of(word: &str, next: Option<&str>) -> Option<String> {
    let tip = verb(word)?;
    Some(match next.and_then(|name| AppName::parse(name).ok()) {
        Some(name) => tip.replace("NAME", name.as_str()),
        None => tip.to_owned(),
    })
}

fn verb(word: &str) -> Option<&'static str> {
    let tip = match word {
        "config:unset" | "env:unset" | "unset" | "config:rm" => "procserver env NAME -VARIABLE",
        "domains" | "domains:add" | "domains:set" => {
            "procserver set NAME 'domain=[\"^www\\\\.example\\\\.org$\"]'"
        }
        "deploy" | "push" | "git:push" => {
            "procserver redeploy NAME, after: procserver create NAME --repo URL"
        }
        "git:set" | "git:sync" | "git:from-image" => {
            "procserver set NAME repo.url=URL repo.branch=BRANCH"
        }
        "edit" => "procserver show NAME > NAME.json, edit it, and: procserver update NAME.json",
        "status" | "state" => "procserver apps, or: procserver ps NAME",
        "ps:type" | "ps:resize" | "dynos" => "procserver scale NAME TYPE=N",
        "init" | "setup" | "install" => "procserver create NAME --repo URL",
        "run" | "console" | "shell" | "ssh" | "enter" => {
            "a `release:` line in the Procfile for what runs before each start; there is no console yet"
        }
        "server" | "daemon" | "up" => "procserver serve",
        "undo" | "revert" => "procserver rollback NAME",
        "history" | "activity" => "procserver deployments NAME",
        "keys" | "ssh-key" | "deploy-key" => "procserver key NAME",
        "version" => "procserver --version",
        "validate" | "lint" => "procserver check DIR",
        _ => return None,
    };
    Some(tip)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_tip_is_given_only_for_what_is_no_verb() {
        let command = Cli::command();
        let names = command.get_subcommands().flat_map(|verb| {
            let aliases = verb.get_all_aliases().map(str::to_owned);
            std::iter::once(verb.get_name().to_owned()).chain(aliases.collect::<Vec<_>>())
        });
        for name in names {
            assert_eq!(instead_of(&name, None), None, "{name}");
        }
        for (next, tip) in [
            (Some("blog"), "procserver env blog -VARIABLE"),
            (Some("--app"), "procserver env NAME -VARIABLE"),
            (None, "procserver env NAME -VARIABLE"),
        ] {
            assert_eq!(instead_of("config:unset", next).as_deref(), Some(tip));
        }
    }
}
