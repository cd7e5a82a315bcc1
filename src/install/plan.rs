//! Which steps a deploy takes (pure).

use super::record::Step;
use crate::app::config::AppConfig;
use crate::app::procfile::Procfile;

/// The process type that runs once per deploy.
pub const RELEASE: &str = "release";

/// The steps up to the checkout's Procfile, in order: what there is nothing to do for is left out.
#[must_use]
pub fn steps(config: &AppConfig) -> Vec<Step> {
    let mut steps = Vec::new();
    if !config.packages.is_empty() {
        steps.push(Step::Packages);
    }
    steps.extend([Step::Fetch, Step::Checkout]);
    if !config.install.is_empty() {
        steps.push(Step::Install);
    }
    steps
}

/// The command of the release phase. A document that gives `scale.release` has made it a process type like others.
#[must_use]
pub fn release_command<'a>(config: &AppConfig, procfile: &'a Procfile) -> Option<&'a str> {
    match config.scale.contains_key(RELEASE) {
        true => None,
        false => procfile.command(RELEASE),
    }
}
