//! The command line: one file per verb, but for the four in [`actions`]. `serve` runs the daemon, `demo` shows it,
//! `check` reads a directory, `doctor` looks at the machine, `completions` and `man` print what is installed beside the
//! program; all other verbs talk to the API of a server and to nothing else, through [`client::Client`]. Begin with
//! [`run`]; verbs that deploy meet in [`deploy`].

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod actions;
pub mod app_option;
pub mod apps;
pub mod audit;
pub mod backup;
pub mod cancel;
pub mod candidates;
pub mod certs;
pub mod changes;
pub mod check;
pub mod client;
pub mod completions;
pub mod create;
pub mod create_document;
pub mod cron;
pub mod dashboard;
pub mod demo;
pub mod demo_web;
pub mod deploy;
pub mod deploy_directory;
pub mod deploy_failed;
pub mod deployments;
pub mod doctor;
pub mod document;
pub mod domains;
pub mod drains;
pub mod elsewhere;
pub mod env;
pub mod event_stream;
pub mod events;
pub mod hash;
pub mod hook;
mod https;
pub mod input;
pub mod key;
pub mod latest;
pub mod logs;
pub mod maintenance;
pub mod man;
pub mod notify;
pub mod open;
pub mod orphans;
pub mod output;
pub mod pack;
pub mod pause;
pub mod preview;
pub mod problem;
pub mod progress;
pub mod ps;
pub mod releases;
pub mod reload;
pub mod restore;
pub mod rm;
pub mod rollback;
pub mod route;
pub mod run;
pub mod scale;
pub mod serve;
pub mod set;
pub mod show;
pub mod ssh_key;
mod ssh_serve;
pub mod stats;
pub mod status;
pub mod tips;
pub mod token;
pub mod unix_connector;
pub mod update;
pub mod usage;

use client::{Client, ClientArgs};
use output::Output;
use usage::Usage;

/// A server for Procfile applications: fetches them from git, supervises them, proxies HTTP to them
#[derive(Parser, Debug)]
#[command(
    name = "procserver",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "Examples:
  procserver demo                              see it work, on a free port, in seconds
  procserver serve                             run the server
  procserver create blog --repo https://git.example/blog.git
  procserver logs blog -f
  procserver deployment blog                   why the last deploy failed

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 no longer waited for (Ctrl-C). Each verb has its own --help with examples.")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the server
    Serve(Box<serve::ServeArgs>),
    /// Show it all with a small app of its own, then clean up
    Demo(demo::DemoArgs),
    /// Read a directory's Procfile and .env and say what is in them
    #[command(after_help = "Examples:
  procserver check .
  procserver check ~/blog --json")]
    Check(check::CheckArgs),
    /// Look at this machine and say what is missing
    Doctor(doctor::DoctorArgs),
    /// List the applications
    #[command(aliases = ["ls", "list", "apps:list"])]
    Apps(apps::AppsArgs),
    /// Add an application and deploy it
    #[command(aliases = ["add", "new", "apps:create"])]
    Create(Box<create_document::CreateArgs>),
    /// Print an application's document
    #[command(aliases = ["info", "apps:info"])]
    Show(show::ShowArgs),
    /// Replace an application's document and deploy it
    Update(update::UpdateArgs),
    /// Change fields of an application's document, with the least work that takes
    Set(set::SetArgs),
    /// Show or change an application's environment variables
    #[command(aliases = ["config", "config:set", "config:get", "config:show", "env:set"])]
    Env(env::EnvArgs),
    /// Show or change how many processes of a type run
    #[command(aliases = ["ps:scale"])]
    Scale(scale::ScaleArgs),
    /// Show or change the names under which an application is reached
    Domains(domains::DomainsArgs),
    /// Show or change where an application's logs are sent
    Drains(drains::DrainsArgs),
    /// Let nobody in for a while, or everybody again
    Maintenance(maintenance::MaintenanceArgs),
    /// Make the hash of a password, for the field auth
    Hash(hash::HashArgs),
    /// Try whether those who are told of what goes wrong can be reached
    Notify(notify::NotifyArgs),
    /// List the certificates for HTTPS, or renew one
    #[command(aliases = ["certificates"])]
    Certs(certs::CertsArgs),
    /// List, make or revoke tokens for the API
    #[command(aliases = ["tokens"])]
    Token(token::TokenArgs),
    /// List, add or remove ssh keys by which people push
    #[command(aliases = ["ssh-keys"])]
    SshKey(ssh_key::SshKeyArgs),
    /// Show who has changed what
    Audit(audit::AuditArgs),
    /// Stop an application and remove it with its code, logs and storage
    #[command(aliases = ["remove", "delete", "destroy", "apps:destroy", "apps:delete"])]
    Rm(rm::RmArgs),
    /// List, or remove, what is left of applications that have no document any more
    Orphans(orphans::OrphansArgs),
    /// Start a stopped application
    #[command(aliases = ["ps:start"], after_help = "Examples:
  procserver start blog
  procserver start blog --json")]
    Start(actions::ActionArgs),
    /// Stop an application until it is started again
    #[command(aliases = ["ps:stop"], after_help = "Examples:
  procserver stop blog
  procserver stop blog --no-wait
  procserver stop blog -p run.1                one command that \"run\" has started")]
    Stop(actions::StopArgs),
    /// Replace the processes by new ones of the same release
    #[command(aliases = ["ps:restart"], after_help = "Examples:
  procserver restart blog
  procserver restart blog --json")]
    Restart(actions::ActionArgs),
    /// Hold the requests of an application for a while
    #[command(aliases = ["ps:pause"])]
    Pause(pause::PauseArgs),
    /// Let requests through that "pause" holds
    #[command(aliases = ["unpause", "ps:resume"])]
    Resume(pause::ResumeArgs),
    /// Show a branch of an application beside it, as an application of its own
    #[command(aliases = ["previews"])]
    Preview(preview::PreviewArgs),
    /// Deploy a directory, without git
    #[command(aliases = ["upload"])]
    Deploy(deploy_directory::DeployArgs),
    /// Fetch the code anew, install and start it
    #[command(aliases = ["upgrade", "rebuild", "ps:rebuild"], after_help = "Examples:
  procserver redeploy blog
  procserver redeploy blog --no-wait
  procserver redeploy blog --no-cache          install everything anew
  procserver redeploy blog --json")]
    Redeploy(actions::RedeployArgs),
    /// Go back to a kept release
    #[command(aliases = ["releases:rollback"])]
    Rollback(rollback::RollbackArgs),
    /// Show what was counted over the last day: requests, errors, latencies, memory, CPU
    Stats(stats::StatsArgs),
    /// List what was deployed, and what failed
    Deployments(deployments::DeploymentsArgs),
    /// Show one deployment: its steps, and why it failed
    Deployment(deployments::DeploymentArgs),
    /// End a deployment that waits or is at work
    Cancel(cancel::CancelArgs),
    /// Show an application's processes
    #[command(aliases = ["ps:report", "processes"])]
    Ps(ps::PsArgs),
    /// Run a command of an application: a console, a migration
    Run(run::RunArgs),
    /// Show an application's jobs, or run one now
    Cron(cron::CronArgs),
    /// Print the public key by which an application's repository is reached over ssh
    Key(key::KeyArgs),
    /// Print where a git service sends webhooks for an application, and their secret
    #[command(aliases = ["hooks", "webhook", "webhooks"])]
    Hook(hook::HookArgs),
    /// Show an application's releases
    Releases(releases::ReleasesArgs),
    /// Print an application's URL, and open it in the browser of a desktop
    #[command(aliases = ["apps:open", "url", "urls"])]
    Open(open::OpenArgs),
    /// Show the dashboard in a browser on this machine, without a token
    #[command(aliases = ["ui"])]
    Dashboard(dashboard::DashboardArgs),
    /// Say which application would answer a URL, and why
    Route(route::RouteArgs),
    /// Show what an application or its installation printed
    #[command(aliases = ["log", "tail"])]
    Logs(logs::LogsArgs),
    /// Say how the server is, and exit 1 when something is wrong
    Status(status::StatusArgs),
    /// Replace the running server in place by the program that is installed now
    Reload(reload::ReloadArgs),
    /// Write documents, storage, keys, certificates and settings of the server into one file
    Backup(backup::BackupArgs),
    /// Bring applications back from a backup, on this or another machine
    Restore(restore::RestoreArgs),
    /// Show what happens as it happens
    Events(events::EventsArgs),
    /// Print what makes a shell complete this command line
    Completions(completions::CompletionsArgs),
    /// Print the manual, or write all its pages
    Man(man::ManArgs),
    /// Become a supervised process: the daemon starts itself with it.
    #[command(hide = true)]
    Exec,
    /// The demo's web process.
    #[command(hide = true)]
    DemoWeb,
    /// What the completions of shells offer.
    #[command(hide = true)]
    Candidates,
    /// Serve git to a client of sshd, which runs it for each key.
    #[command(hide = true)]
    SshServe(ssh_serve::SshServeArgs),
    /// Let an older systemd start the server where limited processes of an earlier one live: for the unit.
    #[command(hide = true)]
    ReleaseControlGroups,
}

/// Does what was asked.
///
/// # Errors
/// Whatever failed, for `main` to print; [`usage::Usage`] when the arguments were wrong.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        // Before any runtime, thread or logger: what it sets (ids, session, limits) is the whole process'.
        Command::Exec => crate::process::exec::run(),
        Command::DemoWeb => demo_web::run(),
        Command::ReleaseControlGroups => {
            crate::process::cgroup::release()?;
            Ok(ExitCode::SUCCESS)
        }
        Command::SshServe(args) => Ok(ssh_serve::run(&args)),
        Command::Serve(args) => serve::run(*args),
        Command::Demo(args) => demo::run(args),
        Command::Check(args) => check::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Candidates => candidates::run(),
        Command::Apps(a) => with(&a.client, async |c, o| apps::run(c, o).await),
        Command::Create(a) => {
            let client = a.client.clone();
            with(&client, async |c, o| create::run(*a, c, o).await)
        }
        Command::Show(a) => with(&a.client, async |c, o| show::run(&a, c, o).await),
        Command::Update(a) => with(&a.client, async |c, o| update::run(&a, c, o).await),
        Command::Set(a) => {
            let a = a.settled()?;
            with(&a.client, async |c, o| set::run(&a, c, o).await)
        }
        Command::Env(a) => {
            let a = a.settled()?;
            with(&a.client, async |c, o| env::run(&a, c, o).await)
        }
        Command::Scale(a) => with(&a.client, async |c, o| scale::run(&a, c, o).await),
        Command::Notify(a) => with(a.client(), async |c, o| notify::run(&a, c, o).await),
        Command::Drains(a) => with(a.client(), async |c, o| drains::run(&a, c, o).await),
        Command::Domains(a) => with(a.client(), async |c, o| domains::run(&a, c, o).await),
        Command::Maintenance(a) => with(&a.client, async |c, o| maintenance::run(&a, c, o).await),
        Command::Hash(args) => hash::run(&args),
        Command::Token(a) => with(a.client(), async |c, o| token::run(&a, c, o).await),
        Command::SshKey(a) => with(a.client(), async |c, o| ssh_key::run(&a, c, o).await),
        Command::Audit(a) => with(&a.client, async |c, o| audit::run(&a, c, o).await),
        Command::Certs(a) => with(a.client(), async |c, o| certs::run(&a, c, o).await),
        Command::Rm(a) => with(&a.client, async |c, o| rm::run(&a, c, o).await),
        Command::Orphans(a) => with(a.client(), async |c, o| orphans::run(&a, c, o).await),
        Command::Start(a) => with(&a.client, async |c, o| {
            actions::run("start", &a, c, o).await
        }),
        Command::Stop(a) => with(&a.action.client, async |c, o| actions::stop(&a, c, o).await),
        Command::Restart(a) => with(&a.client, async |c, o| {
            actions::run("restart", &a, c, o).await
        }),
        Command::Pause(a) => with(&a.client, async |c, o| pause::pause(&a, c, o).await),
        Command::Resume(a) => with(&a.client, async |c, o| pause::resume(&a, c, o).await),
        Command::Preview(a) => with(&a.client, async |c, o| preview::run(&a, c, o).await),
        Command::Redeploy(a) => with(&a.action.client, async |c, o| {
            actions::redeploy(&a, c, o).await
        }),
        Command::Deploy(a) => with(&a.client, async |c, o| {
            deploy_directory::run(&a, c, o).await
        }),
        Command::Rollback(a) => with(&a.client, async |c, o| rollback::run(&a, c, o).await),
        Command::Deployments(a) => with(&a.client, async |c, o| deployments::list(&a, c, o).await),
        Command::Deployment(a) => with(&a.client, async |c, o| deployments::show(&a, c, o).await),
        Command::Cancel(a) => with(&a.client, async |c, o| cancel::run(&a, c, o).await),
        Command::Ps(a) => with(&a.client, async |c, o| ps::run(&a, c, o).await),
        Command::Cron(a) => with(a.client(), async |c, o| cron::run(&a, c, o).await),
        Command::Run(a) => with(&a.client, async |c, o| run::run(&a, c, o).await),
        Command::Key(a) => with(&a.client, async |c, o| key::run(&a, c, o).await),
        Command::Hook(a) => with(&a.client, async |c, o| hook::run(&a, c, o).await),
        Command::Releases(a) => with(&a.client, async |c, o| releases::run(&a, c, o).await),
        Command::Open(a) => with(&a.client, async |c, o| open::run(&a, c, o).await),
        Command::Dashboard(a) => with(&a.client, async |c, o| dashboard::run(&a, c, o).await),
        Command::Route(a) => with(&a.client, async |c, o| route::run(&a, c, o).await),
        Command::Status(a) => with(&a.client, async |c, o| status::run(c, o).await),
        Command::Reload(a) => with(&a.client, async |c, o| reload::run(c, o).await),
        Command::Backup(a) => with(&a.client, async |c, o| backup::run(&a, c, o).await),
        Command::Restore(a) => with(&a.client, async |c, o| restore::run(&a, c, o).await),
        Command::Stats(a) => with(&a.client, async |c, o| stats::run(&a, c, o).await),
        Command::Events(a) => with(&a.client, async |c, o| events::run(&a, c, o).await),
        Command::Logs(a) => with(&a.client, async |c, o| logs::run(&a, c, o).await),
    }
}

/// Runs a client verb on a runtime of its own.
fn with(
    args: &ClientArgs,
    verb: impl AsyncFnOnce(&Client, &mut Output) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    actix_rt::System::new().block_on(async {
        let client =
            Client::new(&args.with_token_of_file()?).map_err(|error| Usage(error.to_string()))?;
        verb(&client, &mut Output::stdout(args.json)).await
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_has_no_line_ends_within_paragraphs_and_fits_100_columns() {
        let root = Cli::command();
        for verb in root.get_subcommands().chain([&root]) {
            let help = verb
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let is_prose =
                |line: &str| !line.is_empty() && !line.starts_with(' ') && line != "Examples:";
            let lines: Vec<_> = help.lines().collect();
            for pair in lines.windows(2) {
                assert!(
                    !pair.iter().all(|line| is_prose(line)),
                    "{}: {pair:?}",
                    verb.get_name()
                );
            }
            for line in lines.iter().filter(|line| line.starts_with(' ')) {
                assert!(line.len() <= 100, "{}: {line}", verb.get_name());
            }
        }
    }

    /// Every verb that is shown, and those within it.
    fn visible(verb: &clap::Command, path: &str, all: &mut Vec<(String, clap::Command)>) {
        for inner in verb.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let path = format!("{path} {}", inner.get_name());
            all.push((path.trim().to_owned(), inner.clone()));
            visible(inner, &path, all);
        }
    }

    #[test]
    fn every_visible_verb_has_examples_that_are_understood_and_json() {
        let mut all = Vec::new();
        visible(&Cli::command(), "", &mut all);
        assert!(all.len() > 45, "{}", all.len());
        for (path, mut verb) in all {
            let help = verb.render_long_help().to_string();
            let example = format!("\n  procserver {path}");
            let sudo = format!("\n  sudo procserver {path}");
            assert!(
                help.contains("Examples:") && (help.contains(&example) || help.contains(&sudo)),
                "{path} has no example of its own"
            );
            // What these print is a file in a format of others.
            let is_file = ["completions", "man"].contains(&path.as_str());
            assert!(help.contains("--json") || is_file, "{path} has no --json");
        }
    }
}
