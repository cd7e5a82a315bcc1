//! The flags of `procserver create`, and the document that they describe; the API checks it.

mod fields;
mod policies;

use clap::{ArgGroup, Args};
use serde_json::{Map, Value};

use super::client::ClientArgs;
use super::deploy::WaitArgs;
use super::document::{choice, pair, quantity};
use super::usage::Usage;
use super::{env, input, set};
use crate::document::drain::DrainConfig;
use crate::document::host_entry::HostEntry;
use crate::document::notify::NotifyConfig;

#[derive(Args, Debug, Default)]
#[command(
    group = ArgGroup::new("source").args(["repo", "repo_file", "push"]),
    after_help = "Examples:
  procserver create blog.json                  a document, JSON or JSON5; - reads standard input
  procserver create blog --repo https://git.example/blog.git
  procserver create blog --repo git@git.example:blog.git --branch main \\
    --host blog.example.org --install 'bundle install' --package ruby-bundler \\
    --scale web=2 --env RAILS_ENV=production --env-file secrets.env
  procserver create blog --repo-file url.txt   a URL with a token: in no list of processes
  procserver create site --repo https://git.example/site.git --static public --spa
  procserver create shop --push                then git push https://SERVER/git/shop.git main
  procserver create blog --repo https://git.example/blog.git --set health_check.timeout=2s
  procserver create blog.json --no-wait --json

A token may stand in an https URL, as in https://TOKEN@HOST/blog.git or https://USER:PASSWORD@HOST/blog.git; for ssh URLs \
see \"procserver key --help\". Submodules are fetched at their recorded commits, also nested ones: their URLs follow the \
same rules, the token goes along to the same host only, and the deploy key is used for all of them. On this machine's \
disk a submodule must lie beside its repository and have the same owner."
)]
pub struct CreateArgs {
    /// A file with the application's document, or with --repo the application's name
    #[arg(value_name = "FILE|NAME")]
    pub target: String,
    /// Where the code is: a URL that git clones from
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// File with the URL, - for standard input: for a URL with a token in it
    #[arg(long, value_name = "FILE")]
    pub repo_file: Option<String>,
    /// The code is pushed to the server: git push https://SERVER/git/NAME.git main
    #[arg(long)]
    pub push: bool,
    /// The code's branch [default: master, else the repository's own default; with --push main]
    #[arg(long, requires = "source", group = "reference")]
    pub branch: Option<String>,
    /// A tag instead of a branch
    #[arg(long, requires = "source", group = "reference")]
    pub tag: Option<String>,
    /// A commit instead of a branch
    #[arg(long, requires = "source", group = "reference")]
    pub commit: Option<String>,
    /// Directory of the repository that is the application: its Procfile is there
    #[arg(long, requires = "source", value_name = "DIR")]
    pub repo_dir: Option<String>,
    /// Name under which the application is reached, or '*.example.org' for all of one label more, =TYPE where another
    /// process type than web answers there; may be repeated
    #[arg(long, requires = "source", value_name = "NAME[=TYPE]", value_parser = HostEntry::parse_typed)]
    pub host: Vec<HostEntry>,
    /// Regular expression of hosts that reach the application; may be repeated
    #[arg(long, requires = "source", value_name = "REGEX")]
    pub domain: Vec<String>,
    /// Command that prepares the code; may be repeated
    #[arg(long, requires = "source", value_name = "COMMAND")]
    pub install: Vec<String>,
    /// Install nothing, whatever is in the checkout [default: what its package managers' files say]
    #[arg(long, requires = "source", conflicts_with = "install")]
    pub no_install: bool,
    /// Directory of the checkout that the next release takes over, such as node_modules; may be repeated
    #[arg(long, requires = "source", value_name = "DIR")]
    pub cache: Vec<String>,
    /// Directory of the application that is kept over releases, and writable; may be repeated
    #[arg(long, requires = "source", value_name = "DIR")]
    pub shared: Vec<String>,
    /// /bin/sh (default) or /bin/bash: what runs these and the commands of the Procfile
    #[arg(long, requires = "source", value_name = "PATH")]
    pub shell: Option<String>,
    /// Debian package that must be installed; may be repeated
    #[arg(long, requires = "source", value_name = "NAME")]
    pub package: Vec<String>,
    /// How many processes of a type; may be repeated
    #[arg(long, requires = "source", value_name = "TYPE=N", value_parser = quantity)]
    pub scale: Vec<(String, u32)>,
    /// Environment variable, the value - is read from standard input; may be repeated
    #[arg(long, requires = "source", value_name = "NAME=VALUE", value_parser = pair)]
    pub env: Vec<(String, String)>,
    /// File with environment variables, written as .env is; - reads standard input
    #[arg(long, requires = "source", value_name = "FILE")]
    pub env_file: Option<String>,
    /// User to run as [default: the server's]
    #[arg(long, requires = "source")]
    pub user: Option<String>,
    /// Group to run as [default: the user's]
    #[arg(long, requires = "source")]
    pub group: Option<String>,
    /// What runs its processes: local (this server, the default) or swarm (the Docker Swarm of its settings)
    #[arg(long, requires = "source", value_name = "ENGINE")]
    pub engine: Option<String>,
    /// Let it see the machine's /tmp, all processes, and where the server's files are
    #[arg(long, requires = "source")]
    pub no_sandbox: bool,
    /// A port of the application's own
    #[arg(long, requires = "source")]
    pub port: Option<u16>,
    /// Do not answer under /NAME/
    #[arg(long, requires = "source")]
    pub no_path: bool,
    /// Leave /NAME in the path that the application gets
    #[arg(long, requires = "source")]
    pub no_strip_path: bool,
    /// Path that answers 2xx once the application is ready [default: a TCP connect is enough]
    #[arg(long, requires = "source", value_name = "PATH")]
    pub health_path: Option<String>,
    /// Host that is named when the path is asked for [default: the address]
    #[arg(long, requires = "source", value_name = "HOST")]
    pub health_host: Option<String>,
    /// Field that is sent along; may be repeated
    #[arg(long, requires = "source", value_name = "NAME=VALUE", value_parser = pair)]
    pub health_header: Vec<(String, String)>,
    /// Statuses that are well, as in 200-399 [default: 200-299]
    #[arg(long, requires = "source", value_name = "RANGE")]
    pub health_status: Option<String>,
    /// How long a process may take to get ready, as in 90s [default: 60s]
    #[arg(long, requires = "source", value_name = "TIME")]
    pub boot_timeout: Option<String>,
    /// Signal that ends a process [default: SIGTERM]
    #[arg(long, requires = "source", value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Whether all processes of an instance get it, or only the main command: all or main [default: all]
    #[arg(long, requires = "source", value_name = "WHICH")]
    pub stop_to: Option<String>,
    /// How long it may take to end, as in 30s [default: 10s]
    #[arg(long, requires = "source", value_name = "TIME")]
    pub stop_timeout: Option<String>,
    /// How long requests and tunnels of a process that is replaced may go on before that is told to end [default: 30s]
    #[arg(long, requires = "source", value_name = "TIME")]
    pub drain: Option<String>,
    /// Stop it when nobody has asked it for anything for so long; the next request starts it
    #[arg(long, requires = "source", value_name = "TIME")]
    pub sleep: Option<String>,
    /// Directory of the checkout whose files are answered without the application
    #[arg(long = "static", requires = "source", value_name = "DIR")]
    pub static_dir: Option<String>,
    /// Path under which they appear [default: /]
    #[arg(long, requires = "static_dir", value_name = "PATH")]
    pub static_prefix: Option<String>,
    /// Answer paths that are no file with index.html, as a single-page application needs it
    #[arg(long, requires = "static_dir")]
    pub spa: bool,
    /// Cache-Control of those files, but for HTML
    #[arg(long, requires = "static_dir", value_name = "TEXT")]
    pub cache_control: Option<String>,
    /// always (default), on-failure or never: when a process that ended is started again, for all or as in worker=never;
    /// may be repeated
    #[arg(long, requires = "source", value_name = "[TYPE=]POLICY", value_parser = choice)]
    pub restart: Vec<(String, String)>,
    /// rolling (the old release serves until the new one is ready) or recreate, for all or as in clock=recreate; may be
    /// repeated
    #[arg(long, requires = "source", value_name = "[TYPE=]STRATEGY", value_parser = choice)]
    pub strategy: Vec<(String, String)>,
    /// Most memory of each process and what it starts, as in 512M or worker=1G; more ends it; may be repeated
    #[arg(long, requires = "source", value_name = "[TYPE=]SIZE", value_parser = choice)]
    pub memory: Vec<(String, String)>,
    /// Most cores that each process may keep busy, as in 1.5 or worker=0.5; may be repeated
    #[arg(long, requires = "source", value_name = "[TYPE=]CORES", value_parser = choice)]
    pub cpu: Vec<(String, String)>,
    /// Most processes and threads of each process, as in 200 or worker=50; may be repeated
    #[arg(long, requires = "source", value_name = "[TYPE=]N", value_parser = choice)]
    pub tasks: Vec<(String, String)>,
    /// Most open files of each process, as in 4096 or web=65536 [default: 1024, which it may raise]; may be repeated
    #[arg(long, requires = "source", value_name = "[TYPE=]N", value_parser = choice)]
    pub files: Vec<(String, String)>,
    /// Most that the application may have on disk, as in 10G
    #[arg(long, requires = "source", value_name = "SIZE")]
    pub disk: Option<String>,
    /// Command that is run at set times (UTC), as in 'report=30 3 * * * ./report' or 'clean=@daily ./clean'; may be
    /// repeated
    #[arg(long, requires = "source", value_name = "JOB=SCHEDULE COMMAND", value_parser = job)]
    pub cron: Vec<Value>,
    /// Where its logs are sent, as in syslog+tls://logs.example.org:6514; may be repeated
    #[arg(long, requires = "source", value_name = "URL", value_parser = log_drain)]
    pub log_drain: Vec<String>,
    /// Who is told when a deploy fails or a process keeps crashing: https://…, or mailto:ops@example.org; may be repeated
    #[arg(long, requires = "source", value_name = "URL", value_parser = receiver)]
    pub notify: Vec<String>,
    /// How many releases stay on disk [default: 5]
    #[arg(long, requires = "source", value_name = "N")]
    pub keep_releases: Option<u32>,
    /// Send a request to the application while its body still comes
    #[arg(long, requires = "source")]
    pub no_buffer_requests: bool,
    /// Take a response from the application only as fast as the client reads it
    #[arg(long, requires = "source")]
    pub no_buffer_responses: bool,
    /// Let nobody in yet: 503 and a page, until "procserver maintenance NAME off"
    #[arg(long, requires = "source")]
    pub maintenance: bool,
    /// File of the release that browsers are shown meanwhile
    #[arg(long, requires = "maintenance", value_name = "FILE")]
    pub maintenance_page: Option<String>,
    /// Network whose clients are let in, as in 10.0.0.0/8, and no others; may be repeated
    #[arg(long, requires = "source", value_name = "NETWORK")]
    pub allow: Vec<String>,
    /// How many requests an address may make, as in 100/s, 600/m or 1000/h
    #[arg(long, requires = "source", value_name = "RATE")]
    pub rate: Option<String>,
    /// How many of them at once [default: the number of the rate]
    #[arg(long, requires = "rate", value_name = "N")]
    pub rate_burst: Option<u32>,
    /// Who is let in by a password, with the hash that "procserver hash" makes; may be repeated
    #[arg(long, requires = "source", value_name = "USER=HASH", value_parser = pair)]
    pub basic_auth: Vec<(String, String)>,
    /// What browsers say that the password is for [default: the application's name]
    #[arg(long, requires = "basic_auth", value_name = "TEXT")]
    pub basic_auth_realm: Option<String>,
    /// Path, or all below one, that is elsewhere, as in '/old/*=/new/*' or '308:/api=https://api.example.org/'; may be
    /// repeated
    #[arg(long, requires = "source", value_name = "[STATUS:]FROM=TO", value_parser = policies::redirect)]
    pub redirect: Vec<Value>,
    /// Field of each response, as in X-Frame-Options=DENY; with nothing behind the = it is taken out; may be repeated
    #[arg(long, requires = "source", value_name = "NAME=VALUE", value_parser = pair)]
    pub response_header: Vec<(String, String)>,
    /// How long a connection to a process may take [default: the server's, 5s]
    #[arg(long, requires = "source", value_name = "TIME")]
    pub timeout_connect: Option<String>,
    /// How long the application may take to answer [default: the server's, 60s]
    #[arg(long, requires = "source", value_name = "TIME")]
    pub timeout_response: Option<String>,
    /// How long nothing of a body may come or go [default: the server's, 75s]
    #[arg(long, requires = "source", value_name = "TIME")]
    pub timeout_idle: Option<String>,
    /// How long a WebSocket may be silent [default: the server's, 1h]
    #[arg(long, requires = "source", value_name = "TIME")]
    pub timeout_tunnel_idle: Option<String>,
    /// Most bytes of a request's body, as in 50M, up to 64G [default: the server's, 1G]
    #[arg(long, requires = "source", value_name = "SIZE")]
    pub body: Option<String>,
    /// How long an idle connection to a process is kept, up to 10m; 0s: not at all [default: 3s]
    #[arg(long, requires = "source", value_name = "TIME")]
    pub upstream_keep_alive: Option<String>,
    /// Keep each client with the process that answered it first, by a cookie
    #[arg(long, requires = "source")]
    pub sticky: bool,
    /// The cookie's name [default: procserver_sticky]
    #[arg(long, requires = "sticky", value_name = "NAME")]
    pub sticky_cookie: Option<String>,
    /// Any other field, as with the verb set; may be repeated
    #[arg(long = "set", requires = "source", value_name = "KEY=VALUE", value_parser = pair)]
    pub fields: Vec<(String, String)>,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// The document, with what the named files and standard input say.
///
/// # Errors
/// A file that cannot be read, and standard input asked for twice.
pub(super) fn from_flags(args: &mut CreateArgs) -> anyhow::Result<Value> {
    note(args);
    one_kind("--restart", &args.restart)?;
    one_kind("--strategy", &args.strategy)?;
    let asked = [&args.repo_file, &args.env_file];
    let files = asked
        .iter()
        .filter(|file| file.as_deref() == Some(input::STDIN))
        .count();
    let values = args
        .env
        .iter()
        .filter(|(_, value)| value == input::STDIN)
        .count();
    if files + values > 1 {
        let text = "standard input can be read once: only one of --repo-file, --env-file and --env can be -";
        return Err(Usage(text.into()).into());
    }
    if let Some(file) = &args.repo_file {
        args.repo = Some(input::value("the repository's URL", file)?);
    }
    let mut variables = match &args.env_file {
        Some(file) => env::of_file(file)?,
        None => Map::new(),
    };
    input::fill(&mut args.env)?;
    variables.extend(
        args.env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().into())),
    );
    let mut document = fields::document(args, variables);
    fields::put_limits(&mut document, args);
    policies::put_policies(&mut document, args);
    for (path, value) in &args.fields {
        set::put(&mut document, path, set::value(path, value));
    }
    Ok(document)
}

/// Notes for what is better not on a command line.
fn note(args: &CreateArgs) {
    let on_url = args
        .repo
        .as_deref()
        .and_then(|url| input::note_on_url(url, "--repo-file FILE"));
    let on_variables = input::note_on_variables(&args.env, "--env NAME=- or --env-file FILE");
    for note in on_url.iter().chain(&on_variables) {
        input::warn(note);
    }
}

fn log_drain(text: &str) -> Result<String, String> {
    DrainConfig::to(text).map(|_| text.to_owned())
}

fn receiver(text: &str) -> Result<String, String> {
    NotifyConfig::to(text).map(|_| text.to_owned())
}

/// A job: its name, five fields or a word such as `@daily`, and its command.
fn job(text: &str) -> Result<Value, &'static str> {
    const WANTED: &str = "write it as 'report=30 3 * * * ./report' or 'clean=@daily ./clean'";
    let (name, rest) = text.split_once('=').ok_or(WANTED)?;
    let rest = rest.trim_start();
    let count = if rest.starts_with('@') { 1 } else { 5 };
    let mut command = rest;
    for _ in 0..count {
        let (_, behind) = command.split_once(' ').ok_or(WANTED)?;
        command = behind.trim_start();
    }
    let schedule = rest[..rest.len() - command.len()].trim_end();
    Ok(serde_json::json!({ "name": name, "schedule": schedule, "command": command }))
}

/// A document has one choice for all types or some by type.
fn one_kind(flag: &str, choices: &[(String, String)]) -> Result<(), Usage> {
    let for_all = choices.iter().filter(|(of, _)| of.is_empty()).count();
    match for_all {
        0 => Ok(()),
        1 if choices.len() == 1 => Ok(()),
        _ => Err(Usage(format!(
            "{flag} is one choice for all types, or TYPE=CHOICE for some of them"
        ))),
    }
}

#[cfg(test)]
pub(super) mod tests;
