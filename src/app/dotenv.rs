//! `.env`, exactly as foreman 0.87 reads it (pure).

use std::collections::BTreeMap;

/// A parsed `.env`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Dotenv {
    /// The variables; the last assignment of a name wins.
    pub variables: BTreeMap<String, String>,
    /// What foreman would ignore without a word, each with its line.
    pub warnings: Vec<String>,
}

/// Why a `.env` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DotenvError {
    /// Bytes that are not UTF-8.
    #[error(".env line {line} is not UTF-8: save the file as UTF-8")]
    NotUtf8 {
        /// From 1.
        line: usize,
    },
}

impl Dotenv {
    /// Reads a `.env`.
    ///
    /// # Errors
    /// [`DotenvError::NotUtf8`] only.
    pub fn parse(bytes: &[u8]) -> Result<Self, DotenvError> {
        let _ = bytes;
        todo!()
    }
}
