//! Answers of the proxy itself (pure); how they are written is in `page`.

mod page;

use std::sync::Arc;
use std::time::Duration;

use super::head::Refusal;
pub use page::{Page, prefers_html, write};

/// The methods that the proxy passes on.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// An answer of the proxy itself, which mostly tells what went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    pub status: u16,
    /// The code that Heroku's router has for it, if any.
    pub code: Option<&'static str>,
    /// A sentence for people.
    pub detail: String,
    /// The seconds after which to ask again.
    pub retry_after: Option<u32>,
    /// The methods that are allowed, if this was none of them.
    pub allow: Option<&'static str>,
    pub location: Option<String>,
    /// Boxed, since each result that may be an answer is as large as one.
    pub rare: Option<Box<Rare>>,
}

/// What few answers have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rare {
    /// The whole body, where this is no error.
    text: Option<String>,
    /// A page of the app's own, for those who like HTML.
    page: Option<Arc<[u8]>>,
    /// The realm whose name and password the client is asked for.
    realm: Option<String>,
    /// The policy of the app's document that made it.
    policy: Option<&'static str>,
}

impl LocalReply {
    fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: (!code.is_empty()).then_some(code),
            detail: detail.into(),
            retry_after: None,
            allow: None,
            location: None,
            rare: None,
        }
    }

    /// The policy of the app's document that made it, if one did.
    #[must_use]
    pub fn policy(&self) -> Option<&'static str> {
        self.rare.as_ref()?.policy
    }

    /// An answer that the app's document asks for.
    fn by_policy(policy: &'static str, status: u16, detail: impl Into<String>) -> Self {
        let rare = Rare {
            policy: Some(policy),
            ..Rare::default()
        };
        Self {
            rare: Some(Box::new(rare)),
            ..Self::new(status, "", detail)
        }
    }

    fn with(mut self, say: impl FnOnce(&mut Rare)) -> Self {
        say(self.rare.get_or_insert_default());
        self
    }

    /// The client's address is in none of the networks that are let in.
    #[must_use]
    pub fn not_allowed() -> Self {
        let detail = "Your address is not one of those that this application lets in.";
        Self::by_policy("allow", 403, detail)
    }

    /// Nobody is served for a while. H80 is Heroku's code for that.
    #[must_use]
    pub fn maintenance(app: &str, retry_after: Duration, page: Option<Arc<[u8]>>) -> Self {
        let detail = format!("The application \"{app}\" is being maintained. It will be back.");
        Self {
            code: Some("H80"),
            retry_after: Some(seconds(retry_after)),
            ..Self::by_policy("maintenance", 503, detail)
        }
        .with(|rare| rare.page = page)
    }

    /// The client's address has made too many requests.
    #[must_use]
    pub fn too_many(wait: Duration) -> Self {
        let detail = "Too many requests came from your address. Wait, and try again.";
        Self {
            retry_after: Some(seconds(wait)),
            ..Self::by_policy("rate", 429, detail)
        }
    }

    /// The client's address has tried too many wrong passwords.
    #[must_use]
    pub fn too_many_wrong(wait: Duration) -> Self {
        let detail = "Too many wrong passwords came from your address. Wait, and try again.";
        Self {
            retry_after: Some(seconds(wait)),
            ..Self::by_policy("auth", 429, detail)
        }
    }

    /// Too many passwords are looked at.
    #[must_use]
    pub fn too_many_log_in() -> Self {
        let detail = "Too many clients log in at this moment. Try again.";
        Self {
            retry_after: Some(1),
            ..Self::by_policy("auth", 503, detail)
        }
    }

    /// A name and a password are asked for, or these are wrong.
    #[must_use]
    pub fn unauthorized(realm: &str) -> Self {
        let detail = "This needs a name and a password, and these were none or wrong ones.";
        Self::by_policy("auth", 401, detail).with(|rare| rare.realm = Some(realm.to_owned()))
    }

    /// What was asked for is elsewhere.
    #[must_use]
    pub fn redirect(location: String, status: u16) -> Self {
        Self {
            location: Some(location),
            ..Self::by_policy("redirects", status, "")
        }
    }

    /// A redirect: an app by path begins at a slash, or its relative links lead out of it.
    #[must_use]
    pub fn moved(location: String) -> Self {
        Self {
            location: Some(location),
            ..Self::new(308, "", "")
        }
    }

    /// A redirect to the same by HTTPS. Only GET and HEAD may lose their method (RFC 9110 §15.4.2).
    #[must_use]
    pub fn by_https(location: String, method: &str) -> Self {
        let status = match method {
            "GET" | "HEAD" => 301,
            _ => 308,
        };
        Self {
            location: Some(location),
            ..Self::new(status, "", "")
        }
    }

    /// A token of the API came by plain HTTP, and is not passed on.
    #[must_use]
    pub fn token_in_clear(host: &str) -> Self {
        Self::new(
            403,
            "",
            format!(
                "The token came unencrypted: whoever saw it on its way may use it. Write https://{host} in the address, and \
                 give the server a new token if that way was not yours alone."
            ),
        )
    }

    /// What a certificate authority looks for (RFC 8555 §8.3).
    #[must_use]
    pub fn challenge(text: String) -> Self {
        Self::new(200, "", "").with(|rare| rare.text = Some(text))
    }

    /// The app wants no HTTP/2, and the client came by it (RFC 9110 §15.5.20).
    #[must_use]
    pub fn misdirected() -> Self {
        Self::new(
            421,
            "",
            "This host is not served by HTTP/2: open a connection for it, and offer HTTP/1.1.",
        )
    }

    /// No app has this host, name or path.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            404,
            "",
            "No application answers here. See GET /routes of the API for who would answer what.",
        )
    }

    /// The app consists of files, and this is none of them.
    #[must_use]
    pub fn no_file() -> Self {
        Self::new(404, "", "There is no such file.")
    }

    /// The app consists of files, which are only read.
    #[must_use]
    pub fn only_files() -> Self {
        Self {
            allow: Some("GET, HEAD"),
            ..Self::new(
                405,
                "",
                "The application consists of files: use GET or HEAD.",
            )
        }
    }

    /// The answer to an OPTIONS that goes no further.
    #[must_use]
    pub fn options() -> Self {
        Self {
            allow: Some(METHODS),
            ..Self::new(200, "", "")
        }
    }

    #[must_use]
    pub fn stopped(app: &str) -> Self {
        Self::new(503, "H14", format!("The application \"{app}\" is stopped."))
    }

    #[must_use]
    pub fn crashed(app: &str) -> Self {
        Self::new(
            503,
            "H10",
            format!("The application \"{app}\" crashed. Its log says why."),
        )
    }

    /// No deployment of it was ever ready.
    #[must_use]
    pub fn undeployed(app: &str) -> Self {
        let detail = format!(
            "The application \"{app}\" has not been deployed yet: \"procserver logs {app} --install\" says why."
        );
        Self::new(503, "H10", detail)
    }

    /// No process of the app takes requests.
    #[must_use]
    pub fn no_process(app: &str, process_type: &str) -> Self {
        Self::new(
            503,
            "H14",
            format!(
                "The application \"{app}\" runs no {process_type} process: it has none, is scaled to 0, or all have ended. \
                 \"procserver ps {app}\" says more."
            ),
        )
    }

    /// The app was not ready while the request was held.
    #[must_use]
    pub fn not_ready(app: &str) -> Self {
        Self {
            retry_after: Some(5),
            ..Self::new(
                503,
                "H20",
                format!("The application \"{app}\" is not ready yet."),
            )
        }
    }

    /// Too many requests are held already.
    #[must_use]
    pub fn backlog(app: &str) -> Self {
        Self {
            retry_after: Some(5),
            ..Self::new(
                503,
                "H11",
                format!("Too many requests wait for the application \"{app}\"."),
            )
        }
    }

    /// The front end cannot route now, because its replica restarts.
    #[must_use]
    pub fn unroutable() -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(503, "", "The server is restarting a part of itself.")
        }
    }

    #[must_use]
    pub fn refused() -> Self {
        Self::new(502, "H21", "The application refused the connection.")
    }

    /// The connection failed for another reason than a refusal.
    #[must_use]
    pub fn unreachable() -> Self {
        Self::new(502, "H19", "The application could not be connected to.")
    }

    /// The backend closed before a whole response head came.
    #[must_use]
    pub fn closed() -> Self {
        Self::new(
            502,
            "H13",
            "The application closed the connection without a response.",
        )
    }

    /// The backend sent what is no response.
    #[must_use]
    pub fn bad_response() -> Self {
        Self::new(502, "H17", "The application sent a malformed response.")
    }

    /// The file that kept the request's body cannot be read.
    #[must_use]
    pub fn lost() -> Self {
        let detail = "What was kept of the request's body on disk cannot be read. The server's own log says more.";
        Self::new(500, "", detail)
    }

    #[must_use]
    pub fn timeout() -> Self {
        Self::new(504, "H12", "The application did not respond in time.")
    }

    /// The client did not send its head or body in time.
    #[must_use]
    pub fn slow_client() -> Self {
        Self::new(408, "H28", "The request did not arrive in time.")
    }

    #[must_use]
    pub fn bad_body(why: &str) -> Self {
        Self::new(400, "", format!("The request is malformed: {why}."))
    }

    /// The body is larger than `limit` bytes.
    #[must_use]
    pub fn body_too_large(limit: u64) -> Self {
        Self::new(
            413,
            "",
            format!("The request body is too large: at most {limit} bytes are accepted."),
        )
    }
}

impl From<Refusal> for LocalReply {
    fn from(refusal: Refusal) -> Self {
        Self {
            allow: (refusal == Refusal::Method).then_some(METHODS),
            ..Self::new(refusal.status(), "", refusal.to_string())
        }
    }
}

/// Whole seconds that are not less.
fn seconds(wait: Duration) -> u32 {
    let more = u64::from(wait.subsec_nanos() > 0);
    u32::try_from(wait.as_secs() + more)
        .unwrap_or(u32::MAX)
        .max(1)
}
