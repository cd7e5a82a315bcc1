//! Debian's packages with the programs that a release needs and no document names: this machine has them, so nobody missed
//! them until the release runs elsewhere.

use std::collections::BTreeSet;
use std::path::Path;

/// A package, words of a command that need it, and what lies in a release that needs it.
const LANGUAGES: [(&str, &[&str], &[&str]); 6] = [
    (
        "python3",
        &["python", "python3"],
        &[".venv/bin/python", "venv/bin/python"],
    ),
    (
        "nodejs",
        &["node", "npm", "npx", "yarn", "pnpm"],
        &["node_modules"],
    ),
    ("npm", &["npm", "npx"], &[]),
    (
        "ruby",
        &["ruby", "bundle", "rails", "rake"],
        &["vendor/bundle"],
    ),
    ("ruby-bundler", &["bundle"], &["vendor/bundle"]),
    ("php-cli", &["php"], &["vendor/autoload.php"]),
];

/// The packages of a release at `directory` whose processes are started by `commands`. Blocks.
#[must_use]
pub fn packages<'a>(
    directory: &Path,
    commands: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<&'static str> {
    let words: BTreeSet<&str> = commands.into_iter().flat_map(words).collect();
    let needed = LANGUAGES.iter().filter(|(_, programs, files)| {
        let is_there = |file: &&str| directory.join(file).symlink_metadata().is_ok();
        programs.iter().any(|program| words.contains(program)) || files.iter().any(is_there)
    });
    needed.map(|(package, ..)| *package).collect()
}

/// The words of a shell command, without what stands around them. A name by its path is of the release, or of Debian.
fn words(command: &str) -> impl Iterator<Item = &str> {
    let between = |c: char| c.is_whitespace() || ";&|()'\"`=".contains(c);
    command.split(between).map(of_debian)
}

fn of_debian(word: &str) -> &str {
    let behind = word.strip_prefix("/usr/bin/");
    behind
        .or_else(|| word.strip_prefix("/bin/"))
        .unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_a_command_names_has_its_package() {
        let home = tempfile::tempdir().unwrap();
        let of =
            |command: &str| -> Vec<&str> { packages(home.path(), [command]).into_iter().collect() };
        assert_eq!(of("python3 app.py"), ["python3"]);
        assert_eq!(of("A=1 exec /usr/bin/node server.js"), ["nodejs"]);
        assert_eq!(of("npm start"), ["nodejs", "npm"]);
        assert_eq!(of("cd web && (php -S 0.0.0.0:$PORT)"), ["php-cli"]);
        assert_eq!(of("bundle exec rails s"), ["ruby", "ruby-bundler"]);
        assert_eq!(of("./python3 app.py"), [""; 0]);
        assert_eq!(of("bin/nodes"), [""; 0]);
    }

    #[test]
    fn what_a_release_was_built_with_is_there_when_it_runs() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join(".venv/bin")).unwrap();
        // What it leads to may be elsewhere.
        std::os::unix::fs::symlink("/none", home.path().join(".venv/bin/python")).unwrap();
        let of: Vec<&str> = packages(home.path(), ["gunicorn app"])
            .into_iter()
            .collect();
        assert_eq!(of, ["python3"]);
    }
}
