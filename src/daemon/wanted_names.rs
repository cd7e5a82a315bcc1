//! The names that a certificate authority is asked for: `hosts` and literal patterns of applications that have deployed,
//! and `api_hosts`.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::document::host_name::HostName;
use crate::router::reach::Reach;
use crate::router::table::{Route, Table};

/// Keeps them up to date with the table, on this thread, until nobody looks any more.
pub(super) fn follow(
    mut table: watch::Receiver<Arc<Table>>,
    reach: &Reach,
) -> watch::Receiver<BTreeSet<String>> {
    let own: BTreeSet<String> = reach
        .api_hosts
        .iter()
        .filter_map(|host| public(host))
        .collect();
    let (sender, wanted) = watch::channel(own.clone());
    actix_rt::spawn(async move {
        loop {
            let present = table.borrow_and_update().clone();
            let names = present.routes().iter().flat_map(|route| names(route));
            let names: BTreeSet<String> = names.chain(own.iter().cloned()).collect();
            sender.send_if_modified(|told| {
                let is_new = *told != names;
                *told = names;
                is_new
            });
            tokio::select! {
                changed = table.changed() => if changed.is_err() {
                    return;
                },
                () = sender.closed() => return,
            }
        }
    });
    wanted
}

/// Those of an application that wants certificates and has deployed.
fn names(route: &Route) -> BTreeSet<String> {
    if !route.has_deployed || !route.tls.acme {
        return BTreeSet::new();
    }
    let hosts = route
        .hosts
        .iter()
        .map(|entry| entry.name.as_str().to_owned());
    let literal = route.domain.iter().filter_map(|pattern| literal(pattern));
    hosts.chain(literal).collect()
}

/// The one name that a pattern matches: `a.example.org` of `^a\.example\.org$`. A pattern that is not anchored never
/// leads to an order: anybody could point a name here.
fn literal(pattern: &str) -> Option<String> {
    let inner = pattern.strip_prefix('^')?.strip_suffix('$')?;
    let name = inner.replace("\\.", "\u{0}");
    let is_plain = !name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '\u{0}');
    is_plain
        .then(|| public(&name.replace('\u{0}', ".")))
        .flatten()
}

/// A name that a certificate authority may be asked for: with a dot, and no address.
fn public(host: &str) -> Option<String> {
    let name = HostName::parse(host).ok()?;
    name.as_str()
        .contains('.')
        .then(|| name.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pattern_for_one_name_leads_to_an_order() {
        assert_eq!(
            literal(r"^a-1\.example\.org$").as_deref(),
            Some("a-1.example.org")
        );
        for pattern in [
            r"a\.example\.org",
            r"^a\.example\.org",
            r"a\.example\.org$",
            r"^a.example\.org$",
            r"^(a|b)\.example\.org$",
            r"^\w+\.example\.org$",
            r"^localhost$",
            r"^10\.0\.0\.1$",
            "",
        ] {
            assert_eq!(literal(pattern), None, "{pattern}");
        }
    }
}
