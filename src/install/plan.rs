//! Which steps a deploy takes.

use super::record::Step;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_with_nothing_to_do_are_left_out() {
        assert_eq!(steps(false, false), [Step::Fetch, Step::Checkout]);
        let all = [Step::Packages, Step::Fetch, Step::Checkout, Step::Install];
        assert_eq!(steps(true, true), all);
    }
}
