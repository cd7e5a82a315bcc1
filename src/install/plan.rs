//! Which steps a deploy takes.

use super::record::Step;

/// The steps before the checkout is looked at, in order; `packages`: whether the document names any.
#[must_use]
pub fn steps(packages: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if packages {
        steps.push(Step::Packages);
    }
    steps.extend([Step::Fetch, Step::Checkout]);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_with_nothing_to_do_are_left_out() {
        assert_eq!(steps(false), [Step::Fetch, Step::Checkout]);
        let all = [Step::Packages, Step::Fetch, Step::Checkout];
        assert_eq!(steps(true), all);
    }
}
