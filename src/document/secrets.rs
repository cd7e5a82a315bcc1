//! Tells secret values from others (pure). Logs and records must hold no secret.

use super::repository_url::Parts;

/// What is shown in place of a secret. A document that holds it was read by somebody who may not see the secret.
pub const DOTS: &str = "••••";

/// A variable whose name has one of these in it holds a secret.
const WORDS: [&str; 10] = [
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "APIKEY",
    "API_KEY",
    "PRIVATE",
    "CREDENTIAL",
    "SIGNING",
];
/// Shorter values are not hidden: that would hide half of a log.
const SHORTEST: usize = 6;
/// Fewest characters of a value that counts as a key by its looks.
const SHORTEST_KEY: usize = 16;

/// Whether logs must hide the value of the variable `name`: its name says so, it is a URL with a password, or it looks
/// like a key. Words such as `production`, paths and numbers do not.
#[must_use]
pub fn is_secret(name: &str, value: &str) -> bool {
    value.len() >= SHORTEST
        && (says_secret(name) || password_in_url(value).is_some() || is_key(value))
}

/// Whether the name of a variable says that its value is a secret.
fn says_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let is_part = |word: &&str| name.contains(*word);
    let ends = ["_KEY", "_PASS", "_PW", "_PWD", "_DSN", "_AUTH"];
    WORDS.iter().any(is_part) || ends.iter().any(|end| name.ends_with(end)) || name == "KEY"
}

/// The password, or the token alone, in `scheme://USER:PASSWORD@host` or `http(s)://TOKEN@host`.
#[must_use]
pub fn password_in_url(text: &str) -> Option<&str> {
    let Parts::Url {
        scheme,
        user_info: Some(user),
        ..
    } = Parts::of(text)?
    else {
        return None;
    };
    let secret = match user.split_once(':') {
        Some((_, password)) => password,
        None if scheme.starts_with("http") => user,
        None => return None,
    };
    (!secret.is_empty()).then_some(secret)
}

/// Letters and digits without a blank, as keys and digests are written; no path, no host name, no sentence.
fn is_key(value: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"_-+=".contains(&b);
    value.len() >= SHORTEST_KEY
        && value.bytes().all(is_part)
        && value.bytes().any(|b| b.is_ascii_digit())
        && value.bytes().any(|b| b.is_ascii_alphabetic())
}

/// The secrets in `env`, each as it may appear in an output.
pub fn of_environment<'a>(
    env: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> impl Iterator<Item = String> {
    env.into_iter()
        .filter(|(name, value)| is_secret(name, value))
        .flat_map(|(_, value)| {
            let password = password_in_url(value).filter(|password| password.len() >= SHORTEST);
            // A value of several lines, such as a key file, is printed line by line.
            let is_told = |line: &&str| line.trim().len() >= SHORTEST && !line.starts_with("-----");
            let lines = value.lines().filter(is_told);
            let whole = lines.map(str::to_owned).collect::<Vec<_>>();
            password.map(str::to_owned).into_iter().chain(whole)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_words_by_name_or_looks() {
        for (name, value) in [
            ("SECRET_KEY_BASE", "hunter2"),
            ("STRIPE_API_KEY", "sk_live_1"),
            ("DATABASE_URL", "postgres://u:pass@h/db"),
            ("X", "ghp_0123456789abcdefABCD"),
        ] {
            assert!(is_secret(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("RAILS_ENV", "production"),
            ("PATH", "/usr/local/bin:/usr/bin"),
            ("HOST", "blog2.example.org"),
            ("PIN_TOKEN", "1"),
            ("DATABASE_URL", "postgres://h/db"),
            ("REPO", "ssh://git@h/x"),
            ("KEYBOARD", "german"),
            ("NUMBER", "12345678901234567890"),
        ] {
            assert!(!is_secret(name, value), "{name}={value}");
        }
    }

    #[test]
    fn the_password_of_a_url_is_a_secret_by_itself_and_a_key_is_so_line_by_line() {
        let env = std::collections::BTreeMap::from([
            ("A".to_owned(), "redis://:sesame@h:1/0".to_owned()),
            ("B_KEY".to_owned(), "-----BEGIN\nabcdefgh\n--".to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ]);
        let secrets: Vec<_> = of_environment(&env).collect();
        assert_eq!(secrets, ["sesame", "redis://:sesame@h:1/0", "abcdefgh"]);
        assert_eq!(password_in_url("https://tok@h/x"), Some("tok"));
        assert_eq!(password_in_url("https://h/a@b:c"), None);
    }
}
