//! Advice about documents that are valid but do not do what they seem to (pure).

use std::path::Path;

use super::config::{AppConfig, HealthCheck};
use super::engine::EngineKind;
use super::formation::{RELEASE, formation};
use super::policies::redirect::shadowed;
use super::procfile::Procfile;

/// Commands that are run once have limits, too.
const ONE_OFFS: [&str; 2] = ["run", "cron"];

/// Advice about `config`, and about its process types where the Procfile is known.
#[must_use]
pub fn advice(config: &AppConfig, procfile: Option<&Procfile>) -> Vec<String> {
    let given = config.env.keys().filter(|name| is_given(name));
    let mut advice: Vec<_> = given.map(|name| has_no_effect(name)).collect();
    advice.extend(
        config
            .domain
            .iter()
            .filter_map(|pattern| of_domain(pattern)),
    );
    advice.extend(
        procfile
            .map(|p| formation(p, &config.scale, &config.routed()).1)
            .into_iter()
            .flatten(),
    );
    advice.extend(procfile.into_iter().flat_map(|p| of_types(config, p)));
    advice.extend(of_health_check(&config.health_check));
    advice.extend(of_shared(config));
    advice.extend(of_redirects(config));
    advice.extend(of_sleep(config, procfile));
    advice.extend(procfile.into_iter().flat_map(|p| of_addresses(config, p)));
    advice
}

/// What names a place in a command at which nobody reaches a process on a swarm.
const UNREACHED: [&str; 4] = ["127.0.0.1", "localhost", "$SOCKET", "${SOCKET}"];

/// Commands of processes on a swarm that are likely to listen where nobody reaches them.
fn of_addresses<'c>(
    config: &'c AppConfig,
    procfile: &'c Procfile,
) -> impl Iterator<Item = String> + 'c {
    let routed = config.routed();
    let is_on_swarm = config.engine == EngineKind::Swarm;
    let entries = procfile.entries.iter();
    let asked = entries.filter(move |e| is_on_swarm && routed.contains(e.name.as_str()));
    asked.filter_map(|entry| {
        let place = UNREACHED.iter().find(|place| entry.command.contains(**place))?;
        Some(format!(
            "the command of \"{}\" names {place}: on a swarm a process has a network of its own, and is reached at its \
             other addresses only: let it listen on 0.0.0.0 (or ::) at $PORT",
            entry.name
        ))
    })
}

/// Redirects that no request meets; of many the first tells enough.
fn of_redirects(config: &AppConfig) -> Option<String> {
    let (later, earlier) = shadowed(&config.policies.redirects).next()?;
    let (later, earlier) = (later.from(), earlier.from());
    Some(format!(
        "redirects: \"{later}\" is never met, as \"{earlier}\" comes before it and takes all of its paths: put it in front"
    ))
}

/// Sleep of what no request would wake.
fn of_sleep(config: &AppConfig, procfile: Option<&Procfile>) -> Option<String> {
    let runs = |name: &&str| {
        let is_there = procfile.is_none_or(|procfile| procfile.command(name).is_some());
        is_there && config.scale.get(*name) != Some(&0)
    };
    let is_asked = config.routed().iter().any(runs);
    (config.sleep.is_some() && !is_asked).then(|| {
        "sleep has no effect: no process that gets requests is to run, so none would wake the application".to_owned()
    })
}

/// A directory that is shared, and in that of the static files.
fn of_shared(config: &AppConfig) -> Option<String> {
    let static_dir = &config.static_files.as_ref()?.dir;
    let is_in = |dir: &&String| Path::new(dir).starts_with(Path::new(static_dir));
    let shared = config.shared.iter().find(is_in)?;
    Some(format!(
        "shared names \"{shared}\", a link out of static.dir, which is not followed: files of it are not served; keep \
         them in a directory beside \"{static_dir}\", for which the application is asked"
    ))
}

/// Fields that say how to ask for the path of a health check that has none.
fn of_health_check(check: &HealthCheck) -> Option<String> {
    let default = HealthCheck::default();
    let is_asked = check.path.is_some();
    let says_how = (&check.host, &check.headers, &check.status)
        != (&default.host, &default.headers, &default.status);
    (says_how && !is_asked).then(|| {
        "health_check.host, headers and status have no effect without health_check.path".to_owned()
    })
}

/// Types named by `hosts`, `restart`, `strategy` and `limits` that the Procfile lacks; `formation` tells those of `scale`.
fn of_types(config: &AppConfig, procfile: &Procfile) -> Vec<String> {
    let restart = config.restart.names().map(|name| ("restart", name));
    let strategy = config.strategy.names().map(|name| ("strategy", name));
    let hosts = config.hosts.iter().filter(|host| !host.is_of_web());
    let hosts = hosts.map(|host| ("hosts", host.process.as_str()));
    let limits = config.limits.types();
    let limits = limits.filter(|name| *name != RELEASE && !ONE_OFFS.contains(name));
    let limits = limits.map(|name| ("limits", name));
    let missing = hosts
        .chain(restart)
        .chain(strategy)
        .chain(limits)
        .filter(|(_, name)| procfile.command(name).is_none());
    missing
        .map(|(field, name)| procfile.lacks(field, name))
        .collect()
}

/// Whether the last layer of the environment, that of the process, sets this variable.
fn is_given(name: &str) -> bool {
    matches!(name, "PORT" | "PS") || name.starts_with("PROCSERVER_")
}

fn has_no_effect(name: &str) -> String {
    format!("env.{name} has no effect: each process is given its own {name}")
}

/// A pattern that matches, or misses, hosts against what its author must have meant.
fn of_domain(pattern: &str) -> Option<String> {
    let (suggestion, is_plain) = written_as_meant(pattern);
    let told = |why: &str| {
        Some(format!(
            "domain \"{pattern}\" {why}: write \"{suggestion}\""
        ))
    };
    if pattern.contains("://") {
        return told("never matches, as it is compared with the host alone, without https://");
    }
    let port = pattern.trim_end_matches('$').rsplit_once(':');
    if port.is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())) {
        return told("never matches, as it is compared with the host without its port");
    }
    if pattern.contains('/') {
        return told("never matches, as it is compared with the host alone, without a path");
    }
    if has_upper_case(pattern) {
        return told("never matches, as hosts are compared in lower case");
    }
    let is_anchored = pattern.starts_with('^') && pattern.ends_with('$');
    let name = suggestion.trim_matches(['^', '$']).replace('\\', "");
    // "^blog\." and "\.example\.org$" are the beginning and the end of a host, and meant so.
    let is_part = name.starts_with('.') || name.ends_with('.');
    if is_plain && !is_anchored && !is_part && pattern.contains('.') {
        let taken = match pattern.starts_with('^') {
            true => format!("{name}.example"),
            false => format!("not{name}"),
        };
        return told(&format!("also takes {taken}, as it is not anchored"));
    }
    None
}

/// The pattern that was probably meant, and whether the given one is a plain host name.
fn written_as_meant(pattern: &str) -> (String, bool) {
    let text = pattern.trim_start_matches('^').trim_end_matches('$');
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = text.split(['/', ':']).next().unwrap_or_default();
    let host = lower_case(host);
    let plain = host.replace("\\.", ".");
    let is_plain = plain
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    match is_plain {
        true => (format!("^{}$", plain.replace('.', "\\.")), true),
        false => (format!("^{host}$"), false),
    }
}

/// The letters of a pattern that stand for themselves, with their byte offsets.
fn letters(pattern: &str) -> impl Iterator<Item = (usize, char)> {
    let mut is_escaped = false;
    pattern.char_indices().filter(move |(_, c)| {
        let stands_for_itself = !is_escaped;
        is_escaped = !is_escaped && *c == '\\';
        stands_for_itself
    })
}

fn has_upper_case(pattern: &str) -> bool {
    // Flags, named groups and Unicode classes have letters of their own: they are left alone.
    !pattern.contains("(?") && letters(pattern).any(|(_, c)| c.is_ascii_uppercase())
}

fn lower_case(pattern: &str) -> String {
    let mut text = pattern.to_owned();
    for (at, c) in letters(pattern) {
        if c.is_ascii_uppercase() {
            text.replace_range(at..=at, &c.to_ascii_lowercase().to_string());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::config::Rules;

    #[test]
    fn patterns_that_take_too_much_or_nothing_are_told_with_what_to_write() {
        for (pattern, says) in [
            ("example.com", "notexample.com"),
            ("^example\\.com", "example.com.example"),
            ("example\\.com$", "notexample.com"),
            ("^Example\\.COM$", "lower case"),
            ("^example\\.com:8080$", "without its port"),
            ("example.com:8080", "without its port"),
            ("https://example.com", "without https://"),
            ("^https://example\\.com/$", "without https://"),
            ("example.com/shop", "without a path"),
        ] {
            let told = of_domain(pattern).unwrap_or_default();
            assert!(told.contains(says), "{pattern}: {told}");
            assert!(told.ends_with("write \"^example\\.com$\""), "{told}");
        }
        for fine in [
            "^example\\.com$",
            "^(www\\.)?example\\.com$",
            "\\.example\\.com$",
            "^blog\\.",
            "blog.",
            "localhost",
            "^\\D+\\.example\\.com$",
            "(?i)Example",
            "^[a-z]+\\.example\\.com$",
        ] {
            assert_eq!(of_domain(fine), None, "{fine}");
        }
    }

    #[test]
    fn variables_that_are_given_and_types_that_are_not_there_are_told() {
        let document = json!({
            "name": "a",
            "repo": { "url": "https://h/a.git" },
            "env": { "PORT": "99" },
            "scale": { "wbe": 2 },
            "restart": { "wroker": "never" },
            "health_check": { "status": "200-399" },
            "static": { "dir": "public" },
            "shared": ["log", "public/uploads"],
            "redirects": [{"from": "/old/*", "to": "/new"}, {"from": "/old/a", "to": "/b"}],
        });
        let config = AppConfig::from_document(document, &Rules::default()).unwrap();
        let procfile = Procfile::parse(b"web: x\n").unwrap();
        let told = advice(&config, Some(&procfile)).concat();
        assert!(
            told.contains("env.PORT") && told.contains("\"wbe\""),
            "{told}"
        );
        assert!(told.contains("restart names \"wroker\""), "{told}");
        assert!(told.contains("without health_check.path"), "{told}");
        assert!(told.contains("shared names \"public/uploads\""), "{told}");
        assert!(
            told.contains("redirects: \"/old/a\" is never met"),
            "{told}"
        );
        assert_eq!(advice(&config, None).len(), 4);
    }

    #[test]
    fn a_command_that_nobody_would_reach_on_a_swarm_is_told() {
        let told = |engine: &str, command: &str| {
            let document =
                json!({"name": "a", "repo": {"url": "https://h/a.git"}, "engine": engine});
            let rules = Rules {
                has_swarm: true,
                ..Rules::default()
            };
            let config = AppConfig::from_document(document, &rules).unwrap();
            let procfile = Procfile::parse(format!("web: {command}\n").as_bytes()).unwrap();
            advice(&config, Some(&procfile)).concat()
        };
        for deaf in [
            "gunicorn -b 127.0.0.1:$PORT app",
            "gunicorn -b unix:$SOCKET app",
        ] {
            assert!(told("swarm", deaf).contains("0.0.0.0"), "{deaf}");
            assert_eq!(told("local", deaf), "");
        }
        assert_eq!(told("swarm", "gunicorn -b 0.0.0.0:$PORT app"), "");
    }

    #[test]
    fn sleep_of_what_no_request_would_wake_is_told() {
        let told = |web: u32, procfile: Option<&str>| {
            let document = json!({
                "name": "a", "repo": {"url": "https://h/a.git"}, "sleep": "5m", "scale": {"web": web},
            });
            let config = AppConfig::from_document(document, &Rules::default()).unwrap();
            let procfile = procfile.map(|text| Procfile::parse(text.as_bytes()).unwrap());
            of_sleep(&config, procfile.as_ref())
        };
        assert!(told(0, None).unwrap().contains("has no effect"));
        assert!(told(1, Some("worker: x\n")).is_some());
        assert_eq!(told(1, None), None);
        assert_eq!(told(1, Some("web: x\n")), None);
    }
}
