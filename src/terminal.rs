//! [`Shown`]: text of an application as a terminal may show it (pure).
//!
//! What a program prints can move the cursor, change the window's title, or make the terminal type something. Here such
//! bytes are shown as escapes (`\x1b`), but for colours: SGR, `ESC [ 1 ; 31 m` (ECMA-48, 8.3.117).

use std::fmt::Write;

/// A colour is shorter.
const LONGEST: usize = 32;

/// Goes through text piece by piece; a piece may end anywhere.
#[derive(Debug, Default)]
pub struct Shown {
    /// The end of the last piece, which may become a character or a colour.
    rest: Vec<u8>,
    /// The line has set a colour.
    coloured: bool,
    /// Colours of the text are left out.
    plain: bool,
}

/// What the first bytes are.
enum Token {
    /// So many are fine as they are.
    Plain(usize),
    /// So many are a colour.
    Colour(usize),
    /// So many must be shown as escapes.
    Control(usize),
    /// More bytes are needed to tell.
    Unfinished,
}

impl Shown {
    /// With the colours that the text has, or without.
    #[must_use]
    pub fn new(colours: bool) -> Self {
        Self {
            plain: !colours,
            ..Self::default()
        }
    }

    /// The next piece, as it may be shown.
    #[must_use]
    pub fn piece(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(piece);
        let mut shown = Vec::with_capacity(bytes.len());
        let mut left = &bytes[..];
        while !left.is_empty() {
            let length = match token(left) {
                Token::Plain(length) => {
                    self.plain(&left[..length], &mut shown);
                    length
                }
                Token::Colour(length) if self.plain => length,
                Token::Colour(length) => {
                    self.coloured = true;
                    shown.extend_from_slice(&left[..length]);
                    length
                }
                Token::Control(length) => {
                    escape(&left[..length], &mut shown);
                    length
                }
                Token::Unfinished => {
                    self.rest = left.to_vec();
                    break;
                }
            };
            left = &left[length..];
        }
        shown
    }

    /// What is left at the end of all pieces.
    #[must_use]
    pub fn end(&mut self) -> Vec<u8> {
        let mut shown = Vec::new();
        escape(&std::mem::take(&mut self.rest), &mut shown);
        self.reset(&mut shown);
        shown
    }

    /// A colour ends with its line: the next one may be another program's.
    fn plain(&mut self, text: &[u8], shown: &mut Vec<u8>) {
        if text == b"\n" {
            self.reset(shown);
        }
        shown.extend_from_slice(text);
    }

    fn reset(&mut self, shown: &mut Vec<u8>) {
        if std::mem::take(&mut self.coloured) {
            shown.extend_from_slice(b"\x1b[0m");
        }
    }
}

fn token(bytes: &[u8]) -> Token {
    match bytes[0] {
        b'\n' | b'\t' => Token::Plain(1),
        0x1b => colour(bytes),
        0..0x20 | 0x7f => Token::Control(1),
        0x20..0x7f => Token::Plain(1),
        _ => character(bytes),
    }
}

/// A character of several bytes. U+0080 to U+009F are controls, too.
fn character(bytes: &[u8]) -> Token {
    let start = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(error) if error.error_len().is_none() => return Token::Unfinished,
        Err(_) => return Token::Control(1),
    };
    match valid.chars().next() {
        Some(first) if is_control(first) => Token::Control(first.len_utf8()),
        Some(first) => Token::Plain(first.len_utf8()),
        None => Token::Control(1),
    }
}

/// Whether it steers a terminal, also by turning the direction of the text around it (Unicode, UAX #9).
#[must_use]
pub fn is_control(character: char) -> bool {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || character.is_control()
}

fn colour(bytes: &[u8]) -> Token {
    match bytes.get(1) {
        None => return Token::Unfinished,
        Some(b'[') => {}
        Some(_) => return Token::Control(1),
    }
    let parameters = bytes[2..]
        .iter()
        .take_while(|b| matches!(b, b'0'..=b'9' | b';' | b':'));
    let length = 2 + parameters.count();
    match bytes.get(length) {
        _ if length > LONGEST => Token::Control(1),
        Some(b'm') => Token::Colour(length + 1),
        Some(_) => Token::Control(1),
        None => Token::Unfinished,
    }
}

fn escape(bytes: &[u8], shown: &mut Vec<u8>) {
    let mut text = String::new();
    for byte in bytes {
        // It never fails for a String.
        let _ = match byte {
            b'\r' => write!(text, "\\r"),
            0x20..0x7f => write!(text, "{}", char::from(*byte)),
            byte => write!(text, "\\x{byte:02x}"),
        };
    }
    shown.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &[u8]) -> String {
        let mut filter = Shown::default();
        let mut whole = filter.piece(text);
        whole.extend(filter.end());
        // It does not matter how the text is cut.
        let mut bytewise = Vec::new();
        for byte in text {
            bytewise.extend(filter.piece(&[*byte]));
        }
        bytewise.extend(filter.end());
        assert_eq!(bytewise, whole);
        String::from_utf8(whole).expect("it is text")
    }

    #[test]
    fn text_passes_and_what_would_move_or_type_something_is_shown() {
        assert_eq!(shown("tab\tand é 漢 😀\n".as_bytes()), "tab\tand é 漢 😀\n");
        assert_eq!(shown(b"\x1b[2J\x1b[1;1H"), "\\x1b[2J\\x1b[1;1H");
        assert_eq!(shown(b"\x1b]0;title\x07"), "\\x1b]0;title\\x07");
        assert_eq!(shown(b"50%\r51%\x08\x7f"), "50%\\r51%\\x08\\x7f");
        assert_eq!(shown("\u{9b}2J".as_bytes()), "\\xc2\\x9b2J");
        assert_eq!(shown(b"\xff\xc3(\xe6\xbc"), "\\xff\\xc3(\\xe6\\xbc");
        assert_eq!(shown(b"\x1b"), "\\x1b");
    }

    #[test]
    fn a_colour_passes_and_ends_with_its_line() {
        assert_eq!(
            shown(b"\x1b[1;31mred\nplain\n"),
            "\x1b[1;31mred\x1b[0m\nplain\n"
        );
        assert_eq!(shown(b"\x1b[38:5:9mred"), "\x1b[38:5:9mred\x1b[0m");
        assert_eq!(shown(b"\x1b[31"), "\\x1b[31");
        let plain = Shown::new(false).piece(b"\x1b[1;31mred\x1b[2J\n");
        assert_eq!(plain, b"red\\x1b[2J\n");
        let endless = [b"\x1b[".as_slice(), &[b'1'; 99], b"m"].concat();
        assert!(shown(&endless).starts_with("\\x1b[111"));
    }

    #[test]
    fn what_turns_the_text_around_it_is_shown_as_an_escape() {
        let turned = "a\u{202e}b\u{2067}";
        assert_eq!(shown(turned.as_bytes()), "a\\xe2\\x80\\xaeb\\xe2\\x81\\xa7");
        assert_eq!(shown("שלום é".as_bytes()), "שלום é");
    }
}
