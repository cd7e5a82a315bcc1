//! The names that a certificate authority is asked for: `hosts` and literal patterns of applications that have deployed,
//! and `api_hosts`, but for those that a certificate file covers.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::acme::schedule;
use crate::acme::wish::{Wish, Wishes};
use crate::document::host_name::HostName;
use crate::router::reach::Reach;
use crate::router::table::{Route, Table};
use crate::tls::certificate::Certificate;
use crate::tls::store::FileState;

/// How often certificate files are looked at for their age at least: a clock may have been set.
const LOOK: Duration = Duration::from_secs(10 * 60);

/// Keeps them up to date with the table and the certificate files, on this thread, until nobody looks any more.
pub(super) fn follow(
    mut table: watch::Receiver<Arc<Table>>,
    reach: &Reach,
    mut files: watch::Receiver<Vec<FileState>>,
) -> watch::Receiver<Wishes> {
    let own = reach.api_hosts.iter().filter_map(|host| public(host));
    let own: Wishes = own.map(|name| (name, Wish::Order)).collect();
    let (sender, wishes) = watch::channel(Wishes::new());
    actix_rt::spawn(async move {
        loop {
            let (present, now) = (table.borrow_and_update().clone(), Timestamp::now());
            let covering = covering(&files.borrow_and_update(), now);
            let mut names = own.clone();
            for (name, wish) in present.routes().iter().flat_map(|route| wishes_of(route)) {
                let known = names.entry(name).or_insert(wish);
                *known = wish.max(*known);
            }
            for (name, wish) in &mut names {
                if covering.iter().any(|file| file.covers(name)) {
                    *wish = Wish::Keep;
                }
            }
            sender.send_if_modified(|told| {
                let is_new = *told != names;
                *told = names;
                is_new
            });
            let next = covering.iter().map(|file| until(file, now)).min();
            tokio::select! {
                changed = table.changed() => if changed.is_err() {
                    return;
                },
                // An error means that no file can change any more.
                Ok(()) = files.changed() => {},
                () = tokio::time::sleep(next.map_or(LOOK, |next| next.min(LOOK))) => {},
                () = sender.closed() => return,
            }
        }
    });
    wishes
}

/// The certificate files that make an order needless: valid, and not so near their end that nobody seems to renew them.
fn covering(files: &[FileState], now: Timestamp) -> Vec<Arc<Certificate>> {
    let certificates = files.iter().filter_map(|file| file.certificate.clone());
    certificates
        .filter(|file| file.is_valid_at(now) && now < last_call(file))
        .collect()
}

fn last_call(file: &Certificate) -> Timestamp {
    schedule::last_call(file.not_before, file.not_after)
}

fn until(file: &Certificate, now: Timestamp) -> Duration {
    let until = last_call(file).duration_since(now);
    until.max(SignedDuration::ZERO).unsigned_abs()
}

/// Those of an application. Until it has deployed its names may lead elsewhere, and one that wants no certificates may
/// have some from before.
fn wishes_of(route: &Route) -> Wishes {
    let wish = match route.has_deployed && route.tls.acme {
        true => Wish::Order,
        false => Wish::Keep,
    };
    let hosts = route
        .hosts
        .iter()
        .map(|entry| entry.name.as_str().to_owned());
    let literal = route.domain.iter().filter_map(|pattern| literal(pattern));
    hosts.chain(literal).map(|name| (name, wish)).collect()
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
