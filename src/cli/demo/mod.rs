//! stub
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:")]
pub struct DemoArgs {
    #[arg(long)]
    pub json: bool,
}
pub fn run(_: DemoArgs) -> anyhow::Result<std::process::ExitCode> {
    Ok(std::process::ExitCode::SUCCESS)
}
