//! `procserver hook`: where a git service sends webhooks for an application, and the secret for them.

use std::process::ExitCode;

use actix_web::http::Method;
use clap::Args;
use serde_json::{Value, json};

use super::client::{Call, Client, ClientArgs};
use super::input;
use super::output::{Output, cell};
use crate::document::name::AppName;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  procserver hook blog                         what to enter at GitHub, GitLab, Gitea or Forgejo
  procserver hook blog --new                   a new secret: the old one signs nothing any more
  procserver hook blog --secret-file secret    one that you have already
  procserver hook blog --json

A push to the branch or tag of the document then deploys, as \"procserver redeploy\" does. Other branches, other events and \
deliveries that come again do nothing; the answer, which the service shows, says so. Who does not sign with the secret is \
refused, and counts as somebody who guesses tokens.")]
pub struct HookArgs {
    /// The application
    #[arg(value_parser = AppName::parse)]
    pub name: AppName,
    /// Make a new secret in place of the one that is there
    #[arg(long)]
    pub new: bool,
    /// Take the secret in this file, "-" for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "new")]
    pub secret_file: Option<String>,
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Prints what to enter. The first call makes the secret.
///
/// # Errors
/// What the API refuses.
pub async fn run(args: &HookArgs, client: &Client, out: &mut Output) -> anyhow::Result<ExitCode> {
    let path = format!("/applications/{}/hook", args.name);
    let wish = match &args.secret_file {
        Some(file) => Some(json!({ "secret": input::value("the secret", file)?.trim() })),
        None => args.new.then(|| json!({ "new": true })),
    };
    let post = |wish: Value| Call::new(Method::POST, &path).body(wish.to_string());
    let hook: Value = match wish {
        Some(wish) => client.send(&post(wish)).await?.json(),
        None => match client.get(&path).await? {
            Value::Object(hook) if hook.get("secret") == Some(&Value::Null) => {
                client.send(&post(json!({}))).await?.json()
            }
            hook => hook,
        },
    };
    if out.is_json() {
        out.json(&hook)?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in lines(&hook) {
        out.line(&line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(hook: &Value) -> Vec<String> {
    let url = match hook["url"].is_null() {
        true => format!(
            "none: name a host in the setting api_hosts, and the URL is https://HOST{}",
            cell(&hook["path"])
        ),
        false => cell(&hook["url"]),
    };
    let services = "
GitHub          Settings, Webhooks, Add webhook: Payload URL, Content type application/json, Secret; just the push event
GitLab          Settings, Webhooks, Add new webhook: URL; the secret as Signing token, or as Secret token where there is no
                field for one; Push events (Tag push events where the document names a tag)
Gitea, Forgejo  Settings, Webhooks, Add webhook, Gitea or Forgejo: Target URL, POST, application/json, Secret; push events";
    let mut lines = vec![
        format!("URL     {url}"),
        format!("Secret  {}", cell(&hook["secret"])),
    ];
    lines.extend(services.lines().map(str::to_owned));
    if hook["url"]
        .as_str()
        .is_some_and(|url| url.starts_with("http://"))
    {
        lines.push(String::new());
        lines.push(
            "By http:// a secret token of GitLab travels unencrypted: prefer HTTPS, with a name in api_hosts."
                .to_owned(),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_enter_is_there_also_without_a_url() {
        let hook = json!({"url": null, "path": "/hooks/blog", "secret": "whsec_x"});
        let text = lines(&hook).join("\n");
        assert!(
            text.contains("https://HOST/hooks/blog") && text.contains("api_hosts"),
            "{text}"
        );
        let hook = json!({"url": "https://api.example/hooks/blog", "secret": "whsec_x"});
        let text = lines(&hook).join("\n");
        assert!(text.starts_with("URL     https://api.example/hooks/blog\nSecret  whsec_x\n"));
        assert!(!text.contains("unencrypted"));
    }
}
