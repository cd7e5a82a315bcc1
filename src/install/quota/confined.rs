//! The hidden verb `procserver assign-project DIRECTORY ID [+P]`: becomes `chattr -R -p ID [+P] DIRECTORY`, as root, after
//! landlock has closed all other directories to it.
//!
//! chattr goes by paths and opens what it finds there, and the application may put a link in the place of a directory
//! meanwhile. That leads it nowhere: outside of DIRECTORY it can open no directory at all, and of files only programs and
//! libraries, which then count for the application that had the idea. As root, since the tree belongs to three users
//! (root, the application's and git's as it), and since no process of the application can trace it then.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, path_beneath_rules,
};

/// The verb, as the first argument of the binary.
pub const VERB: &str = "assign-project";

/// How what is said begins where chattr was not started.
pub(super) const REFUSED: &str = "it was not started: ";

/// Where the programs of quotas are.
pub(super) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Where programs and their libraries are.
const SYSTEM: [&str; 6] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
];

/// Runs the verb. Call it before there is any other thread. It becomes chattr, or says why not and exits with code 1.
pub fn run(arguments: impl Iterator<Item = std::ffi::OsString>) -> ! {
    let why = match &arguments.collect::<Vec<_>>()[..] {
        [directory, what @ ..] if !what.is_empty() => match confine(Path::new(directory)) {
            Ok(()) => {
                let mut chattr = Command::new("chattr");
                // -f: FIFOs and sockets take no space, and have no project.
                chattr.args(["-R", "-f", "-p"]).args(what);
                chattr.arg(directory).env_clear().env("PATH", PATH);
                chattr.exec().to_string()
            }
            Err(error) => format!("landlock: {error}"),
        },
        _ => "this is for the server's own use".to_owned(),
    };
    // Nobody is left to tell when the server is gone.
    let _ = writeln!(io::stderr(), "{REFUSED}{why}");
    std::process::exit(1);
}

fn confine(directory: &Path) -> Result<(), RulesetError> {
    let system = SYSTEM
        .iter()
        .map(PathBuf::from)
        .filter(|path| path.exists());
    Ruleset::default()
        // All of it, or nothing is started.
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .create()?
        .add_rules(path_beneath_rules(
            [directory],
            AccessFs::ReadFile | AccessFs::ReadDir,
        ))?
        .add_rules(path_beneath_rules(
            system,
            AccessFs::ReadFile | AccessFs::Execute,
        ))?
        .restrict_self()?;
    Ok(())
}
