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
    let expected = json!({"name": "blog", "repo": {"url": "https://x", "branch": "main", "dir": "apps/web"},
        "packages": ["git"], "hosts": ["a.example", "*.b.example", {"name": "ws.example", "process": "cable"}], "domain": ["^blog"], "install": ["a", "b"], "shared": ["tmp", "log"], "scale": {"web": 2},
        "env": {"A": "1=2"}, "port": 9000, "path": false, "health_check": {"path": "/up"}});
    let line = "blog --repo https://x --branch main --repo-dir apps/web --host A.example --host *.b.example --host ws.example=cable --domain ^blog --install a --install b --shared tmp --shared log --package git \
                --scale web=2 --env A=1=2 --port 9000 --no-path --health-path /up";
    assert_eq!(described(line), expected);
    let expected = json!({"name": "blog", "repo": {"url": "https://x"}, "strip_path": false,
        "health_check": {"boot_timeout": "90s", "timeout": "2s", "host": "h", "status": "200-399", "headers": {"X-A": "b"}}, "stop": {"signal": "SIGINT", "to": "main", "timeout": "30s"},
        "buffer": {"requests": false, "responses": false},
        "static": {"dir": "public", "prefix": "/a", "spa": true, "cache_control": "no-store"},
        "drain": "5m", "sleep": "30m", "shell": "/bin/bash", "strategy": "recreate", "keep_releases": 3,
        "limits": {"disk": "2G", "memory": "512M", "job": {"memory": "1G", "cpu": 0.5}, "cpu": 1.5, "tasks": 200, "files": 4096},
        "restart": {"job": "never", "clock": "on-failure"}, "engine": "swarm", "sandbox": false,
        "drains": [{"url": "syslog+tcp://h:514"}], "notify": [{"url": "mailto:a@b.example"}, {"url": "https://h/x"}]});
    let line = "blog --repo https://x --engine swarm --no-sandbox --no-strip-path --boot-timeout 90s --stop-signal SIGINT --stop-to main --no-buffer-requests --no-buffer-responses --stop-timeout 30s --drain 5m --sleep 30m \
                --static public --static-prefix /a --spa --cache-control no-store --strategy recreate --health-host h --health-status 200-399 --health-header X-A=b \
                --restart job=never --shell /bin/bash --restart clock=on-failure --keep-releases 3 --memory 512M --memory job=1G --cpu 1.5 --cpu job=0.5 --tasks 200 --files 4096 --disk 2G --log-drain syslog+tcp://h:514 --notify mailto:a@b.example --notify https://h/x --set health_check.timeout=2s";
    assert_eq!(described(line), expected);
}

#[test]
fn flags_of_the_proxy_become_the_document() {
    let expected = json!({"name": "blog", "repo": {"url": "https://x"}, "maintenance": {"page": "m.html"},
        "allow": ["10.0.0.0/8", "::1"], "rate": {"requests": "10/s", "burst": 5},
        "auth": {"basic": {"ann": "$2b$10$a=b"}, "realm": "Staging"},
        "redirects": [{"from": "/a", "to": "/b?c=d"}, {"from": "/o/*", "to": "https://h/*", "status": 308}],
        "headers": {"response": {"X-Frame-Options": "DENY", "X-Powered-By": false}},
        "timeouts": {"connect": "1s", "response": "2m", "idle": "3m", "tunnel_idle": "4h"},
        "body": "50M", "upstream_keep_alive": "0s", "sticky": {"cookie": "node"}});
    let line = "blog --repo https://x --maintenance --maintenance-page m.html --allow 10.0.0.0/8 --allow ::1 --rate 10/s \
                --rate-burst 5 --basic-auth ann=$2b$10$a=b --basic-auth-realm Staging --redirect /a=/b?c=d \
                --redirect 308:/o/*=https://h/* --response-header X-Frame-Options=DENY --response-header X-Powered-By= \
                --timeout-connect 1s --timeout-response 2m --timeout-idle 3m --timeout-tunnel-idle 4h --body 50M \
                --upstream-keep-alive 0s --sticky --sticky-cookie node";
    assert_eq!(described(line), expected);
    let plain =
        json!({"name": "blog", "repo": {"url": "https://x"}, "maintenance": true, "sticky": true});
    assert_eq!(
        described("blog --repo https://x --maintenance --sticky"),
        plain
    );
    assert!(policies::redirect("/a").is_err());
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
