//! Which directories of a release have programs that come before PATH.

use std::path::Path;

/// Directories with programs that come before PATH where they are there. Those of Bundler have a version in their path.
const PROGRAMS: [&str; 6] = [
    ".venv/bin",
    "node_modules/.bin",
    "vendor/bundle/ruby/*/bin",
    "vendor/bin",
    "bin",
    "target/release",
];

/// The directories with programs that a release at `directory` has. Blocks.
pub(super) fn of(directory: &Path) -> Vec<String> {
    let found = PROGRAMS
        .iter()
        .flat_map(|name| match name.split_once("/*/") {
            None => vec![(*name).to_owned()],
            Some((before, after)) => {
                let entries = std::fs::read_dir(directory.join(before))
                    .into_iter()
                    .flatten()
                    .flatten();
                let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
                let mut names: Vec<String> = names
                    .map(|name| format!("{before}/{name}/{after}"))
                    .collect();
                names.sort();
                names
            }
        });
    // A colon would divide it.
    found
        .filter(|name| !name.contains(':') && directory.join(name).is_dir())
        .collect()
}
