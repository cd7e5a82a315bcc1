//! stub
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:")]
pub struct CheckArgs {
    #[arg(long)]
    pub json: bool,
}
pub fn run(_: &CheckArgs) -> anyhow::Result<std::process::ExitCode> {
    Ok(std::process::ExitCode::SUCCESS)
}
