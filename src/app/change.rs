//! What a change of the document takes (pure): the least work after which everything is as if it had been deployed anew.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::config::AppConfig;

/// What a change takes; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Nothing.
    Nothing,
    /// The route, and what is only looked at when needed: no process notices.
    Route,
    /// More or fewer processes; those that stay are not touched.
    Scale,
    /// A new release of the same code, and new processes; nothing is fetched or installed.
    Restart,
    /// A deploy.
    Deploy,
}

/// The least work that leads from `old`, which runs, to `new`.
#[must_use]
pub fn least_work(old: &AppConfig, new: &AppConfig) -> Work {
    // Field by field, so that a new one cannot be forgotten here.
    let AppConfig {
        name,
        repo,
        packages,
        user,
        group,
        domain,
        install,
        scale,
        env,
        path,
        strip_path,
        port,
        health_check,
        stop,
        static_files,
        strategy,
        keep_releases,
        document: _,
    } = old;
    let differs = [
        (*name != new.name, Work::Deploy),
        (*repo != new.repo, Work::Deploy),
        (*packages != new.packages, Work::Deploy),
        (*user != new.user, Work::Deploy),
        (*group != new.group, Work::Deploy),
        (*install != new.install, Work::Deploy),
        (*env != new.env, Work::Restart),
        (*health_check != new.health_check, Work::Restart),
        (*stop != new.stop, Work::Restart),
        (*scale != new.scale, Work::Scale),
        (*domain != new.domain, Work::Route),
        (*path != new.path, Work::Route),
        (*strip_path != new.strip_path, Work::Route),
        (*port != new.port, Work::Route),
        (*static_files != new.static_files, Work::Route),
        (*strategy != new.strategy, Work::Route),
        (*keep_releases != new.keep_releases, Work::Route),
    ];
    let needed = differs.into_iter().filter(|(differs, _)| *differs);
    needed.map(|(_, work)| work).max().unwrap_or(Work::Nothing)
}

/// The document with which a kept release runs: its own, but for what is the application's and not a release's, the
/// scale and the route. A rollback must not take processes or hosts away.
#[must_use]
pub fn config_of_release(own: &AppConfig, newest: &Arc<AppConfig>) -> Arc<AppConfig> {
    if least_work(own, newest) <= Work::Scale {
        return Arc::clone(newest);
    }
    let newest = AppConfig::clone(newest);
    Arc::new(AppConfig {
        scale: newest.scale,
        domain: newest.domain,
        path: newest.path,
        strip_path: newest.strip_path,
        port: newest.port,
        static_files: newest.static_files,
        strategy: newest.strategy,
        keep_releases: newest.keep_releases,
        ..own.clone()
    })
}

/// Names a document without telling what is in it.
#[must_use]
pub fn fingerprint(config: &AppConfig) -> String {
    let digest = Sha256::digest(config.document.to_string());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::config::Rules;
    use super::super::merge_patch::merge_patch;
    use super::*;

    fn config(document: Value) -> AppConfig {
        AppConfig::from_document(document, &Rules::default()).unwrap()
    }

    fn base() -> Value {
        json!({"name": "a", "repo": {"url": "https://h/a.git"}})
    }

    /// Single changes, each with what it takes.
    fn changes() -> Vec<(Value, Work)> {
        vec![
            (json!({}), Work::Nothing),
            (json!({"repo": {"branch": "b"}}), Work::Deploy),
            (json!({"packages": ["jq"]}), Work::Deploy),
            (json!({"install": ["make"]}), Work::Deploy),
            (json!({"user": "nobody"}), Work::Deploy),
            (json!({"group": "nogroup"}), Work::Deploy),
            (json!({"env": {"A": "1"}}), Work::Restart),
            (json!({"health_check": {"path": "/up"}}), Work::Restart),
            (json!({"stop": {"timeout": "1s"}}), Work::Restart),
            (json!({"scale": {"web": 2}}), Work::Scale),
            (json!({"domain": ["^a"]}), Work::Route),
            (json!({"path": false}), Work::Route),
            (json!({"strip_path": false}), Work::Route),
            (json!({"port": 9000}), Work::Route),
            (json!({"static": {"dir": "public"}}), Work::Route),
            (json!({"strategy": "recreate"}), Work::Route),
            (json!({"keep_releases": 2}), Work::Route),
        ]
    }

    #[test]
    fn each_field_takes_what_it_says() {
        for (patch, work) in changes() {
            let changed = config(merge_patch(base(), patch.clone()));
            assert_eq!(least_work(&config(base()), &changed), work, "{patch}");
            assert_eq!(least_work(&changed, &config(base())), work, "back: {patch}");
        }
    }

    #[test]
    fn a_default_that_is_written_out_changes_nothing() {
        let spelled = json!({"path": true, "scale": {}, "env": {}, "strategy": "rolling", "keep_releases": 5,
            "health_check": {"interval": "1s"}, "stop": {"signal": "SIGTERM"}});
        let spelled = config(merge_patch(base(), spelled));
        assert_eq!(least_work(&config(base()), &spelled), Work::Nothing);
    }

    #[test]
    fn a_kept_release_runs_with_its_own_environment_at_the_scale_and_route_of_now() {
        let kept = config(merge_patch(
            base(),
            json!({"env": {"A": "old"}, "scale": {"web": 1}}),
        ));
        let newest = json!({"env": {"A": "new"}, "scale": {"web": 3}, "domain": ["^a"]});
        let newest = Arc::new(config(merge_patch(base(), newest)));
        let started = config_of_release(&kept, &newest);
        assert_eq!(
            (started.env["A"].as_str(), started.scale["web"]),
            ("old", 3)
        );
        assert_eq!(started.domain, ["^a"]);
        assert!(least_work(&started, &kept) <= Work::Scale);
    }

    proptest! {
        #[test]
        fn several_changes_take_what_the_greatest_of_them_takes(picked in proptest::collection::vec(0..17usize, 0..6)) {
            let changes = changes();
            let mut document = base();
            let mut greatest = Work::Nothing;
            for index in picked {
                let (patch, work) = changes[index].clone();
                document = merge_patch(document, patch);
                greatest = greatest.max(work);
            }
            let (old, new) = (config(base()), config(document));
            prop_assert_eq!(least_work(&old, &new), greatest);
            prop_assert_eq!(least_work(&new, &new), Work::Nothing);
        }
    }
}
