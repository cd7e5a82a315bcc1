//! [`Parent`]: what `traceparent` says, and [`Ids`] of a span of our own (pure). <https://www.w3.org/TR/trace-context/>

use std::fmt::Write as _;

/// The field of a request that has it.
pub const FIELD: &str = "traceparent";

/// What a client says of its own span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub trace: [u8; 16],
    pub span: [u8; 8],
    /// Whether the client records its span.
    pub is_sampled: bool,
}

/// Names a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    pub trace: [u8; 16],
    pub span: [u8; 8],
}

impl Parent {
    /// Reads the value of the field; `None` where it is not as the specification has it: then it counts as absent.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let [version, trace, span, flags] =
            [(0, 2), (3, 35), (36, 52), (53, 55)].map(|(begin, end)| text.get(begin..end));
        let is_dash = |at: usize| text.get(at) == Some(&b'-');
        let [version] = hex::<1>(version?)?;
        let has_more = match version {
            0 => text.len() == 55,
            // What a later version adds comes behind another dash.
            1..0xff => text.len() == 55 || is_dash(55),
            0xff => false,
        };
        let parent = Self {
            trace: hex(trace?)?,
            span: hex(span?)?,
            is_sampled: hex::<1>(flags?)?[0] & 1 == 1,
        };
        let is_named = parent.trace != [0; 16] && parent.span != [0; 8];
        (has_more && is_named && [2, 35, 52].into_iter().all(is_dash)).then_some(parent)
    }
}

impl Ids {
    /// The value of the field by which the application's spans become children of this one, which is recorded.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", written(&self.trace), written(&self.span))
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn written(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // It cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Only small letters, as the specification has it.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_specification_is_read_and_what_is_wrong_is_not() {
        let parent = Parent::parse(GOOD.as_bytes()).unwrap();
        assert!(parent.is_sampled);
        let ids = Ids {
            trace: parent.trace,
            span: parent.span,
        };
        assert_eq!(ids.traceparent(), GOOD);
        let not_sampled = GOOD.replace("-01", "-02");
        assert!(!Parent::parse(not_sampled.as_bytes()).unwrap().is_sampled);
        let later = GOOD.replacen("00", "cc", 1) + "-what-comes";
        assert!(Parent::parse(later.as_bytes()).is_some());
        for wrong in [
            String::new(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-x"),
            GOOD.replacen("00", "ff", 1),
            GOOD.replacen("00", "cc", 1) + ".x",
            GOOD.to_uppercase(),
            GOOD.replace('-', "_"),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
        ] {
            assert_eq!(Parent::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_not(text in any::<Vec<u8>>(), at in 0usize..55, byte in any::<u8>()) {
            let _ = Parent::parse(&text);
            let mut changed = GOOD.as_bytes().to_vec();
            changed[at] = byte;
            let _ = Parent::parse(&changed);
        }

        #[test]
        fn what_is_written_is_read(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>()) {
            prop_assume!(trace != [0; 16] && span != [0; 8]);
            let text = Ids { trace, span }.traceparent();
            prop_assert_eq!(Parent::parse(text.as_bytes()), Some(Parent { trace, span, is_sampled: true }));
        }
    }
}
