//! What to write instead of verbs that other tools have (pure).

use crate::document::name::AppName;

/// What to write here for `word`, which is no verb of this program. `next`, the word behind it, may be the application.
/// `None` where there is nothing alike.
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
        "domains:add" | "domains:set" | "domain" => "procserver domains add NAME www.example.org",
        "domains:remove" | "domains:rm" => "procserver domains rm NAME www.example.org",
        "push" | "git:push" => "procserver redeploy NAME, after: procserver create NAME --repo URL",
        "git:set" | "git:sync" | "git:from-image" => {
            "procserver set NAME repo.url=URL repo.branch=BRANCH"
        }
        "edit" => "procserver show NAME > NAME.json, edit it, and: procserver update NAME.json",
        "state" => "procserver apps, or: procserver ps NAME",
        "ps:type" | "ps:resize" | "dynos" => "procserver scale NAME TYPE=N",
        "init" | "setup" | "install" => "procserver create NAME --repo URL",
        "console" | "shell" | "ssh" | "enter" | "run:detached" | "run:inside" => {
            "procserver run NAME bash, or another command; with -d it is detached"
        }
        "server" | "daemon" | "up" => "procserver serve",
        "undo" | "revert" => "procserver rollback NAME",
        "history" | "activity" => "procserver deployments NAME",
        "keys" | "ssh-key" | "deploy-key" => "procserver key NAME",
        "open" | "apps:open" | "urls" | "url" => "procserver apps, which shows each URL",
        "addons" | "addons:create" | "addons:add" | "pg" | "pg:info" | "pg:psql"
        | "postgres:create" | "mysql:create" | "redis:create" | "plugin:install" | "services"
        | "accessory" => {
            "procserver create NAME … --package postgresql, and DATABASE_URL in \"env\": the machine's own databases"
        }
        "certs:add" | "certs:auto" | "certs:auto:enable" | "letsencrypt" | "letsencrypt:enable"
        | "ssl" | "tls" => {
            "agree_terms = true under [acme] in procserver.toml, and procserver domains add NAME HOST; procserver certs shows them"
        }
        "buildpacks" | "buildpacks:set" | "buildpacks:add" | "builder" | "builder:set"
        | "stack" => {
            "procserver set NAME 'install=[\"COMMAND\"]' 'packages=[\"PACKAGE\"]': builders find out the rest"
        }
        "git:report" | "builds" | "releases:info" => {
            "procserver deployments NAME, or: procserver releases NAME"
        }
        "domains:report" => "procserver domains NAME",
        "proxy:report" | "apps:report" | "config:export" | "describe" => "procserver show NAME",
        "storage:mount" | "storage:list" | "storage" | "volumes" => {
            "$STORAGE_DIR: what the application writes there is kept, and nothing is mounted"
        }
        "checks:set" | "checks" | "healthcheck" | "checks:report" => {
            "procserver set NAME health_check.path=/PATH"
        }
        "ports:set" | "ports:add" | "proxy:ports-set" | "proxy:ports-add" => {
            "procserver set NAME port=N"
        }
        "maintenance" | "maintenance:on" | "maintenance:off" => {
            "procserver stop NAME, and: procserver start NAME"
        }
        "ps:reload" | "reboot" => "procserver restart NAME",
        "save" | "startup" | "resurrect" | "unstartup" => {
            "nothing: applications start with the server (systemctl enable procserver)"
        }
        "monit" | "monitor" | "top" => "procserver ps NAME",
        "flush" | "logs:failed" | "reloadLogs" => "procserver logs NAME",
        "kill" | "ps:kill" => "procserver stop NAME, or: procserver restart NAME",
        "rename" | "apps:rename" => {
            "procserver create NEW-NAME from: procserver show NAME, and: procserver rm NAME"
        }
        "login" | "auth:login" | "auth" => "procserver apps --server URL --token-file FILE",
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
