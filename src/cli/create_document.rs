//! The document that the flags of `procserver create` describe; the API checks it.

use serde_json::{Map, Value};

use super::create::CreateArgs;
use super::document::put;
use super::usage::Usage;
use super::{env, input, set};

/// The document, with what the named files and standard input say.
///
/// # Errors
/// A file that cannot be read, and standard input asked for twice.
pub(super) fn from_flags(args: &mut CreateArgs) -> anyhow::Result<Value> {
    note(args);
    one_kind("--restart", &args.restart)?;
    one_kind("--strategy", &args.strategy)?;
    let asked = [&args.repo_file, &args.env_file];
    let files = asked
        .iter()
        .filter(|file| file.as_deref() == Some(input::STDIN))
        .count();
    let values = args
        .env
        .iter()
        .filter(|(_, value)| value == input::STDIN)
        .count();
    if files + values > 1 {
        let text = "standard input can be read once: only one of --repo-file, --env-file and --env can be -";
        return Err(Usage(text.into()).into());
    }
    if let Some(file) = &args.repo_file {
        args.repo = Some(input::value("the repository's URL", file)?);
    }
    let mut variables = match &args.env_file {
        Some(file) => env::of_file(file)?,
        None => Map::new(),
    };
    input::fill(&mut args.env)?;
    variables.extend(
        args.env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into())),
    );
    let mut document = Value::Object(fields(args, variables));
    for (path, value) in &args.fields {
        set::put(&mut document, path, set::value(path, value));
    }
    Ok(document)
}

/// Notes for what is better not on a command line.
fn note(args: &CreateArgs) {
    let on_url = args
        .repo
        .as_deref()
        .and_then(|url| input::note_on_url(url, "--repo-file FILE"));
    let on_variables = input::note_on_variables(&args.env, "--env NAME=- or --env-file FILE");
    for note in on_url.iter().chain(&on_variables) {
        input::warn(note);
    }
}

fn fields(args: &CreateArgs, variables: Map<String, Value>) -> Map<String, Value> {
    let text = |text: &Option<String>| text.clone().map(Value::from);
    let list = |list: &[String]| (!list.is_empty()).then(|| Value::from(list.to_vec()));
    let mut document = Map::new();
    let mut set = |path, value| put(&mut document, path, value);
    set(["", "name"], Some(Value::from(args.target.clone())));
    set(["repo", "url"], text(&args.repo));
    set(["repo", "branch"], text(&args.branch));
    set(["repo", "tag"], text(&args.tag));
    set(["repo", "commit"], text(&args.commit));
    set(["", "packages"], list(&args.package));
    set(["", "user"], text(&args.user));
    set(["", "group"], text(&args.group));
    set(["", "domain"], list(&args.domain));
    set(["", "shell"], text(&args.shell));
    set(["", "install"], list(&args.install));
    for (process_type, number) in &args.scale {
        set(["scale", process_type], Some(Value::from(*number)));
    }
    set(
        ["", "env"],
        (!variables.is_empty()).then_some(Value::Object(variables)),
    );
    set(["", "port"], args.port.map(Value::from));
    set(["", "path"], args.no_path.then(|| Value::from(false)));
    set(
        ["", "strip_path"],
        args.no_strip_path.then(|| Value::from(false)),
    );
    set(["health_check", "path"], text(&args.health_path));
    set(["health_check", "host"], text(&args.health_host));
    set(["health_check", "status"], text(&args.health_status));
    let fields = args.health_header.iter();
    let fields: Map<String, Value> = fields.map(|(n, v)| (n.clone(), v.clone().into())).collect();
    let fields = (!fields.is_empty()).then_some(Value::Object(fields));
    set(["health_check", "headers"], fields);
    set(["health_check", "boot_timeout"], text(&args.boot_timeout));
    set(["stop", "signal"], text(&args.stop_signal));
    set(["stop", "to"], text(&args.stop_to));
    set(["stop", "timeout"], text(&args.stop_timeout));
    set(["", "drain"], text(&args.drain));
    let off = |flag: bool| flag.then(|| Value::from(false));
    set(["buffer", "requests"], off(args.no_buffer_requests));
    set(["buffer", "responses"], off(args.no_buffer_responses));
    set(["static", "dir"], text(&args.static_dir));
    set(["static", "prefix"], text(&args.static_prefix));
    set(["static", "spa"], args.spa.then(|| Value::from(true)));
    set(["static", "cache_control"], text(&args.cache_control));
    for (process_type, policy) in &args.restart {
        set(typed("restart", process_type), Some(policy.clone().into()));
    }
    for (process_type, strategy) in &args.strategy {
        set(
            typed("strategy", process_type),
            Some(strategy.clone().into()),
        );
    }
    set(["", "keep_releases"], args.keep_releases.map(Value::from));
    document
}

/// A document has one choice for all types or some by type.
fn one_kind(flag: &str, choices: &[(String, String)]) -> Result<(), Usage> {
    let for_all = choices.iter().filter(|(of, _)| of.is_empty()).count();
    match for_all {
        0 => Ok(()),
        1 if choices.len() == 1 => Ok(()),
        _ => Err(Usage(format!(
            "{flag} is one choice for all types, or TYPE=CHOICE for some of them"
        ))),
    }
}

/// Where a choice for a process type stands, or for all of them ("").
fn typed<'a>(field: &'a str, process_type: &'a str) -> [&'a str; 2] {
    match process_type {
        "" => ["", field],
        name => [field, name],
    }
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::cli::{Cli, Command};

    pub(in crate::cli) fn parse(words: &[&str]) -> Result<CreateArgs, clap::Error> {
        let all = ["procserver", "create"].iter().chain(words);
        Cli::try_parse_from(all).map(|cli| match cli.command {
            Command::Create(args) => *args,
            other => panic!("{other:?}"),
        })
    }

    fn described(line: &str) -> Value {
        let words: Vec<_> = line.split_whitespace().collect();
        from_flags(&mut parse(&words).unwrap()).unwrap()
    }

    #[test]
    fn flags_become_the_document() {
        let expected = json!({"name": "blog", "repo": {"url": "https://x", "branch": "main"},
            "packages": ["git"], "domain": ["^blog"], "install": ["a", "b"], "scale": {"web": 2},
            "env": {"A": "1=2"}, "port": 9000, "path": false, "health_check": {"path": "/up"}});
        let line = "blog --repo https://x --branch main --domain ^blog --install a --install b --package git \
                    --scale web=2 --env A=1=2 --port 9000 --no-path --health-path /up";
        assert_eq!(described(line), expected);
        let expected = json!({"name": "blog", "repo": {"url": "https://x"}, "strip_path": false,
            "health_check": {"boot_timeout": "90s", "timeout": "2s", "host": "h", "status": "200-399", "headers": {"X-A": "b"}}, "stop": {"signal": "SIGINT", "to": "main", "timeout": "30s"},
            "buffer": {"requests": false, "responses": false},
            "static": {"dir": "public", "prefix": "/a", "spa": true, "cache_control": "no-store"},
            "drain": "5m", "shell": "/bin/bash", "strategy": "recreate", "keep_releases": 3,
            "restart": {"job": "never", "clock": "on-failure"}});
        let line = "blog --repo https://x --no-strip-path --boot-timeout 90s --stop-signal SIGINT --stop-to main --no-buffer-requests --no-buffer-responses --stop-timeout 30s --drain 5m \
                    --static public --static-prefix /a --spa --cache-control no-store --strategy recreate --health-host h --health-status 200-399 --health-header X-A=b \
                    --restart job=never --shell /bin/bash --restart clock=on-failure --keep-releases 3 --set health_check.timeout=2s";
        assert_eq!(described(line), expected);
    }

    #[test]
    fn what_was_not_said_is_not_sent() {
        let expected = json!({"name": "blog", "repo": {"url": "https://x"}});
        assert_eq!(described("blog --repo https://x"), expected);
    }

    #[test]
    fn files_say_what_is_not_to_stand_on_the_command_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("url"), "https://tok@x\n").unwrap();
        std::fs::write(path("env"), "A=1\nB=2\n").unwrap();
        let line = format!(
            "blog --repo-file {} --env-file {} --env B=3",
            path("url"),
            path("env")
        );
        let expected =
            json!({"name": "blog", "repo": {"url": "https://tok@x"}, "env": {"A": "1", "B": "3"}});
        assert_eq!(described(&line), expected);
        let twice = ["blog", "--repo-file", "-", "--env", "A=-"];
        let error = from_flags(&mut parse(&twice).unwrap()).unwrap_err();
        assert!(error.is::<Usage>(), "{error}");
        let both = [
            "blog",
            "--repo",
            "x",
            "--restart",
            "never",
            "--restart",
            "a=always",
        ];
        let error = from_flags(&mut parse(&both).unwrap()).unwrap_err();
        assert!(error.is::<Usage>(), "{error}");
    }
}
