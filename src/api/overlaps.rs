//! What to say of a change whose names another app's patterns match, or whose patterns match another app's names: names
//! come first, which is mostly meant, and surprises where it is not.

use regex::Regex;

use crate::document::config::AppConfig;
use crate::router::table::{Route, Table};

/// A sentence for each pattern that matches a name of the other side; no more than the first name of each app is told.
pub(super) fn told(config: &AppConfig, table: &Table) -> Vec<String> {
    let routes = table.routes().iter().map(|route| &**route);
    let others = || {
        routes
            .clone()
            .filter(|other| *other.app != *config.name.as_str())
    };
    let names = config.hosts.iter().map(|host| &host.name);
    let mut told = Vec::new();
    for name in names.filter(|name| name.parent().is_none()) {
        let matching = table.patterns().all(name.as_str()).into_iter();
        let matching = matching.filter_map(|at| table.routes().get(at));
        for other in matching.filter(|other| *other.app != *config.name.as_str()) {
            told.push(format!(
                "{name} also matches the domain of \"{}\": a name comes before patterns, so \"{}\" gets its requests",
                other.app, config.name
            ));
        }
    }
    for pattern in &config.domain {
        let Ok(regex) = Regex::new(pattern) else {
            continue;
        };
        told.extend(others().filter_map(|other| {
            let name = first_match(other, &regex)?;
            Some(format!(
                "domain \"{pattern}\" also matches {name}, which stays with \"{}\": a name comes before patterns",
                other.app
            ))
        }));
    }
    told
}

fn first_match<'r>(route: &'r Route, pattern: &Regex) -> Option<&'r str> {
    let names = route.hosts.iter().map(|host| &host.name);
    let mut names = names.filter(|name| name.parent().is_none());
    names.find_map(|name| pattern.is_match(name.as_str()).then_some(name.as_str()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::document::config::Rules;
    use crate::router::table::Availability;

    fn config(name: &str, hosts: Value, domain: Value) -> AppConfig {
        let document = json!({"name": name, "repo": {"url": "https://h/a.git"}, "hosts": hosts, "domain": domain});
        AppConfig::from_document(document, &Rules::default()).unwrap()
    }

    fn table(configs: &[AppConfig]) -> Table {
        let route = |config: &AppConfig| Route {
            app: config.name.shared(),
            created: 1,
            hosts: config.hosts.clone(),
            domain: config.domain.clone(),
            path: true,
            strip_path: true,
            port: None,
            static_files: None,
            buffer: Default::default(),
            policies: None,
            tls: Default::default(),
            has_deployed: true,
            availability: Availability::Starting,
            backends: Vec::new(),
            others: Vec::new(),
        };
        Table::new(configs.iter().map(route).map(Arc::new).collect())
    }

    #[test]
    fn names_within_patterns_of_other_apps_are_told_from_both_sides() {
        let named = config(
            "shop",
            json!(["shop.example", "*.shop.example", "b.org"]),
            json!(["^shop"]),
        );
        let pattern = config("all", json!([]), json!(["example$", "^x"]));
        let both = table(&[named.clone(), pattern.clone()]);
        let of_name = told(&named, &both);
        assert_eq!(of_name.len(), 1, "{of_name:?}");
        assert!(of_name[0].starts_with("shop.example also matches the domain of \"all\""));
        let of_pattern = told(&pattern, &both);
        assert_eq!(of_pattern.len(), 1, "{of_pattern:?}");
        assert!(of_pattern[0].contains("matches shop.example, which stays with \"shop\""));
        let other = config("other", json!(["a.net"]), json!([]));
        assert!(told(&other, &both).is_empty());
    }
}
