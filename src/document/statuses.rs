//! [`Statuses`]: which statuses of an answer are healthy (pure).

use std::fmt;

/// Statuses of HTTP, as ranges with both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// Those of any of the `ranges`.
    #[must_use]
    pub fn of(ranges: Vec<(u16, u16)>) -> Self {
        Self(ranges)
    }

    #[must_use]
    pub fn has(&self, status: u16) -> bool {
        self.0
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&status))
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_words = |(from, to): &(u16, u16)| match (from, to) {
            (200, 299) => "2xx".to_owned(),
            (from, to) if from == to => from.to_string(),
            (from, to) => format!("{from} to {to}"),
        };
        let words: Vec<_> = self.0.iter().map(in_words).collect();
        f.write_str(&words.join(" or "))
    }
}

impl Default for Statuses {
    /// Success (RFC 9110 §15.3).
    fn default() -> Self {
        Self(vec![(200, 299)])
    }
}
