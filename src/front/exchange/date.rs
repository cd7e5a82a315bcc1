//! [`HttpDate`]: the present time in the form of Date (RFC 9110 §5.6.7), formatted once a second.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
type Text = [u8; 29];

/// The last second that was formatted, and its text.
#[derive(Debug, Default)]
pub struct HttpDate(Cell<(u64, Text)>);

impl HttpDate {
    #[must_use]
    pub fn now(&self) -> Text {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        self.at(since.map_or(0, |since| since.as_secs()))
    }

    /// Formats the time `second` seconds after 1970.
    fn at(&self, second: u64) -> Text {
        let (written, text) = self.0.get();
        if written == second && text != Text::default() {
            return text;
        }
        let time = i64::try_from(second).map(jiff::Timestamp::from_second);
        let time = time.ok().and_then(Result::ok).unwrap_or_default();
        let written = time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        // The length fits until the year 9999.
        let text = Text::try_from(written.as_bytes()).unwrap_or_default();
        self.0.set((second, text));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_text() {
        let date = HttpDate::default();
        for (second, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778, "Sun, 06 Nov 1994 08:49:38 GMT"),
        ] {
            assert_eq!(date.at(second), *text.as_bytes());
        }
        assert_ne!(date.now(), date.at(0));
    }
}
