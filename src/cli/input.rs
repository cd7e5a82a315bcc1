//! Secrets from standard input or a file: every user of the machine can read a command line. Warns of secrets that are
//! on the command line all the same.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::usage::Usage;
use crate::document::secrets;

/// What stands for standard input.
pub const STDIN: &str = "-";

/// The most that is read, bytes.
const LARGEST: u64 = 1 << 20;

/// Reads the text of `file`; `-` is standard input.
///
/// # Errors
/// It cannot be read, is too long, or no text.
pub fn text(file: &str) -> anyhow::Result<String> {
    let name = if file == STDIN {
        "standard input"
    } else {
        file
    };
    let mut text = String::new();
    let read = if file == STDIN {
        io::stdin()
            .lock()
            .take(LARGEST + 1)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
    };
    read.map_err(|error| anyhow::anyhow!("cannot read {name}: {error}"))?;
    anyhow::ensure!(text.len() as u64 <= LARGEST, "{name} is larger than 1 MiB");
    Ok(text)
}

/// Reads one value, `what`, from `file`, without the newline at its end. Where a person types it, it is not shown.
///
/// # Errors
/// It cannot be read, or there is nothing.
pub fn value(what: &str, file: &str) -> anyhow::Result<String> {
    let text = if file == STDIN && io::stdin().is_terminal() {
        typed(what)?
    } else {
        text(file)?
    };
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err(Usage(format!("{file} has no value for {what}")).into());
    }
    Ok(value.to_owned())
}

/// Reads one line from the terminal, which does not show it.
fn typed(what: &str) -> anyhow::Result<String> {
    write!(io::stderr(), "{what} (not shown): ")?;
    let stdin = io::stdin();
    let shown = tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    let mut line = String::new();
    let read = stdin.lock().take(LARGEST).read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Flush, &shown)?;
    writeln!(io::stderr())?;
    read?;
    Ok(line)
}

/// Replaces the value `-` of one of `pairs` by what standard input says.
///
/// # Errors
/// As [`value`]; and two of them, since standard input can be read once.
pub fn fill(pairs: &mut [(String, String)]) -> anyhow::Result<()> {
    let mut asked = pairs.iter_mut().filter(|(_, value)| value == STDIN);
    let Some((name, wanted)) = asked.next() else {
        return Ok(());
    };
    if let Some((second, _)) = asked.next() {
        let text =
            format!("only one value can come from standard input, not both {name} and {second}");
        return Err(Usage(text).into());
    }
    *wanted = value(name, STDIN)?;
    Ok(())
}

/// A note on stderr: a secret stands where others can read it.
pub fn warn(note: &str) {
    // Nothing is left to tell when stderr is closed.
    let _ = writeln!(io::stderr(), "note: {note}");
}

/// The note for a repository URL on the command line that has a password or a token in it.
#[must_use]
pub fn note_on_url(url: &str, safer: &str) -> Option<String> {
    let has_secret = url.starts_with("http") && secrets::password_in_url(url).is_some();
    has_secret.then(|| {
        format!(
            "every user of this machine can read the token in that URL while the command runs, and the shell keeps it \
             in its history. Safer: {safer}"
        )
    })
}

/// The note for variables on the command line whose values are secret.
#[must_use]
pub fn note_on_variables(variables: &[(String, String)], safer: &str) -> Option<String> {
    let is_told =
        |(name, value): &&(String, String)| value != STDIN && secrets::is_secret(name, value);
    let names: Vec<_> = variables
        .iter()
        .filter(is_told)
        .map(|(name, _)| name.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "every user of this machine can read the value of {} while the command runs, and the shell keeps it in its \
             history. Safer: {safer}",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_a_file_is_its_text_without_the_last_newline() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        for (text, wanted) in [("a\n", "a"), ("a\r\n", "a"), ("a\nb\n", "a\nb"), ("a", "a")] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(value("X", file.to_str().unwrap()).unwrap(), wanted);
        }
        std::fs::write(&file, "\n").unwrap();
        assert!(
            value("X", file.to_str().unwrap())
                .unwrap_err()
                .is::<Usage>()
        );
        assert!(
            value("X", "/nowhere")
                .unwrap_err()
                .to_string()
                .contains("/nowhere")
        );
    }

    #[test]
    fn standard_input_is_one_value() {
        let mut pairs = ["A", "B"].map(|name| (name.to_owned(), STDIN.to_owned()));
        let error = fill(&mut pairs).unwrap_err();
        assert!(
            error.is::<Usage>() && error.to_string().contains("A and B"),
            "{error}"
        );
    }

    #[test]
    fn secrets_on_the_command_line_are_noted_and_nothing_else_is() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let note = note_on_variables(
            &[
                pair("RAILS_ENV", "production"),
                pair("API_TOKEN", "abcdefg"),
            ],
            "x",
        );
        assert!(note.is_some_and(|note| note.contains("API_TOKEN") && !note.contains("abcdefg")));
        assert_eq!(note_on_variables(&[pair("API_TOKEN", STDIN)], "x"), None);
        assert!(note_on_url("https://tok@h/x.git", "x").is_some());
        assert_eq!(note_on_url("https://h/x.git", "x"), None);
        assert_eq!(note_on_url("git@h:x.git", "x"), None);
    }
}
