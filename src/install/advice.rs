//! Hints for a command that failed, from the last lines that it printed: frequent mistakes, each with its cure.
//!
//! [`of_output`] is pure; [`of_checkout`] also looks into the checkout. Strangers write the output, so hints repeat
//! only port numbers and names of programs and modules.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::package_advice;

/// Directories where package managers put the programs of an application.
const PROGRAM_DIRECTORIES: [&str; 5] = [
    ".venv/bin",
    "venv/bin",
    "node_modules/.bin",
    "vendor/bin",
    "bin",
];

/// How much of a script is read; bytes.
const FIRST_LINE: u64 = 256;

/// What dash, Debian's `/bin/sh`, prints where a command has the syntax of bash.
const BASH: [&str; 10] = [
    " [[: not found",
    " source: not found",
    " declare: not found",
    " shopt: not found",
    " pushd: not found",
    " popd: not found",
    "Bad substitution",
    "Illegal option -o pipefail",
    "Syntax error: redirection unexpected",
    "Syntax error: \"(\" unexpected",
];

const READ_ONLY: [&str; 3] = ["read-only file system", "erofs", "readonlyfilesystem"];
const IN_USE: [&str; 4] = [
    "address already in use",
    "eaddrinuse",
    "address in use",
    "port is already allocated",
];

const BASH_HINT: &str = "this is bash's syntax, and commands are run by /bin/sh: set shell: \"/bin/bash\", or put it into a \
                         script that begins with #!/bin/bash";
const READ_ONLY_HINT: &str = "the code is read-only once it is installed: write what is to be kept to $STORAGE_DIR, what is \
                              not to $TMPDIR, or name the directory in `shared`; what belongs to the code is made by `install`";

/// `None`: the lines show no known mistake.
#[must_use]
pub fn of_output(lines: &[String]) -> Option<String> {
    let has = |signs: &[&str]| {
        lines.iter().any(|line| {
            signs
                .iter()
                .any(|sign| line.to_ascii_lowercase().contains(sign))
        })
    };
    if has(&READ_ONLY) {
        return Some(READ_ONLY_HINT.to_owned());
    }
    if lines
        .iter()
        .any(|line| BASH.iter().any(|sign| line.contains(sign)))
    {
        return Some(BASH_HINT.to_owned());
    }
    None
}

/// Whether the lines say that an address is taken, and the port where they name it.
#[must_use]
pub fn taken_port(lines: &[String]) -> Option<Option<u16>> {
    let told = lines.iter().filter(|line| {
        let line = line.to_ascii_lowercase();
        IN_USE.iter().any(|sign| line.contains(sign))
    });
    let ports: Vec<_> = told.map(|line| port_in(line)).collect();
    (!ports.is_empty()).then(|| ports.into_iter().flatten().next())
}

/// The port that a line names, after its last colon with digits or after the word `port`.
fn port_in(line: &str) -> Option<u16> {
    let digits = |text: &str| {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        text[..end].parse::<u16>().ok().filter(|port| *port > 0)
    };
    let behind_colons = line
        .match_indices(':')
        .filter_map(|(at, _)| digits(&line[at + 1..]));
    let lower = line.to_ascii_lowercase();
    let behind_word = lower
        .match_indices("port ")
        .filter_map(|(at, word)| digits(&lower[at + word.len()..]));
    // Times of day have colons too: the last one is the address.
    behind_word.chain(behind_colons).last()
}

/// As [`of_output`]. Also looks into the checkout for a program, a module or a list of modules that was not found.
/// Blocks.
#[must_use]
pub fn of_checkout(lines: &[String], command: &str, directory: &Path) -> Option<String> {
    if let Some(script) =
        scripts(lines, command).find(|script| has_carriage_return(directory, script))
    {
        return Some(format!(
            "the first line of {script} ends with a carriage return, so its program is not found: save it with Unix line \
             ends (sed -i 's/\\r$//' {script}; .gitattributes: * text=auto eol=lf)"
        ));
    }
    let missing = lines.iter().rev().find_map(|line| not_found(line));
    let found = missing.and_then(|program| {
        let places = PROGRAM_DIRECTORIES
            .iter()
            .map(|place| format!("{place}/{program}"));
        places
            .into_iter()
            .find(|path| directory.join(path).is_file())
    });
    if let Some(path) = found {
        return Some(format!(
            "the program is in the checkout: write {path} in its place"
        ));
    }
    of_output(lines).or_else(|| package_advice::of_checkout(lines, directory))
}

/// The program that a shell did not find, from its line.
fn not_found(line: &str) -> Option<&str> {
    let program = line
        .trim_end()
        .strip_suffix(": not found")
        .or_else(|| line.trim_end().strip_suffix(": command not found"))?;
    let program = program.rsplit(": ").next()?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    (!program.is_empty() && program.chars().all(is_name)).then_some(program)
}

/// Paths that may be scripts of the checkout: words of the command, and what the shell did not find.
fn scripts<'a>(lines: &'a [String], command: &'a str) -> impl Iterator<Item = &'a str> {
    let named = lines.iter().filter_map(|line| {
        let line = line.trim_end().strip_suffix(": not found")?;
        line.rsplit(": ").next()
    });
    let words = command.split_whitespace().take(16);
    named.chain(words).filter(|word| {
        let parts = Path::new(word).components();
        word.len() < 200
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_./+".contains(&b))
            && parts
                .into_iter()
                .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
    })
}

/// Whether the `#!` line of a file of the checkout ends with CR LF.
fn has_carriage_return(directory: &Path, script: &str) -> bool {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let Ok(file) = openat(CWD, directory.join(script), flags, Mode::empty()) else {
        return false;
    };
    let file = File::from(file);
    let mut start = Vec::new();
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    is_file
        && file.take(FIRST_LINE).read_to_end(&mut start).is_ok()
        && start.starts_with(b"#!")
        && start
            .split(|b| *b == b'\n')
            .next()
            .is_some_and(|line| line.ends_with(b"\r"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn known_mistakes_have_their_cure() {
        for (line, cure) in [
            (
                "OSError: [Errno 30] Read-only file system: 'db.sqlite3'",
                "$STORAGE_DIR",
            ),
            (
                "Error: EROFS: read-only file system, mkdir '/x'",
                "$STORAGE_DIR",
            ),
            ("sh: 1: [[: not found", "#!/bin/bash"),
            ("/bin/sh: 1: source: not found", "#!/bin/bash"),
            ("sh: 1: set: Illegal option -o pipefail", "#!/bin/bash"),
            ("sh: 1: Bad substitution", "shell: \"/bin/bash\""),
            ("sh: 1: Syntax error: \"(\" unexpected", "#!/bin/bash"),
        ] {
            assert!(
                of_output(&lines(line)).is_some_and(|hint| hint.contains(cure)),
                "{line}"
            );
        }
        assert_eq!(
            of_output(&lines("KeyError: 'x'\nresource: not found")),
            None
        );
    }

    #[test]
    fn a_port_that_is_taken_is_found_in_what_servers_print() {
        for (line, port) in [
            ("OSError: [Errno 98] Address already in use", None),
            (
                "Error: listen EADDRINUSE: address already in use :::3000",
                Some(3000),
            ),
            (
                "[ERROR] 10:11:12 Connection in use: ('127.0.0.1', 1): Address already in use 0.0.0.0:8000",
                Some(8000),
            ),
            (
                "Address already in use - bind(2) for \"127.0.0.1\" port 9292 (Errno::EADDRINUSE)",
                Some(9292),
            ),
            ("listen tcp :8080: bind: address already in use", Some(8080)),
        ] {
            assert_eq!(taken_port(&lines(line)), Some(port), "{line}");
        }
        assert_eq!(taken_port(&lines("listening on :3000")), None);
    }

    #[test]
    fn a_program_of_the_checkout_is_found_where_package_managers_put_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join(".venv/bin")).unwrap();
        std::fs::write(directory.path().join(".venv/bin/gunicorn"), "").unwrap();
        let told = |text: &str| of_checkout(&lines(text), "gunicorn app", directory.path());
        assert!(
            told("sh: 1: gunicorn: not found")
                .is_some_and(|hint| hint.contains(".venv/bin/gunicorn"))
        );
        assert!(told("bash: line 1: gunicorn: command not found").is_some());
        assert_eq!(told("sh: 1: puma: not found"), None);
        assert_eq!(told("sh: 1: ../../etc/passwd: not found"), None);
    }

    #[test]
    fn a_carriage_return_behind_the_interpreter_is_named() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("bin")).unwrap();
        std::fs::write(
            directory.path().join("bin/run"),
            "#!/usr/bin/env python3\r\nx\r\n",
        )
        .unwrap();
        std::fs::write(directory.path().join("good"), "#!/bin/sh\nx\r\n").unwrap();
        let told = |command: &str, text: &str| of_checkout(&lines(text), command, directory.path());
        let env = "/usr/bin/env: 'python3\\r': No such file or directory";
        assert!(
            told("bin/run --all", env).is_some_and(|hint| hint.contains("line of bin/run ends"))
        );
        assert!(told("true", "sh: 1: ./bin/run: not found").is_some());
        assert_eq!(told("./good", "sh: 1: ./good: not found"), None);
        assert_eq!(told("../bin/run", "x"), None);
    }
}
