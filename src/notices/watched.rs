//! What nobody reports: certificates that end, and the disk that fills up. Both are looked at each minute.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::notice::{Notice, State};
use crate::acme::status::{Results, Row, State as OfRow};
use crate::tls::store::{FileState, Published};

/// A certificate should have been renewed by then.
const DAYS: i64 = 7;

/// The disk is full below so many percent, and well again from so many on.
const LITTLE: u64 = 5;
const ENOUGH: u64 = 8;

/// What is looked at.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) published: Arc<Published>,
    pub(super) acme: Arc<Results>,
}

impl Watched {
    pub(super) fn certificates(&self, now: Timestamp) -> Vec<Notice> {
        let files = self.published.files.borrow().clone();
        let rows = self.acme.rows.borrow().clone();
        let of_files = files.iter().map(|file| of_file(file, now));
        worst(of_files.chain(rows.iter().map(|row| of_row(row, now))))
    }
}

/// One of each subject, the first that fails: two certificates may have the same names.
fn worst(notices: impl Iterator<Item = Notice>) -> Vec<Notice> {
    let mut worst: BTreeMap<String, Notice> = BTreeMap::new();
    for notice in notices {
        let known = worst.get(&notice.subject);
        if known.is_none_or(|known| known.state == State::Recovered) {
            worst.insert(notice.subject.clone(), notice);
        }
    }
    worst.into_values().collect()
}

fn ends_soon(not_after: Timestamp, now: Timestamp) -> bool {
    not_after.duration_since(now) < SignedDuration::from_hours(24 * DAYS)
}

fn of_file(file: &FileState, now: Timestamp) -> Notice {
    let certificate = file.certificate.as_deref();
    let names = certificate.map(|certificate| certificate.names.join(", "));
    let subject = names.unwrap_or_else(|| "a file of the settings".to_owned());
    let not_after = certificate.map(|certificate| certificate.not_after);
    judge(&subject, not_after, file.error.as_deref(), now)
}

fn of_row(row: &Row, now: Timestamp) -> Notice {
    let is_failing = matches!(row.state, OfRow::Failing | OfRow::Expired);
    let error = row.error.as_deref().filter(|_| is_failing);
    judge(&row.names.join(", "), row.not_after, error, now)
}

fn judge(
    subject: &str,
    not_after: Option<Timestamp>,
    error: Option<&str>,
    now: Timestamp,
) -> Notice {
    let ends = not_after.filter(|not_after| ends_soon(*not_after, now));
    let text = match (ends, error) {
        (Some(ends), Some(error)) => format!(
            "the certificate for {subject} ends at {ends:.0}, and there is no new one: {error}"
        ),
        (Some(ends), None) => format!("the certificate for {subject} ends at {ends:.0}"),
        (None, Some(error)) => format!("there is no new certificate for {subject}: {error}"),
        (None, None) => format!("the certificate for {subject} is well again"),
    };
    let state = match ends.is_some() || error.is_some() {
        true => State::Failing,
        false => State::Recovered,
    };
    Notice::of_server("certificate", subject, state, text, now)
}

/// Blocks; `None` when there is nothing to tell.
pub(super) fn disk(directory: &Path, now: Timestamp) -> Option<Notice> {
    let found = rustix::fs::statvfs(directory).ok()?;
    let percent = |free: u64, all: u64| (free * 100).checked_div(all).unwrap_or(100);
    let bytes = percent(found.f_bavail, found.f_blocks);
    let files = percent(found.f_favail, found.f_files);
    of_disk(directory, bytes.min(files), bytes <= files, now)
}

fn of_disk(directory: &Path, free: u64, is_of_bytes: bool, now: Timestamp) -> Option<Notice> {
    let what = if is_of_bytes { "space" } else { "inodes" };
    let place = directory.display();
    let (state, text) = match free {
        ..LITTLE => (
            State::Failing,
            format!("the disk of {place} has {free} % of its {what} left"),
        ),
        ENOUGH.. => (
            State::Recovered,
            format!("the disk of {place} has {free} % of its {what} left again"),
        ),
        _ => return None,
    };
    Some(Notice::of_server("disk", "disk", state, text, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_ends_soon_or_cannot_be_renewed_is_told() {
        let now = Timestamp::UNIX_EPOCH;
        let later = |days: i64| Some(now + SignedDuration::from_hours(24 * days));
        let state = |not_after, error| judge("a.example", not_after, error, now).state;
        assert_eq!(state(later(60), None), State::Recovered);
        assert_eq!(state(later(6), None), State::Failing);
        assert_eq!(state(later(-1), None), State::Failing);
        assert_eq!(state(None, Some("no")), State::Failing);
        assert_eq!(state(None, None), State::Recovered);
    }

    #[test]
    fn of_two_certificates_with_the_same_names_the_one_that_fails_is_told() {
        let of = |subject, error| judge(subject, None, error, Timestamp::UNIX_EPOCH);
        let told = |notices: Vec<Notice>| {
            let told = worst(notices.into_iter()).into_iter();
            told.map(|one| (one.subject, one.state)).collect::<Vec<_>>()
        };
        let expected = [
            ("a".to_owned(), State::Failing),
            ("b".to_owned(), State::Recovered),
        ];
        let (well, ill, other) = (of("a", None), of("a", Some("no")), of("b", None));
        assert_eq!(
            told(vec![well.clone(), ill.clone(), other.clone()]),
            expected
        );
        assert_eq!(told(vec![ill, other, well]), expected);
    }

    #[test]
    fn a_disk_between_full_and_well_is_not_told() {
        let state =
            |free| of_disk(Path::new("/d"), free, true, Timestamp::UNIX_EPOCH).map(|n| n.state);
        assert_eq!(state(4), Some(State::Failing));
        assert_eq!((state(5), state(7)), (None, None));
        assert_eq!(state(8), Some(State::Recovered));
        assert!(disk(Path::new("/"), Timestamp::UNIX_EPOCH).is_none_or(|n| n.event == "disk"));
    }
}
