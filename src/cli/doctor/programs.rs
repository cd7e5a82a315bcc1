//! The programs that a server runs.

use super::bounded;
use super::report::Finding;

/// The oldest git that works: what `install/git` passes is known from then on.
const OLDEST_GIT: (u32, u32) = (2, 30);

#[must_use]
pub fn checks() -> Vec<Finding> {
    vec![
        git(bounded::output("git", &["--version"]).as_deref()),
        apt(bounded::output("apt-get", &["--version"]).as_deref()),
        who(rustix::process::geteuid().is_root()),
    ]
}

/// `version`: what `git --version` prints.
fn git(version: Option<&str>) -> Finding {
    const TODO: &str = "type \"apt-get install git\"";
    let Some(version) = version else {
        return Finding::poor(
            "git",
            "it is not there, so no application can be fetched",
            TODO,
        );
    };
    let mut numbers = version.split_whitespace().nth(2).unwrap_or("").split('.');
    let mut number = || numbers.next()?.parse::<u32>().ok();
    match (number(), number()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST_GIT => Finding::warning(
            "git",
            format!("{version} is older than {}.{}", OLDEST_GIT.0, OLDEST_GIT.1),
            TODO,
        ),
        _ => Finding::good("git", version),
    }
}

/// `version`: what `apt-get --version` prints.
fn apt(version: Option<&str>) -> Finding {
    match version.and_then(|version| version.lines().next()) {
        Some(version) => Finding::good("apt-get", version),
        None => Finding::warning(
            "apt-get",
            "it is not there: documents with `packages` cannot be deployed",
            "this needs Debian or what is made of it",
        ),
    }
}

fn who(is_root: bool) -> Finding {
    match is_root {
        true => Finding::good("user", "root"),
        false => Finding::unseen(
            "user",
            "not root: some things are not looked at, and a server of yours runs all applications as you",
            "run \"sudo procserver doctor\" for the machine's server",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    #[test]
    fn programs_that_are_missing_or_old_are_told() {
        assert_eq!(git(None).level, Level::Missing);
        assert_eq!(git(Some("git version 2.20.1")).level, Level::Warning);
        assert_eq!(git(Some("git version 2.39.5")).level, Level::Ok);
        assert_eq!(
            git(Some("git version 3.0.0 (Apple Git-1)")).level,
            Level::Ok
        );
        assert_eq!(git(Some("strange")).level, Level::Ok);
        assert_eq!(apt(None).level, Level::Warning);
        assert_eq!(
            apt(Some("apt 2.6.1 (amd64)\nmore")).found,
            "apt 2.6.1 (amd64)"
        );
    }
}
