//! [`Called::url`]: where people find an app, by the name that they call the server by.

use actix_web::http::header;
use actix_web::{HttpMessage as _, HttpRequest};

use super::auth::Access;
use super::caller::Introduced;
use crate::app::status::Reach;
use crate::front::http::authority::Authority;
use crate::router::reach::Reach as Ways;

/// How the server was called, and for which hosts it has a certificate.
pub(super) struct Called<'a> {
    /// The host, perhaps with a port; `None` on its socket.
    authority: Option<&'a str>,
    is_secure: bool,
    /// Whether apps are reached by path where it was called; they are not on a host of the API.
    has_paths: bool,
    has_certificate: &'a dyn Fn(&str) -> bool,
}

impl<'a> Called<'a> {
    /// The way that `request` came.
    pub(super) fn by(request: &'a HttpRequest, has_certificate: &'a dyn Fn(&str) -> bool) -> Self {
        Self {
            authority: authority(request),
            is_secure: is_secure(request),
            has_paths: true,
            has_certificate,
        }
    }

    /// Takes into account which hosts are the API's.
    pub(super) fn knowing(self, ways: &Ways) -> Self {
        let host = self.authority.and_then(Authority::parse);
        Self {
            has_paths: host.is_none_or(|host| !ways.is_api_host(&host.routed())),
            ..self
        }
    }

    /// A URL that leads to an app.
    pub(super) fn url(&self, name: &str, reach: &Reach) -> Option<String> {
        if let Some(host) = &reach.host {
            return Some(format!("{}/", self.server(host, reach)));
        }
        if reach.path && self.has_paths {
            return Some(format!("{}/{name}/", self.here(reach)));
        }
        let host = self.authority.map_or("localhost", without_port);
        reach
            .port
            .map(|port| format!("{}/", with_port(host, Some(port))))
    }

    /// The URL of a path of the API: at `api_host`, or where the server was called.
    pub(super) fn api(&self, path: &str, api_host: Option<&str>, reach: &Reach) -> String {
        match api_host {
            Some(host) => format!("{}{path}", self.server(host, reach)),
            None => format!("{}{path}", self.here(reach)),
        }
    }

    /// The server's own address at `host`.
    fn server(&self, host: &str, reach: &Reach) -> String {
        match reach.tls_listener.filter(|_| (self.has_certificate)(host)) {
            Some(443) => format!("https://{host}"),
            Some(port) => format!("https://{host}:{port}"),
            None => with_port(host, reach.listener),
        }
    }

    /// The address by which it was called.
    fn here(&self, reach: &Reach) -> String {
        match self.authority {
            None => self.server("localhost", reach),
            Some(authority) if self.is_secure => format!("https://{authority}"),
            Some(authority) => {
                let host = without_port(authority);
                match (self.has_certificate)(host) {
                    true => self.server(host, reach),
                    false => format!("http://{authority}"),
                }
            }
        }
    }
}

/// The host, and perhaps port, by which the server was called; `None` on its socket.
fn authority(request: &HttpRequest) -> Option<&str> {
    let introduced = request.extensions();
    let introduced = introduced.get::<Introduced>();
    let is_tcp = match introduced {
        Some(introduced) => introduced.over_tcp,
        None => matches!(request.conn_data::<Access>(), Some(Access::Tcp)),
    };
    let host = request.headers().get(header::HOST).filter(|_| is_tcp)?;
    host.to_str().ok()
}

/// Whether the client came by HTTPS: the front end says so, or a proxy that it trusts.
pub(super) fn is_secure(request: &HttpRequest) -> bool {
    let scheme = request.headers().get("x-forwarded-proto");
    scheme.is_some_and(|scheme| scheme == "https")
}

fn with_port(host: &str, port: Option<u16>) -> String {
    match port {
        None | Some(80) => format!("http://{host}"),
        Some(port) => format!("http://{host}:{port}"),
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, digits)) if digits.parse::<u16>().is_ok() => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_url_leads_to_the_app_by_the_name_that_the_server_was_called() {
        let reach = |host: Option<&str>, port, path| Reach {
            host: host.map(str::to_owned),
            port,
            path,
            listener: Some(8080),
            tls_listener: Some(8443),
        };
        let has_certificate = |host: &str| host.starts_with("safe");
        let by = |reach: Reach, authority, is_secure| {
            let called = Called {
                authority,
                is_secure,
                has_paths: authority != Some("api.example"),
                has_certificate: &has_certificate,
            };
            called.url("blog", &reach)
        };
        let url = |reach: Reach, authority| by(reach, authority, false);
        let by_path = reach(None, None, true);
        assert_eq!(
            url(by_path.clone(), None).unwrap(),
            "http://localhost:8080/blog/"
        );
        assert_eq!(
            url(by_path.clone(), Some("nas")).unwrap(),
            "http://nas/blog/"
        );
        assert_eq!(
            url(by_path.clone(), Some("safe:8080")).unwrap(),
            "https://safe:8443/blog/"
        );
        assert_eq!(url(by_path.clone(), Some("api.example")), None);
        let secure = by(by_path, Some("safe:4443"), true);
        assert_eq!(secure.unwrap(), "https://safe:4443/blog/");
        let by_host = reach(Some("a.example"), None, true);
        assert_eq!(url(by_host, Some("nas")).unwrap(), "http://a.example:8080/");
        let safe = reach(Some("safe.example"), None, true);
        let at_443 = Reach {
            tls_listener: Some(443),
            ..safe.clone()
        };
        assert_eq!(url(safe, None).unwrap(), "https://safe.example:8443/");
        assert_eq!(url(at_443, None).unwrap(), "https://safe.example/");
        let by_port = reach(None, Some(99), false);
        assert_eq!(url(by_port, Some("nas:8080")).unwrap(), "http://nas:99/");
        assert_eq!(url(reach(None, None, false), None), None);
    }
}
