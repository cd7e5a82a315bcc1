//! Which steps a deploy takes.

use super::record::Step;
use crate::document::procfile::Procfile;

/// The process type that runs once per deploy.
pub const RELEASE: &str = "release";

/// The steps that a document alone decides, in order; `packages` and `commands`: whether it names any.
#[must_use]
pub fn steps(packages: bool, commands: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if packages {
        steps.push(Step::Packages);
    }
    steps.extend([Step::Fetch, Step::Checkout]);
    if commands {
        steps.push(Step::Install);
    }
    steps
}

/// The command of the release phase. A document that scales `release` has made it a process type like others.
pub fn release_command(is_scaled: impl Fn(&str) -> bool, procfile: &Procfile) -> Option<&str> {
    match is_scaled(RELEASE) {
        true => None,
        false => procfile.command(RELEASE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::procfile::Entry;

    #[test]
    fn the_release_phase_is_the_procfiles_unless_it_is_scaled() {
        let entry = |name: &str| Entry {
            name: name.to_owned(),
            command: format!("run {name}"),
            line: 1,
        };
        let procfile = Procfile {
            entries: vec![entry("web"), entry("release")],
            warnings: Vec::new(),
        };
        assert_eq!(release_command(|_| false, &procfile), Some("run release"));
        assert_eq!(release_command(|name| name == "release", &procfile), None);
        assert_eq!(release_command(|_| false, &Procfile::default()), None);
    }

    #[test]
    fn steps_with_nothing_to_do_are_left_out() {
        assert_eq!(steps(false, false), [Step::Fetch, Step::Checkout]);
        let all = [Step::Packages, Step::Fetch, Step::Checkout, Step::Install];
        assert_eq!(steps(true, true), all);
    }
}
