//! [`Visits`]: requests to the demo app by each way in.

use std::net::SocketAddr;

use anyhow::{Context, ensure};

/// One way to reach the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Which way.
    pub by: &'static str,
    url: String,
    field: Option<(&'static str, String)>,
}

impl Visit {
    /// The same with curl.
    #[must_use]
    pub fn command(&self) -> String {
        match &self.field {
            Some((name, value)) => format!("curl -H '{name}: {value}' {}", self.url),
            None => format!("curl {}", self.url),
        }
    }
}

/// All ways to reach the app.
pub struct Visits {
    http: awc::Client,
    all: Vec<Visit>,
}

impl Visits {
    /// The ways in through the proxy at `proxy`, and, where the process is on this machine, past it to its port `direct`.
    #[must_use]
    pub fn new(proxy: SocketAddr, direct: Option<u16>) -> Self {
        let name = super::NAME;
        let visit = |by, url, field| Visit { by, url, field };
        let mut all = vec![
            visit("by path", format!("http://{proxy}/{name}/"), None),
            visit(
                "by X-App",
                format!("http://{proxy}/"),
                Some(("X-App", name.to_owned())),
            ),
            visit(
                "by host",
                format!("http://{proxy}/"),
                Some(("Host", format!("{name}.localhost"))),
            ),
        ];
        all.extend(direct.map(|port| {
            let url = format!("http://127.0.0.1:{port}/");
            visit("by port, without the proxy", url, None)
        }));
        Self {
            http: awc::Client::default(),
            all,
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Visit> {
        self.all.iter()
    }

    /// Makes one, and looks whether the app's own page came, which it returns.
    ///
    /// # Errors
    /// It did not.
    pub async fn check(&self, visit: &Visit) -> anyhow::Result<String> {
        let url = &visit.url;
        let mut request = self.http.get(url);
        if let Some((name, value)) = &visit.field {
            request = request.insert_header((*name, value.as_str()));
        }
        let sent = request.send().await;
        // awc's error is not `Send`, so anyhow cannot hold it.
        let mut response = sent.map_err(|error| anyhow::anyhow!("{url}: {error}"))?;
        let body = response
            .body()
            .await
            .with_context(|| format!("{url}: the body broke off"))?;
        let text = String::from_utf8_lossy(&body).into_owned();
        ensure!(
            response.status() == 200 && text.contains("It works."),
            "{url} answered {}: {}",
            response.status(),
            text.chars().take(500).collect::<String>()
        );
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_in_can_be_tried_with_curl() {
        let visits = Visits::new(([127, 0, 0, 1], 4000).into(), Some(8001));
        let commands: Vec<_> = visits.all().map(Visit::command).collect();
        assert_eq!(
            commands,
            [
                "curl http://127.0.0.1:4000/demo/",
                "curl -H 'X-App: demo' http://127.0.0.1:4000/",
                "curl -H 'Host: demo.localhost' http://127.0.0.1:4000/",
                "curl http://127.0.0.1:8001/",
            ]
        );
    }
}
