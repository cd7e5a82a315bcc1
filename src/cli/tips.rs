//! What to write instead of verbs that other tools have (pure).

use crate::document::name::AppName;

/// Other tools, and what stands in front of verbs of kamal.
const TOOLS: [&str; 6] = ["app", "kamal", "pm2", "heroku", "dokku", "piku"];

/// What one of them is asked for mostly.
const ALL: &str = "procserver run NAME COMMAND, procserver logs NAME -f, procserver ps NAME, procserver restart NAME";

/// What to write here for `word`, which is no verb of this program. `next`, the word behind it, may be the application.
/// `None` where there is nothing alike.
#[must_use]
pub fn instead_of(word: &str, next: Option<&str>) -> Option<String> {
    if TOOLS.contains(&word) {
        // `kamal app exec`: what follows is a verb, and no application.
        let tip = next.and_then(|verb| match verb {
            "exec" => self::verb("console").map(str::to_owned),
            verb => instead_of(verb, None),
        });
        return Some(tip.unwrap_or_else(|| ALL.to_owned()));
    }
    let tip = verb(word)?;
    Some(match next.and_then(|name| AppName::parse(name).ok()) {
        Some(name) => tip.replace("NAME", name.as_str()),
        None => tip.to_owned(),
    })
}

fn verb(word: &str) -> Option<&'static str> {
    let tip = match word {
        "unset" | "vars:unset" | "config:clear" => "procserver env NAME -VARIABLE",
        "domains:set" | "domain" | "domains:set-global" => {
            "procserver domains add NAME www.example.org"
        }
        "domains:clear" => "procserver domains rm NAME www.example.org",
        "push" | "git:push" => "procserver redeploy NAME, after: procserver create NAME --repo URL",
        "git:remote" | "remote" | "git:clone" => {
            "git remote add procserver https://SERVER/git/NAME.git, after: procserver create NAME --push"
        }
        "git:set" | "git:sync" | "git:from-image" => {
            "procserver set NAME repo.url=URL repo.branch=BRANCH"
        }
        "edit" => "procserver show NAME > NAME.json, edit it, and: procserver update NAME.json",
        "state" => "procserver apps, or: procserver ps NAME",
        "ps:type" | "ps:resize" | "dynos" => "procserver scale NAME TYPE=N",
        "init" | "setup" | "install" => "procserver create NAME --repo URL",
        "console" | "shell" | "ssh" | "enter" | "run:inside" | "ps:exec" => {
            "procserver run NAME bash, or another command; with -d it is detached"
        }
        "server" | "daemon" | "up" => "procserver serve",
        "undo" | "revert" => "procserver rollback NAME",
        "history" | "activity" => "procserver deployments NAME",
        "keys" | "deploy-key" => "procserver key NAME",
        "keys:add" | "ssh-keys:add" => "procserver ssh-key add ~/.ssh/id_ed25519.pub",
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
        "ps:reload" | "reboot" => "procserver restart NAME",
        "save" | "startup" | "resurrect" | "unstartup" => {
            "nothing: applications start with the server (systemctl enable procserver)"
        }
        "details" => "procserver show NAME, and: procserver ps NAME",
        "reloadAll" | "gracefulReload" | "boot" => "procserver restart NAME",
        "audit-log" | "activities" => "procserver audit",
        "lock" | "unlock" => "nothing: deploys of an application wait for each other",
        "prune" => "nothing: old releases go by themselves (keep_releases of the document)",
        "registry" | "build" => {
            "nothing: there are no images; procserver redeploy NAME installs what the code needs"
        }
        "secrets" => "procserver env NAME KEY=- < FILE",
        "apps:lock" | "apps:unlock" | "apps:clone" | "fork" | "pipelines" | "pipelines:promote" => {
            "procserver show NAME > new.json, change its name, and: procserver create new.json"
        }
        "members" | "access" | "access:add" | "authorizations:create" => {
            "procserver token create WHO --scope deploy --app NAME"
        }
        "logs:set" | "log-drain" => "procserver drains add NAME syslog+tls://HOST:PORT",
        "schedule" | "scheduler" | "jobs" => "procserver cron NAME",
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
    fn what_users_of_others_type_is_a_verb_or_has_a_tip() {
        let command = Cli::command();
        for word in [
            // Heroku
            "apps:create",
            "apps:info",
            "apps:destroy",
            "config",
            "config:set",
            "config:get",
            "config:unset",
            "git:remote",
            "ps",
            "ps:scale",
            "ps:restart",
            "ps:type",
            "ps:exec",
            "run:detached",
            "releases:rollback",
            "domains:add",
            "domains:clear",
            "certs:auto:enable",
            "addons:create",
            "buildpacks:set",
            "maintenance:on",
            "logs:set",
            "open",
            // Dokku
            "apps:list",
            "letsencrypt:enable",
            "ps:rebuild",
            "ps:report",
            "domains:set",
            "ports:add",
            "storage:mount",
            "checks:set",
            "postgres:create",
            "enter",
            "git:sync",
            "ssh-keys:add",
            // Kamal
            "kamal",
            "app",
            "setup",
            "accessory",
            "details",
            "prune",
            "lock",
            "registry",
            "secrets",
            // pm2
            "list",
            "startup",
            "save",
            "monit",
            "ps:reload",
            "delete",
            "describe",
            "flush",
            "reload",
            "resurrect",
            // Piku
            "destroy",
            "shell",
            "ps:kill",
        ] {
            let first = |words: Vec<std::ffi::OsString>| words.into_iter().next();
            let meant = first(crate::cli::elsewhere::understood(vec![word.into()])).unwrap();
            let is_verb = command.find_subcommand(meant).is_some();
            assert!(is_verb || instead_of(word, None).is_some(), "{word}");
        }
        let exec = instead_of("console", None);
        assert!(exec.is_some());
        assert_eq!(instead_of("app", Some("exec")), exec);
        assert_eq!(instead_of("kamal", Some("app")).as_deref(), Some(ALL));
    }

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
            assert_eq!(instead_of("unset", next).as_deref(), Some(tip));
        }
    }
}
