//! [`AppJson`]: what the `app.json` of a repository says, as Heroku and Dokku read it, where the document says nothing
//! (pure).

use std::fmt::Display;
use std::time::Duration;

use serde_json::{Map, Value};

use super::config::HealthCheck;
use super::cron::{CronJob, Schedule};
use super::rules;

/// The field of the document that stands in place of `healthchecks`.
const HEALTH_CHECK: &str = "health_check";
/// The field of both.
const CRON: &str = "cron";
/// More jobs than this are not read.
const MOST_JOBS: usize = 50;
/// How long a job may run: the file has no word for it.
const JOB_TIMEOUT: Duration = Duration::from_secs(3600);

/// What only tells people, or is for a place that this is not: nothing is lost without it.
const HARMLESS: [&str; 12] = [
    "$schema",
    "name",
    "description",
    "keywords",
    "logo",
    "repository",
    "website",
    "success_url",
    "environments",
    "stack",
    "image",
    "buildpacks",
];

/// What is not read, and what stands in its place.
const INSTEAD: [(&str, &str); 3] = [
    ("formation", "scale of the document says how many processes"),
    ("env", "env of the document has variables"),
    ("addons", "use Debian's databases, and DATABASE_URL in env"),
];

#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppJson {
    /// Runs once, before the application's first processes.
    pub postdeploy: Option<String>,
    /// How `web` is checked.
    pub health_check: Option<HealthCheck>,
    /// Named `job-1`, `job-2` and so on by their place; in UTC.
    pub cron: Vec<CronJob>,
    /// What is ignored, and why.
    pub warnings: Vec<String>,
}

/// An entry of `cron`: `{command, schedule}`, as Dokku reads it.
fn job(entry: &Value, name: String) -> Result<CronJob, String> {
    let text = |field: &str| {
        let text = entry.get(field).and_then(Value::as_str);
        text.ok_or_else(|| format!("its {field} is no text"))
    };
    Ok(CronJob {
        name,
        schedule: Schedule::parse(text("schedule")?, "UTC")?,
        command: rules::command(text("command")?).map_err(|why| format!("its command {why}"))?,
        timeout: JOB_TIMEOUT,
        overlaps: false,
    })
}

/// Whether a document says itself how processes are checked.
#[must_use]
pub fn is_overruled(document: &Value) -> bool {
    says(document, HEALTH_CHECK)
}

/// Whether a document says itself which jobs there are.
#[must_use]
pub fn has_own_jobs(document: &Value) -> bool {
    says(document, CRON)
}

fn says(document: &Value, field: &str) -> bool {
    document.get(field).is_some_and(|value| !value.is_null())
}

impl AppJson {
    /// Reads the file. What is wrong in it is ignored, with a warning: it is written for others, too.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut read = Self::default();
        match serde_json::from_slice(text) {
            Ok(Value::Object(fields)) => read.fields(&fields),
            Ok(_) => read.warn("is no object of JSON: nothing of it is used"),
            Err(error) => read.warn(format!("is no JSON, so nothing of it is used: {error}")),
        }
        read
    }

    /// The warnings for an application of `document`.
    #[must_use]
    pub fn warnings_beside(&self, document: &Value) -> Vec<String> {
        let mut warnings = self.warnings.clone();
        if self.health_check.is_some() && is_overruled(document) {
            let both = "app.json: healthchecks is ignored, since the document has health_check";
            warnings.push(both.to_owned());
        }
        if !self.cron.is_empty() && has_own_jobs(document) {
            let both = "app.json: cron is ignored, since the document has cron";
            warnings.push(both.to_owned());
        }
        warnings
    }

    fn warn(&mut self, what: impl Display) {
        self.warnings.push(format!("app.json {what}"));
    }

    fn ignore(&mut self, what: impl Display, why: impl Display) {
        self.warnings
            .push(format!("app.json: {what} is ignored: {why}"));
    }

    fn fields(&mut self, fields: &Map<String, Value>) {
        for (name, value) in fields {
            match name.as_str() {
                "scripts" => self.scripts(value),
                "healthchecks" => self.health_checks(value),
                "cron" => self.cron(value),
                name if HARMLESS.contains(&name) => {}
                name => {
                    let instead = INSTEAD.iter().find(|(known, _)| *known == name);
                    let why = instead.map_or("nothing here reads it", |(_, instead)| instead);
                    self.ignore(rules::shown(name), why);
                }
            }
        }
    }

    fn scripts(&mut self, scripts: &Value) {
        let Some(scripts) = scripts.as_object() else {
            return self.ignore("scripts", "it is no object");
        };
        for (name, value) in scripts {
            match name.as_str() {
                "postdeploy" => self.postdeploy(value),
                // Of tests and of review apps.
                "test" | "test-setup" | "pr-predestroy" => {}
                "dokku" => self.ignore(
                    "scripts.dokku",
                    "install commands and the release command of the Procfile run in each deploy",
                ),
                name => self.ignore(format!("scripts.{}", rules::shown(name)), "nothing runs it"),
            }
        }
    }

    /// A command, or an object with one.
    fn postdeploy(&mut self, value: &Value) {
        let command = value.get("command").unwrap_or(value);
        match command.as_str().map(rules::command) {
            Some(Ok(command)) => self.postdeploy = Some(command),
            Some(Err(why)) => self.ignore("scripts.postdeploy", why),
            None => self.ignore("scripts.postdeploy", "it is no command"),
        }
    }

    fn cron(&mut self, entries: &Value) {
        let Some(entries) = entries.as_array() else {
            return self.ignore("cron", "it is no array");
        };
        for (place, entry) in (1..).zip(entries) {
            let name = format!("job-{place}");
            match job(entry, name) {
                Ok(_) if place > MOST_JOBS => {
                    let most = format!("no more than {MOST_JOBS} are read");
                    return self.ignore(format!("cron from entry {place} on"), most);
                }
                Ok(job) => self.cron.push(job),
                Err(why) => self.ignore(format!("entry {place} of cron"), why),
            }
        }
    }

    fn health_checks(&mut self, checks: &Value) {
        let Some(checks) = checks.as_object() else {
            return self.ignore("healthchecks", "it is no object by process type");
        };
        for (process_type, checks) in checks {
            if process_type != "web" {
                let what = format!("healthchecks of {}", rules::shown(process_type));
                self.ignore(what, "processes of web are asked, others are watched");
                continue;
            }
            let checks = checks.as_array().map(Vec::as_slice).unwrap_or_default();
            let asks = |check: &&Value| is_request(check);
            let starts = |check: &&Value| check.get("type").is_some_and(|t| t == "startup");
            let mut asking = checks.iter().filter(asks);
            let chosen = asking.clone().find(starts).or_else(|| asking.next());
            if chosen.is_none() || checks.len() > 1 {
                self.ignore(
                    "all but one of healthchecks.web",
                    "one path is asked, at the start and later",
                );
            }
            self.health_check = chosen.map(|check| self.health_check(check));
        }
    }

    fn health_check(&mut self, check: &Value) -> HealthCheck {
        let mut read = HealthCheck::default();
        let path = check.get("path").and_then(Value::as_str).unwrap_or("/");
        match rules::request_path(path) {
            Ok(path) => read.path = Some(path),
            Err(why) => self.ignore("the path of healthchecks.web", why),
        }
        let seconds = |name: &str| check.get(name)?.as_u64();
        if let Some(timeout) = seconds("timeout") {
            read.timeout = Duration::from_secs(timeout.clamp(1, 3600));
        }
        // As long as Dokku would try, but not less than what is usual here.
        let each = seconds("wait")
            .unwrap_or(5)
            .saturating_add(read.timeout.as_secs());
        let all = seconds("attempts").unwrap_or(3).saturating_mul(each);
        let all = all.saturating_add(seconds("initialDelay").unwrap_or(0));
        read.boot_timeout = read.boot_timeout.max(Duration::from_secs(all.min(3600)));
        let fields = check.get("httpHeaders").and_then(Value::as_array);
        for field in fields.into_iter().flatten() {
            if let Err(why) = put_field(&mut read, field) {
                self.ignore("a field of healthchecks.web", why);
            }
        }
        read
    }
}

/// Whether it asks for a path, and does not run a command or look at the process.
fn is_request(check: &Value) -> bool {
    let others = ["command", "uptime", "listening"];
    check.is_object() && others.iter().all(|name| check.get(name).is_none())
}

fn put_field(check: &mut HealthCheck, field: &Value) -> Result<(), String> {
    let text = |name: &str| field.get(name).and_then(Value::as_str);
    let (Some(name), Some(value)) = (text("name"), text("value")) else {
        return Err("it has no name and value".to_owned());
    };
    if name.eq_ignore_ascii_case("host") {
        check.host = Some(rules::request_host(value)?);
    } else {
        rules::request_field(name)?;
        check
            .headers
            .insert(name.to_owned(), rules::field_value(value)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: &Value) -> AppJson {
        AppJson::parse(value.to_string().as_bytes())
    }

    #[test]
    fn scripts_and_health_checks_are_read() {
        let read = parse(&json!({
            "name": "Shop",
            "scripts": { "postdeploy": "bin/rails db:seed", "test": "rspec" },
            "healthchecks": { "web": [
                { "type": "liveness", "path": "/alive" },
                { "type": "startup", "path": "/up", "timeout": 7, "attempts": 10, "wait": 3, "initialDelay": 20,
                  "httpHeaders": [{ "name": "Host", "value": "shop.example" }, { "name": "X-A", "value": "b" }] },
            ] },
            "cron": [{ "schedule": "@daily", "command": "bin/clean" }, { "schedule": 5 }],
        }));
        assert_eq!(read.postdeploy.as_deref(), Some("bin/rails db:seed"));
        let check = read.health_check.as_ref().unwrap();
        assert_eq!(
            (check.path.as_deref(), check.host.as_deref()),
            (Some("/up"), Some("shop.example"))
        );
        assert_eq!(
            (check.timeout.as_secs(), check.boot_timeout.as_secs()),
            (7, 120)
        );
        assert_eq!(check.headers["X-A"], "b");
        assert_eq!(
            (read.cron.len(), read.cron[0].command.as_str()),
            (1, "bin/clean")
        );
        assert_eq!(read.cron[0].name, "job-1");
        let told = read.warnings.concat();
        assert!(told.contains("all but one of healthchecks.web"), "{told}");
        assert!(told.contains("entry 2 of cron"), "{told}");
        assert_eq!(read.warnings_beside(&json!({})).len(), read.warnings.len());
        let jobs = read.warnings_beside(&json!({"cron": []})).concat();
        assert!(jobs.contains("since the document has cron"), "{jobs}");
        let overruled = read.warnings_beside(&json!({"health_check": {"path": "/"}}));
        assert!(
            overruled
                .concat()
                .contains("since the document has health_check")
        );
        let object =
            parse(&json!({ "scripts": { "postdeploy": { "command": "seed", "size": "free" } } }));
        assert_eq!(
            (object.postdeploy.as_deref(), object.warnings.len()),
            (Some("seed"), 0)
        );
    }

    #[test]
    fn what_is_ignored_is_told_and_rubbish_breaks_nothing() {
        for (text, says) in [
            ("{", "is no JSON"),
            ("[]", "is no object"),
            (
                r#"{"formation": {"web": {"quantity": 2}}}"#,
                "scale of the document",
            ),
            (r#"{"addons": []}"#, "DATABASE_URL"),
            (r#"{"surprise": 1}"#, "surprise is ignored"),
            (r#"{"scripts": []}"#, "it is no object"),
            (r#"{"scripts": {"postdeploy": 1}}"#, "it is no command"),
            (
                r#"{"scripts": {"dokku": {"predeploy": "x"}}}"#,
                "scripts.dokku is ignored",
            ),
            (
                r#"{"healthchecks": {"worker": []}}"#,
                "healthchecks of worker",
            ),
            (
                r#"{"healthchecks": {"web": [{"command": ["x"]}]}}"#,
                "healthchecks.web",
            ),
            (
                r#"{"healthchecks": {"web": [{"path": "no"}]}}"#,
                "the path of",
            ),
            (
                r#"{"healthchecks": {"web": [{"httpHeaders": [{"name": "a b", "value": "c"}]}]}}"#,
                "a field of",
            ),
            (r#"{"cron": {}}"#, "cron is ignored"),
            (
                r#"{"cron": [{"command": "a", "schedule": "61 * * * *"}]}"#,
                "entry 1 of cron is ignored",
            ),
        ] {
            let told = AppJson::parse(text.as_bytes()).warnings.concat();
            assert!(told.contains(says), "{text}: {told}");
        }
        assert_eq!(AppJson::parse(b"{\"name\": \"a\"}"), AppJson::default());
    }
}
