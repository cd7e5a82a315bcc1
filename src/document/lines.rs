//! The lines of a Procfile and of a `.env`, as foreman 0.87 splits them, and the warnings about them (pure).

/// What some editors write before UTF-8 text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What foreman would ignore without a word, each with the file and the line.
pub(super) struct Warnings {
    file: &'static str,
    pub(super) texts: Vec<String>,
}

impl Warnings {
    pub(super) fn of(file: &'static str) -> Self {
        Self {
            file,
            texts: vec![],
        }
    }

    /// `line` counts from 1.
    pub(super) fn add(&mut self, line: usize, reason: &str) {
        self.texts
            .push(format!("{} line {line}: {reason}", self.file));
    }
}

/// The lines that are neither blank nor a comment, with their numbers from 1.
///
/// # Errors
/// The number of the first line that is not UTF-8.
pub(super) fn lines<'a>(
    bytes: &'a [u8],
    warnings: &mut Warnings,
) -> Result<impl Iterator<Item = (usize, &'a str)> + use<'a>, usize> {
    let text = std::str::from_utf8(bytes).map_err(|error| line_of(bytes, error.valid_up_to()))?;
    let text = match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => {
            let reason = "a byte-order mark was skipped: save the file without one";
            warnings.add(1, reason);
            rest
        }
        None => text,
    };
    Ok(numbered(text).filter(|(_, line)| {
        let content = line.trim_start_matches(is_blank);
        !content.is_empty() && !content.starts_with('#')
    }))
}

/// Splits at LF. A CR belongs to the line end only before a LF; VT, FF and the Unicode separators end no line.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let last = text.matches('\n').count();
    text.split('\n').enumerate().map(move |(index, line)| {
        let without_cr = line.strip_suffix('\r').filter(|_| index < last);
        (index + 1, without_cr.unwrap_or(line))
    })
}

/// The number of the line that holds the byte at `offset`, from 1.
fn line_of(bytes: &[u8], offset: usize) -> usize {
    1 + bytes[..offset]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

/// What Ruby's `\s` matches: ASCII only, with VT and FF.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '\x0b' | '\x0c')
}
