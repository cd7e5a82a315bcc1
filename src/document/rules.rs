//! Checks for each kind of text in a document (pure). Every refusal says what is allowed.

mod health_check;
mod response;

use nix::sys::signal::Signal;
use regex::{RegexBuilder, RegexSetBuilder};

use super::formation::RELEASE;

pub(crate) use health_check::{request_field, request_host, statuses};
pub(crate) use response::{long_field_value, response_field};

/// Bytes one compiled domain pattern may take. Host names need little; `\w{1000}` would take megabytes per app.
const PATTERN_SIZE: usize = 256 * 1024;

/// Bytes all patterns of an app together may take.
const PATTERN_SET_SIZE: usize = 1024 * 1024;

/// Characters of a domain pattern.
const PATTERN_LENGTH: usize = 256;

/// Bytes of a command or a variable: Linux takes 128 KiB per argument (execve(2), `MAX_ARG_STRLEN`).
const MAX_TEXT: usize = 64 * 1024;

/// Signals that ask a process to end, or to do something of its own; none that stops or kills it.
const STOP_SIGNALS: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// The name of a branch or tag, by git-check-ref-format(1).
pub(super) fn git_ref(text: &str) -> Result<String, String> {
    let wrong = |why: &str| {
        Err(format!(
            "\"{}\" is not a git reference: it {why}",
            shown(text)
        ))
    };
    if text.is_empty() {
        return wrong("is empty");
    }
    if text.len() > 255 {
        return wrong("is longer than 255 bytes");
    }
    if text.starts_with('-') {
        return wrong("begins with \"-\"");
    }
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    if let Some(c) = text.chars().find(|c| forbidden(*c)) {
        return wrong(&format!("contains {c:?}"));
    }
    if text.contains("..") || text.contains("@{") || text == "@" || text.ends_with('.') {
        return wrong("contains \"..\" or \"@{\", or ends with \".\"");
    }
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if text.split('/').any(bad_part) {
        return wrong(
            "has a part between slashes that is empty, begins with \".\" or ends with \".lock\"",
        );
    }
    Ok(text.to_owned())
}

/// A full or abbreviated commit id; git abbreviates to 4 digits at least, SHA-256 ids have 64.
pub(super) fn commit(text: &str) -> Result<String, String> {
    if (4..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!(
            "\"{}\" is not a commit: give 4 to 64 hexadecimal digits, or use \"branch\" or \"tag\"",
            shown(text)
        ))
    }
}

/// The name of a user or group. Whether it exists is found out elsewhere.
pub(super) fn account(text: &str, allow_root: bool) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(
            "must be a name, not a number: \"id -nu 1000\" prints the name of user 1000".to_owned(),
        );
    }
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@');
    let valid = text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(rest);
    if !valid {
        return Err(format!(
            "\"{}\" is not a name of a user or group: use letters, digits, \"_\", \"-\" and \".\"",
            shown(text)
        ));
    }
    if text == "root" && !allow_root {
        return Err(
            "root is refused, an app of root's owns the whole machine: name another, or set allow_root_apps = true in procserver.toml"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

pub(super) fn domain_pattern(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err(
            "is empty and would match every host: write \".*\" if that is meant".to_owned(),
        );
    }
    if text.chars().count() > PATTERN_LENGTH {
        return Err(format!("is longer than {PATTERN_LENGTH} characters"));
    }
    if text.contains(char::is_control) {
        return Err("has a control character in it".to_owned());
    }
    match RegexBuilder::new(text).size_limit(PATTERN_SIZE).build() {
        Ok(_) => Ok(text.to_owned()),
        Err(regex::Error::Syntax(message)) => Err(format!(
            "\"{text}\" is not a regular expression: {}",
            regex_complaint(&message)
        )),
        Err(_) => Err(format!(
            "\"{text}\" is too large when compiled: use smaller repetitions, or [a-z0-9] for \\w"
        )),
    }
}

/// The sentence and the position out of the drawing that regex makes: its last line is `error: …`, and the caret of the
/// line before stands below the offending character, both indented by four.
fn regex_complaint(message: &str) -> String {
    let mut lines = message.lines().rev();
    let error = lines.next().unwrap_or_default();
    let error = error.strip_prefix("error: ").unwrap_or(error);
    let caret = lines.next().and_then(|line| line.find('^'));
    match caret.and_then(|column| column.checked_sub(4)) {
        Some(column) => format!("{error} (at character {})", column + 1),
        None => error.to_owned(),
    }
}

/// Whether all patterns of an app fit into one set.
pub(super) fn domain_set(patterns: &[String]) -> Result<(), String> {
    RegexSetBuilder::new(patterns)
        .size_limit(PATTERN_SET_SIZE)
        .build()
        .map(|_| ())
        .map_err(|_| "the patterns are too large together: use fewer or simpler ones".to_owned())
}

pub(super) fn command(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("is empty: remove it or write a command".to_owned());
    }
    limited(text).map(|()| text.to_owned())
}

/// A process type of a Procfile, as foreman takes it.
pub(crate) fn process_type(name: &str) -> Result<(), String> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(valid) {
        return Err(format!(
            "\"{}\" is not a process type: use letters, digits, \"_\" and \"-\", as in the Procfile",
            shown(name)
        ));
    }
    Ok(())
}

/// A process type that gets requests.
pub(super) fn routed_type(name: &str) -> Result<String, String> {
    process_type(name)?;
    if name == RELEASE {
        return Err("\"release\" runs once before each start, and gets no requests".to_owned());
    }
    Ok(name.to_owned())
}

/// The name of an environment variable.
pub(super) fn variable(name: &str) -> Result<(), String> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(first)
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        || name.len() > 256
    {
        return Err(format!(
            "\"{}\" is not a name of a variable: use letters, digits and \"_\", not beginning with a digit",
            shown(name)
        ));
    }
    Ok(())
}

/// A text that becomes an argument or a variable of a process.
pub(super) fn limited(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err("has a NUL character in it, which no process can be given".to_owned());
    }
    if text.len() > MAX_TEXT {
        return Err(format!(
            "is longer than {} KiB: put it into a file",
            MAX_TEXT / 1024
        ));
    }
    Ok(())
}

/// The number of a signal by its name, with or without `SIG`.
pub(super) fn stop_signal(name: &str) -> Result<i32, String> {
    let upper = name.to_ascii_uppercase();
    let is_named = |signal: &&Signal| {
        let full = signal.as_str();
        full == upper || full.strip_prefix("SIG") == Some(upper.as_str())
    };
    STOP_SIGNALS
        .iter()
        .find(is_named)
        .map(|signal| *signal as i32)
        .ok_or_else(|| {
            let names: Vec<&str> = STOP_SIGNALS.iter().map(|s| s.as_str()).collect();
            format!(
                "\"{}\" cannot be used to stop a process: use one of {}",
                shown(name),
                names.join(", ")
            )
        })
}

/// A path of a health check: it becomes part of a request line, so nothing but visible ASCII.
pub(super) fn request_path(text: &str) -> Result<String, String> {
    let fits =
        text.starts_with('/') && text.len() <= 1024 && text.bytes().all(|b| b.is_ascii_graphic());
    if fits && !text.contains('#') {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "\"{}\" is not a path: begin with \"/\" and write spaces and other characters as %20",
            shown(text)
        ))
    }
}

/// A directory below the release.
pub(super) fn relative_directory(text: &str) -> Result<String, String> {
    let part_is_bad = |part: &str| part == ".." || part.starts_with('.') && part != ".";
    let bad = text.is_empty()
        || text.len() > 1024
        || text.starts_with('/')
        || text.contains(char::is_control)
        || text.split('/').any(part_is_bad);
    if bad {
        return Err(format!(
            "\"{}\" is not a directory below the repository: write it as \"public\", without \"/\" in front, \"..\" and hidden parts",
            shown(text)
        ));
    }
    Ok(text.to_owned())
}

/// A file below the release.
pub(super) fn relative_file(text: &str) -> Result<String, String> {
    let is_bad = text.ends_with('/') || text.split('/').any(|part| part.is_empty() || part == ".");
    match relative_directory(text) {
        Ok(text) if !is_bad => Ok(text),
        _ => Err(format!(
            "\"{}\" is not a file below the repository: write it as \"maintenance.html\", without \"/\" in front, \"..\" and \
             hidden parts",
            shown(text)
        )),
    }
}

/// A directory that is shared by all releases, in plain form.
pub(super) fn shared_directory(text: &str) -> Result<String, String> {
    let text = relative_directory(text)?;
    let parts = text.split('/').filter(|part| !matches!(*part, "" | "."));
    let plain = parts.collect::<Vec<_>>().join("/");
    match plain.is_empty() {
        true => Err("must name a directory of the application, such as \"log\"".to_owned()),
        false => Ok(plain),
    }
}

/// A directory of the checkout that the next release takes over.
pub(super) fn cache(text: &str) -> Result<String, String> {
    let is_bad = |part: &str| matches!(part, "" | "." | ".." | ".git");
    if text.len() > 255 || text.contains(char::is_control) || text.split('/').any(is_bad) {
        return Err(format!(
            "\"{}\" is not a directory below the repository: write it as \"node_modules\" or \"var/cache\"",
            shown(text)
        ));
    }
    Ok(text.to_owned())
}

/// The prefix under which static files appear.
pub(super) fn path_prefix(text: &str) -> Result<String, String> {
    request_path(text).and_then(|path| {
        if path.contains('?') || path.split('/').any(|part| part == "..") {
            Err("must be a path without \"?\" and \"..\", such as \"/\" or \"/assets\"".to_owned())
        } else {
            Ok(path)
        }
    })
}

/// The name of a field of a request or a response (RFC 9110 §5.6.2).
fn field_name(name: &str) -> Result<(), String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 100 || !name.bytes().all(is_token) {
        return Err(format!("\"{}\" is not a name of a field", shown(name)));
    }
    Ok(())
}

/// The value of a field of a request or a response.
pub(super) fn field_value(text: &str) -> Result<String, String> {
    let is_value = |b: u8| b == b' ' || b.is_ascii_graphic();
    if text.trim().is_empty() || text.len() > 200 || !text.bytes().all(is_value) {
        return Err(
            "must be the value of a field: 1 to 200 printable ASCII characters, such as \"public, max-age=3600\""
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// The beginning of a hostile text, escaped, enough to recognise it.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_what_git_takes() {
        for good in ["master", "feature/a-b", "v1.0", "ünï"] {
            assert!(git_ref(good).is_ok(), "{good}");
        }
        for bad in [
            "", "-b", "a..b", "a b", "a~1", "a:b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock",
            "a.", "@", "a@{1}", "a\n",
        ] {
            assert!(git_ref(bad).is_err(), "{bad:?}");
        }
        assert_eq!(commit("ABCDEF12").as_deref(), Ok("abcdef12"));
        assert!(
            commit("abc").is_err() && commit("HEAD").is_err() && commit(&"a".repeat(65)).is_err()
        );
    }

    #[test]
    fn a_bad_pattern_is_told_where() {
        let error = domain_pattern("^app(.*$").unwrap_err();
        assert!(error.contains("unclosed group (at character 5)"), "{error}");
        assert!(
            domain_pattern(r"\w{1000}")
                .unwrap_err()
                .contains("too large")
        );
        assert!(domain_pattern(&"a".repeat(257)).is_err());
        assert!(domain_pattern("").is_err());
        for usual in [
            "^rubynas.*",
            r"^[\w-]+\.example\.com$",
            r"^(www\.)?a\.(de|org)$",
            ".*",
        ] {
            assert!(domain_pattern(usual).is_ok(), "{usual}");
        }
    }

    #[test]
    fn root_needs_the_setting() {
        assert!(
            account("root", false)
                .unwrap_err()
                .contains("allow_root_apps")
        );
        assert!(account("root", true).is_ok());
        for bad in ["0", "1000", "", "-r", "a b", "a:b", "a\n"] {
            assert!(account(bad, true).is_err(), "{bad:?}");
        }
        assert!(account("www-data", false).is_ok());
    }

    #[test]
    fn signals_are_named_and_harmless() {
        assert_eq!(stop_signal("SIGTERM"), Ok(15));
        assert_eq!(stop_signal("quit"), Ok(3));
        for bad in ["SIGSTOP", "KILL", "15", "", "SIG"] {
            assert!(stop_signal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        for bad in ["", "/etc", "../a", "a/../b", ".git", "a/.hidden"] {
            assert!(relative_directory(bad).is_err(), "{bad}");
        }
        assert!(
            relative_directory("public/assets").is_ok() && relative_directory("./public").is_ok()
        );
        assert_eq!(
            shared_directory("./tmp//cache/").as_deref(),
            Ok("tmp/cache")
        );
        assert!(shared_directory("./").is_err() && shared_directory("a/../b").is_err());
        assert!(request_path("/up?full=1").is_ok());
        assert!(
            request_path("up").is_err()
                && request_path("/a b").is_err()
                && request_path("/a\r\nX: y").is_err()
        );
        assert!(path_prefix("/assets").is_ok() && path_prefix("/a/../b").is_err());
    }

    #[test]
    fn the_servers_own_variables_are_refused() {
        for bad in ["1A", "", "A=B", "A-B"] {
            assert!(variable(bad).is_err(), "{bad}");
        }
        assert!(variable("RAILS_ENV").is_ok());
    }
}
