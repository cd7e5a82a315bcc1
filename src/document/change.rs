//! [`least_work`]: the least work after a change of the document that has the effect of a full deploy (pure).

use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::config::AppConfig;
use super::engine::EngineKind;
use super::limits::AppLimits;
use super::pick::pick;

/// Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    Nothing,
    /// The route, and settings that are read only when needed: no process notices.
    Route,
    /// More or fewer processes; those that stay are not touched.
    Scale,
    /// A new release of the same code, and new processes; nothing is fetched or installed.
    Restart,
    Deploy,
}

/// What another engine takes. A release for a swarm has what the repository has in shared directories.
fn of_engine(new: &AppConfig) -> Work {
    match new.engine == EngineKind::Swarm && !new.shared.is_empty() {
        true => Work::Deploy,
        false => Work::Restart,
    }
}

/// The least work that leads from `old`, which runs, to `new`.
#[must_use]
pub fn least_work(old: &AppConfig, new: &AppConfig) -> Work {
    // Field by field, so that a new one cannot be forgotten here.
    let AppConfig {
        name,
        engine,
        repo,
        packages,
        user,
        group,
        sandbox,
        hosts,
        domain,
        shell,
        install,
        cache,
        shared,
        scale,
        env,
        path,
        strip_path,
        port,
        health_check,
        stop,
        drain,
        sleep,
        static_files,
        buffer,
        policies,
        tls,
        restart,
        strategy,
        cron,
        limits,
        previews,
        preview,
        drains,
        notify,
        keep_releases,
        document: _,
    } = old;
    let differs = [
        (*name != new.name, Work::Deploy),
        (*repo != new.repo, Work::Deploy),
        (*packages != new.packages, Work::Deploy),
        (*user != new.user, Work::Deploy),
        (*group != new.group, Work::Deploy),
        (*sandbox != new.sandbox, Work::Deploy),
        (*shell != new.shell, Work::Deploy),
        (*install != new.install, Work::Deploy),
        (*cache != new.cache, Work::Deploy),
        (*shared != new.shared, Work::Deploy),
        (*engine != new.engine, of_engine(new)),
        (*env != new.env, Work::Restart),
        (*health_check != new.health_check, Work::Restart),
        (*stop != new.stop, Work::Restart),
        (*restart != new.restart, Work::Restart),
        (!limits.are_same_for_processes(&new.limits), Work::Restart),
        // A process is told at its start where it may listen.
        (old.routed() != new.routed(), Work::Restart),
        (*scale != new.scale, Work::Scale),
        (*hosts != new.hosts, Work::Route),
        (*domain != new.domain, Work::Route),
        (*path != new.path, Work::Route),
        (*strip_path != new.strip_path, Work::Route),
        (*port != new.port, Work::Route),
        (*drain != new.drain, Work::Route),
        (*sleep != new.sleep, Work::Route),
        (*static_files != new.static_files, Work::Route),
        (*buffer != new.buffer, Work::Route),
        (*policies != new.policies, Work::Route),
        (*tls != new.tls, Work::Route),
        (*strategy != new.strategy, Work::Route),
        (*cron != new.cron, Work::Route),
        (*drains != new.drains, Work::Route),
        (*notify != new.notify, Work::Route),
        (limits.disk != new.limits.disk, Work::Route),
        (*previews != new.previews, Work::Route),
        (*preview != new.preview, Work::Route),
        (*keep_releases != new.keep_releases, Work::Route),
    ];
    let needed = differs.into_iter().filter(|(differs, _)| *differs);
    needed.map(|(_, work)| work).max().unwrap_or(Work::Nothing)
}

/// The document that a kept release runs with: its own, with the scale and the route of the `standing` one. These
/// belong to the application, not to a release: a rollback must not take processes or hosts away.
#[must_use]
pub fn config_of_release(own: &AppConfig, standing: &Arc<AppConfig>) -> Arc<AppConfig> {
    if least_work(own, standing) <= Work::Scale {
        return Arc::clone(standing);
    }
    Arc::new(carried(own, own, standing))
}

/// `base` with the changes of scale and route from `old` to `new`. It stands when `old` never took effect and `new`
/// differs from it only in these.
#[must_use]
pub fn carried(base: &AppConfig, old: &AppConfig, new: &AppConfig) -> AppConfig {
    AppConfig {
        scale: pick(&base.scale, &old.scale, &new.scale),
        hosts: pick(&base.hosts, &old.hosts, &new.hosts),
        domain: pick(&base.domain, &old.domain, &new.domain),
        path: pick(&base.path, &old.path, &new.path),
        strip_path: pick(&base.strip_path, &old.strip_path, &new.strip_path),
        port: pick(&base.port, &old.port, &new.port),
        static_files: pick(&base.static_files, &old.static_files, &new.static_files),
        drain: pick(&base.drain, &old.drain, &new.drain),
        sleep: pick(&base.sleep, &old.sleep, &new.sleep),
        buffer: pick(&base.buffer, &old.buffer, &new.buffer),
        policies: base.policies.carried(&old.policies, &new.policies),
        tls: pick(&base.tls, &old.tls, &new.tls),
        strategy: pick(&base.strategy, &old.strategy, &new.strategy),
        cron: pick(&base.cron, &old.cron, &new.cron),
        previews: pick(&base.previews, &old.previews, &new.previews),
        preview: pick(&base.preview, &old.preview, &new.preview),
        drains: pick(&base.drains, &old.drains, &new.drains),
        notify: pick(&base.notify, &old.notify, &new.notify),
        keep_releases: pick(&base.keep_releases, &old.keep_releases, &new.keep_releases),
        limits: AppLimits {
            disk: pick(&base.limits.disk, &old.limits.disk, &new.limits.disk),
            ..base.limits.clone()
        },
        document: carried_document(base, old, new),
        ..base.clone()
    }
}

/// The fields of a document that are scale and route.
const CARRIED: [&str; 28] = [
    "scale",
    "hosts",
    "domain",
    "path",
    "strip_path",
    "port",
    "drain",
    "sleep",
    "static",
    "buffer",
    "maintenance",
    "allow",
    "rate",
    "auth",
    "redirects",
    "headers",
    "timeouts",
    "body",
    "upstream_keep_alive",
    "sticky",
    "tls",
    "strategy",
    "cron",
    "previews",
    "preview",
    "drains",
    "notify",
    "keep_releases",
];

fn carried_document(base: &AppConfig, old: &AppConfig, new: &AppConfig) -> Value {
    let mut document = base.document.clone();
    let Some(fields) = document.as_object_mut() else {
        return document;
    };
    for name in CARRIED {
        let is = new.document.get(name);
        if is == old.document.get(name) {
            continue;
        }
        match is {
            Some(value) => fields.insert(name.to_owned(), value.clone()),
            None => fields.shift_remove(name),
        };
    }
    carry_disk(fields, &old.document, &new.document);
    document
}

/// As [`carried_document`] does with whole fields, with the only part of `limits` that is the application's.
fn carry_disk(fields: &mut Map<String, Value>, old: &Value, new: &Value) {
    const DISK: &str = "disk";
    let of = |document: &Value| document.get("limits")?.get(DISK).cloned();
    let is = of(new);
    if is == of(old) {
        return;
    }
    let limits = fields
        .entry("limits")
        .or_insert_with(|| Value::Object(Map::new()));
    let Some(limits) = limits.as_object_mut() else {
        return;
    };
    match is {
        Some(value) => limits.insert(DISK.to_owned(), value),
        None => limits.shift_remove(DISK),
    };
    if limits.is_empty() {
        fields.shift_remove("limits");
    }
}

/// SHA-256 of a document, in hex: names it without telling its contents.
#[must_use]
pub fn fingerprint(config: &AppConfig) -> String {
    let digest = Sha256::digest(config.document.to_string());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::document::config::Rules;
    use crate::document::merge_patch::merge_patch;

    fn config(document: Value) -> AppConfig {
        let rules = Rules {
            has_swarm: true,
            ..Rules::default()
        };
        AppConfig::from_document(document, &rules).unwrap()
    }

    fn base() -> Value {
        json!({"name": "a", "repo": {"url": "https://h/a.git"}})
    }

    const HASH: &str = "$2y$04$RXgmkBVYsk8WQ8oLXcBgJuyuz0IbZuBrVqlQco1qHdOMDxxLGsOqC";

    /// Single changes, each with what it takes.
    fn changes() -> Vec<(Value, Work)> {
        vec![
            (json!({}), Work::Nothing),
            (json!({"repo": {"branch": "b"}}), Work::Deploy),
            (json!({"repo": {"dir": "b"}}), Work::Deploy),
            (json!({"packages": ["jq"]}), Work::Deploy),
            (json!({"install": ["make"]}), Work::Deploy),
            (json!({"install": []}), Work::Deploy),
            (json!({"cache": ["target"]}), Work::Deploy),
            (json!({"shell": "/bin/bash"}), Work::Deploy),
            (json!({"shared": ["log"]}), Work::Deploy),
            (json!({"user": "nobody"}), Work::Deploy),
            (json!({"group": "nogroup"}), Work::Deploy),
            (json!({"sandbox": false}), Work::Deploy),
            (json!({"env": {"A": "1"}}), Work::Restart),
            (json!({"health_check": {"path": "/up"}}), Work::Restart),
            (json!({"stop": {"timeout": "1s"}}), Work::Restart),
            (json!({"restart": {"job": "never"}}), Work::Restart),
            (json!({"limits": {"memory": "64M"}}), Work::Restart),
            (json!({"limits": {"job": {"cpu": 1}}}), Work::Restart),
            (json!({"limits": {"disk": "1G"}}), Work::Route),
            (json!({"scale": {"web": 2}}), Work::Scale),
            (json!({"hosts": ["a.example"]}), Work::Route),
            (json!({"domain": ["^a"]}), Work::Route),
            (json!({"path": false}), Work::Route),
            (json!({"strip_path": false}), Work::Route),
            (json!({"port": 9000}), Work::Route),
            (json!({"static": {"dir": "public"}}), Work::Route),
            (json!({"drain": "5m"}), Work::Route),
            (json!({"sleep": "30m"}), Work::Route),
            (json!({"buffer": {"requests": false}}), Work::Route),
            (json!({"tls": {"hsts": "30d"}}), Work::Route),
            (json!({"maintenance": true}), Work::Route),
            (json!({"allow": ["10.0.0.0/8"]}), Work::Route),
            (json!({"rate": {"requests": "10/s"}}), Work::Route),
            (json!({"auth": {"basic": {"a": HASH}}}), Work::Route),
            (
                json!({"redirects": [{"from": "/a", "to": "/b"}]}),
                Work::Route,
            ),
            (json!({"headers": {"response": {"A": "b"}}}), Work::Route),
            (json!({"timeouts": {"response": "5m"}}), Work::Route),
            (json!({"body": "5M"}), Work::Route),
            (json!({"upstream_keep_alive": "1s"}), Work::Route),
            (json!({"sticky": true}), Work::Route),
            (json!({"strategy": "recreate"}), Work::Route),
            (
                json!({"cron": [{"name": "a", "schedule": "@daily", "command": "x"}]}),
                Work::Route,
            ),
            (json!({"previews": {"hosts": "*.p.example"}}), Work::Route),
            (json!({"preview": {"of": "b"}}), Work::Route),
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
    fn another_process_type_that_gets_requests_takes_new_processes() {
        let hosts = |process: &str| {
            let hosts = json!({"hosts": [{"name": "a.example", "process": process}]});
            config(merge_patch(base(), hosts))
        };
        let work = |old: &str, new: &str| least_work(&hosts(old), &hosts(new));
        assert_eq!(work("web", "b"), Work::Restart);
        assert_eq!(work("b", "web"), Work::Restart);
        assert_eq!(work("b", "b"), Work::Nothing);
    }

    #[test]
    fn a_default_that_is_written_out_changes_nothing() {
        let spelled = json!({"path": true, "buffer": {"responses": true}, "scale": {}, "env": {}, "strategy": "rolling", "keep_releases": 5,
            "health_check": {"interval": "1s"}, "stop": {"signal": "SIGTERM"}, "drain": "30s"});
        let spelled = config(merge_patch(base(), spelled));
        assert_eq!(least_work(&config(base()), &spelled), Work::Nothing);
    }

    #[test]
    fn what_is_carried_is_what_has_changed_of_scale_and_route_in_fields_and_document_alike() {
        let base = config(merge_patch(
            base(),
            json!({"scale": {"web": 2}, "env": {"A": "1"}}),
        ));
        let failed = json!({"domain": ["^failed"], "env": {"A": "2"}, "scale": null, "port": 9000,
            "limits": {"memory": "64M"}, "rate": {"requests": "1/s"}, "body": "1M"});
        let failed = config(merge_patch(base.document.clone(), failed));
        let patched = json!({"port": null, "path": false, "strategy": "recreate", "limits": {"disk": "1G"}, "body": null, "maintenance": true});
        let patched = config(merge_patch(failed.document.clone(), patched));
        let now = carried(&base, &failed, &patched);
        assert_eq!(now, config(now.document.clone()));
        let expected = json!({"scale": {"web": 2}, "env": {"A": "1"}, "path": false, "strategy": "recreate",
            "limits": {"disk": "1G"}, "maintenance": true});
        assert_eq!(now, config(merge_patch(self::base(), expected)));
        assert_eq!(carried(&base, &failed, &failed), base);
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

    /// Apart from the others: some of them cannot stand beside it.
    #[test]
    fn another_engine_takes_a_restart_there_and_back() {
        let on_swarm = config(merge_patch(base(), json!({"engine": "swarm"})));
        let here = config(base());
        assert_eq!(least_work(&here, &on_swarm), Work::Restart);
        assert_eq!(least_work(&on_swarm, &here), Work::Restart);
        let shared = |engine: &str| {
            config(merge_patch(
                base(),
                json!({"engine": engine, "shared": ["log"]}),
            ))
        };
        assert_eq!(least_work(&shared("local"), &shared("swarm")), Work::Deploy);
    }

    proptest! {
        #[test]
        fn several_changes_take_what_the_greatest_of_them_takes(picked in proptest::collection::vec(0..39usize, 0..6)) {
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
