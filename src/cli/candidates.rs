//! `procserver candidates`, hidden: what scripts of shells offer where names of this server are typed. The words so far
//! are on standard input, a line each, since command lines can be read by all users; the last one is being typed. Prints
//! a candidate a line, and nothing where there is no server or another word is due.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as _, CommandFactory, FromArgMatches as _};
use serde_json::Value;

use super::Cli;
use super::client::{Client, ClientArgs};

mod place;

use place::Place;

/// Whoever presses Tab waits no longer.
const PATIENCE: Duration = Duration::from_millis(1500);

/// More than any command line has, in bytes.
const LONGEST: u64 = 1 << 20;

/// The most that is offered.
const MOST: usize = 1000;

/// Prints candidates. Whatever fails ends it without a word, on a line on which somebody types.
///
/// # Errors
/// Standard input cannot be read, or standard output written.
pub fn run() -> anyhow::Result<ExitCode> {
    let mut typed = String::new();
    std::io::stdin().take(LONGEST).read_to_string(&mut typed)?;
    let words = place::joined(typed.lines());
    let command = Cli::command();
    let Some(place) = Place::of(&command, &words) else {
        return Ok(ExitCode::SUCCESS);
    };
    let answer = actix_rt::System::new().block_on(async {
        let asked = actix_rt::time::timeout(PATIENCE, ask(&place, &words));
        asked.await.ok().flatten().unwrap_or_default()
    });
    let mut found = place.candidates(&answer);
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST);
    let mut text = found.join("\n");
    text.push('\n');
    std::io::stdout().write_all(text.trim_start().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The document that has the candidates.
async fn ask(place: &Place, words: &[String]) -> Option<Value> {
    let client = Client::new(&connection(words)?.with_token_of_file().ok()?).ok()?;
    client.get(&place.path()?).await.ok()
}

/// How to reach the server, by what was typed and the environment.
fn connection(words: &[String]) -> Option<ClientArgs> {
    let command = ClientArgs::augment_args(clap::Command::new("procserver"));
    let options: Vec<_> = command
        .get_arguments()
        .filter(|option| option.get_action().takes_values())
        .filter_map(|option| Some(format!("--{}", option.get_long()?)))
        .collect();
    let mut typed = vec!["procserver".to_owned()];
    let mut words = words.iter().rev().skip(1).rev();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_str(), None),
        };
        if options.iter().any(|option| option == name) {
            let value = value.map(str::to_owned).or_else(|| words.next().cloned())?;
            typed.push(format!("{name}={value}"));
        }
    }
    let matches = command.try_get_matches_from(typed).ok()?;
    ClientArgs::from_arg_matches(&matches).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_the_one_that_was_typed() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let args =
            connection(&words("logs --server http://a:1 --token-file=/x blog -f b")).unwrap();
        assert_eq!(args.server.as_deref(), Some("http://a:1"));
        assert_eq!(args.token_file.as_deref(), Some("/x"));
        // The last word is not whole.
        let args = connection(&words("logs --ca=/a --ca=/b")).unwrap();
        assert_eq!(args.ca, Some("/a".into()));
    }
}
