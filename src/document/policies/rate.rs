//! [`Rate`]: the field `rate` (pure).

use std::time::Duration;

/// How many requests an address may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In each [`Self::per`], at least 1.
    pub requests: u32,
    pub per: Duration,
    /// At once, after a time without any; at least 1.
    pub burst: u32,
}

/// Requests of one rate, and of one burst.
const MOST: u32 = 1_000_000;

impl Rate {
    /// Reads `100/s`, `600/m` or `1000/h`. The burst is what such a time allows.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{}\" is not a rate: write \"100/s\", \"600/m\" or \"1000/h\", from 1 to {MOST}",
                text.chars()
                    .take(40)
                    .flat_map(char::escape_debug)
                    .collect::<String>()
            )
        };
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let per = match unit.trim() {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return Err(wrong()),
        };
        let number = number.trim();
        let is_plain = number.bytes().all(|b| b.is_ascii_digit());
        let requests = number.parse().ok().filter(|_| is_plain);
        let requests = requests.filter(|n| (1..=MOST).contains(n));
        let requests = requests.ok_or_else(wrong)?;
        Ok(Self {
            requests,
            per,
            burst: requests,
        })
    }

    /// The most that `burst` may be.
    pub const MOST: u64 = MOST as u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_unit() {
        let rate = |requests, seconds| Rate {
            requests,
            per: Duration::from_secs(seconds),
            burst: requests,
        };
        assert_eq!(Rate::parse("100/s"), Ok(rate(100, 1)));
        assert_eq!(Rate::parse("600 / m"), Ok(rate(600, 60)));
        assert_eq!(Rate::parse("1/h"), Ok(rate(1, 3600)));
        for wrong in [
            "",
            "100",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "100/d",
            "100/",
            "/s",
            "1000001/s",
        ] {
            let error = Rate::parse(wrong).unwrap_err();
            assert!(error.contains("write \"100/s\""), "{wrong}: {error}");
        }
    }
}
