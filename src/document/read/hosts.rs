//! Reads `hosts` and `domain` of the document (pure).

use std::collections::HashSet;

use serde_json::Value;

use super::NAMES;
use crate::document::formation::ROUTED;
use crate::document::host_entry::HostEntry;
use crate::document::host_name::HostName;
use crate::document::rules as rules_of;
use crate::document::walk::{Object, Walk, expected};

const MAX_HOSTS: usize = 1000;
const MAX_PATTERNS: usize = 64;

pub(super) fn read_hosts(walk: &mut Walk, top: &Object<'_>) -> Vec<HostEntry> {
    let mut known = HashSet::new();
    walk.items(top, "hosts", (NAMES, MAX_HOSTS), |walk, item, pointer| {
        let host = read_host(walk, item, pointer.clone())?;
        if known.insert(host.name.clone()) {
            return Some(host);
        }
        walk.report(pointer, format!("\"{}\" is there already", host.name));
        None
    })
}

/// A name, or an object with the process type that it is for.
fn read_host(walk: &mut Walk, item: &Value, pointer: String) -> Option<HostEntry> {
    if let Value::Object(_) = item {
        let host = walk.object(item, pointer, &["name", "process"])?;
        if host.get("name").is_none() {
            walk.report(host.pointer("name"), "is required: a name of a host");
        }
        let process = match host.get("process") {
            Some(_) => walk.text(&host, "process", rules_of::routed_type),
            None => Some(ROUTED.to_owned()),
        };
        let name = walk.text(&host, "name", HostName::parse)?;
        return Some(HostEntry {
            name,
            process: process?,
        });
    }
    if item.is_string() {
        return walk
            .parse_text(item, pointer, HostName::parse)
            .map(HostEntry::from);
    }
    let wanted = "a name, or an object {name: \"…\", process: \"…\"}";
    walk.report(pointer, expected(wanted, item));
    None
}

pub(super) fn read_domain(walk: &mut Walk, top: &Object<'_>) -> Vec<String> {
    let patterns = walk.list(top, "domain", MAX_PATTERNS, rules_of::domain_pattern);
    if let Err(detail) = rules_of::domain_set(&patterns) {
        walk.report(top.pointer("domain"), detail);
    }
    patterns
}
