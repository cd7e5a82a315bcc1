//! The server that runs with the settings, if one does.

use std::time::Duration;

use serde_json::Value;

use super::report::Finding;
use crate::cli::client::{Client, ClientArgs, ClientError};
use crate::settings::Settings;

const LIMIT: Duration = Duration::from_secs(3);

/// What came of asking it.
#[derive(Debug)]
pub enum Running {
    /// `GET /-/status` (`null` from an older server) and `GET /routes`.
    Answers { status: Value, routes: Value },
    /// This user may not ask it.
    Closed,
}

impl Running {
    /// Asks the server at the socket of `settings`; `None`: there is none.
    #[must_use]
    pub fn ask(settings: &Settings) -> Option<Self> {
        let args = ClientArgs {
            server: Some(format!("unix:{}", settings.socket().display())),
            ..ClientArgs::default()
        };
        let client = Client::new(&args).ok()?;
        actix_rt::System::new().block_on(async {
            let asked = async {
                let routes = client.get::<Value>("/routes").await;
                (client.get::<Value>("/-/status").await, routes)
            };
            let (status, routes) = tokio::time::timeout(LIMIT, asked).await.ok()?;
            match (status, routes) {
                (Err(ClientError::NoServer(..)), _) => None,
                (_, Err(ClientError::Forbidden(_) | ClientError::Refused(_))) => Some(Self::Closed),
                (status, routes) => Some(Self::Answers {
                    status: status.unwrap_or_default(),
                    routes: routes.unwrap_or_default(),
                }),
            }
        })
    }

    /// Its process id, where it tells.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Answers { status, .. } => status["pid"].as_u64()?.try_into().ok(),
            Self::Closed => None,
        }
    }
}

/// Says whether it runs, which version, and what it tells of itself.
#[must_use]
pub fn checks(settings: &Settings, running: Option<&Running>) -> Vec<Finding> {
    let socket = settings.socket();
    let at = socket.display();
    match running {
        None => vec![Finding::warning(
            "server",
            format!("none answers at {at}"),
            "type \"systemctl start procserver\", or \"procserver serve\"",
        )],
        Some(Running::Closed) => vec![Finding::unseen(
            "server",
            format!("{at} is not for this user"),
            "be root, or in the group procserver (usermod -aG procserver USER)",
        )],
        Some(Running::Answers { status, .. }) => of_status(status),
    }
}

fn of_status(status: &Value) -> Vec<Finding> {
    const OWN: &str = env!("CARGO_PKG_VERSION");
    let mut found = vec![match status["version"].as_str() {
        Some(OWN) => Finding::good("server", format!("it answers, version {OWN}")),
        other => Finding::warning(
            "server",
            format!(
                "version {} runs, and this program is {OWN}",
                other.unwrap_or("of an older program")
            ),
            "type \"systemctl restart procserver\"",
        ),
    }];
    let told = |field: &str| {
        let all = status[field].as_array().into_iter().flatten();
        all.filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // What it needs is there, or it would not run: so these are for a person to look at.
    let problems = told("problems").into_iter().chain(told("warnings"));
    found.extend(
        problems.map(|why| Finding::warning("server", why, "\"procserver status\" has all of it")),
    );
    let certificates = status["certificates"].as_array().into_iter().flatten();
    found.extend(
        certificates
            .filter(|c| c["state"] == "valid")
            .map(|certificate| {
                let names = certificate["names"].as_array().into_iter().flatten();
                let names: Vec<_> = names.filter_map(Value::as_str).collect();
                let days = &certificate["days_left"];
                Finding::good(
                    "certificate",
                    format!("{}: {days} days left", names.join(" ")),
                )
            }),
    );
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::Level;
    use super::*;

    #[test]
    fn an_older_server_and_its_problems_are_warnings() {
        let levels = |status: Value| {
            let found = of_status(&status).into_iter();
            found.map(|finding| finding.level).collect::<Vec<_>>()
        };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(levels(json!({"version": version})), [Level::Ok]);
        assert_eq!(levels(Value::Null), [Level::Warning]);
        let certificate = json!({"names": ["a"], "state": "valid", "days_left": 3});
        let status = json!({"version": "0.0.1", "problems": ["p"], "certificates": [certificate]});
        assert_eq!(levels(status), [Level::Warning, Level::Warning, Level::Ok]);
    }
}
