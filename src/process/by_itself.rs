//! [`by_itself`]: a command as a shell is to run it where it should become the command (pure).
//!
//! A shell that waits for its only command is in the way: dash(1) takes Ctrl-C for its own and forgets the command's exit
//! code.

use std::borrow::Cow;

/// What a shell does itself, and no program does.
const OF_SHELL: [&str; 40] = [
    ".", ":", "!", "{", "alias", "bg", "break", "builtin", "case", "cd", "command", "continue",
    "declare", "eval", "exec", "exit", "export", "fg", "for", "function", "hash", "if", "jobs",
    "let", "local", "read", "readonly", "return", "set", "shift", "source", "time", "times",
    "trap", "type", "ulimit", "umask", "unset", "until", "while",
];

/// The command with `exec` before it, where it is a program and its arguments and nothing else.
pub(super) fn by_itself(command: &str) -> Cow<'_, str> {
    let first = command.split_whitespace().next().unwrap_or_default();
    let is_program = !first.contains(['=', '\'']) && !OF_SHELL.contains(&first) && first != "wait";
    match is_program && is_plain(command) {
        true => format!("exec {command}").into(),
        false => command.into(),
    }
}

/// Whether it is words, or texts in single quotes, of which a shell makes nothing else.
fn is_plain(command: &str) -> bool {
    let (mut is_quoted, mut is_plain) = (false, true);
    for c in command.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            c => is_plain &= c.is_ascii_alphanumeric() || " _-./=:,@%+".contains(c),
        }
    }
    is_plain && !is_quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_and_its_arguments_take_the_place_of_the_shell_and_nothing_else_does() {
        for plain in ["id", "./manage.py shell", "echo 'a; b' c", "bash --norc"] {
            assert_eq!(by_itself(plain), format!("exec {plain}"));
        }
        for text in [
            "a; b", "a | b", "A=1 b", "cd x", "echo $A", "exit 7", "a\nb", "echo 'a", "a && b",
            "'a b' c", "exec a", "a > b", "a *", "~/a", "wait",
        ] {
            assert_eq!(by_itself(text), text);
        }
    }
}
