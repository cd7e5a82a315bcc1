//! Lets a request in by a name and a password (RFC 7617).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::verifying::{Attempt, Busy};
use crate::front::http::field::{Field, Name};
use crate::front::http::local_reply::LocalReply;
use crate::front::worker::Worker;
use crate::router::policies::gate::{Credentials, Gate};
use crate::router::policies::limiter;

/// Bytes of `Authorization` that are looked at: a name of 255 bytes and a longer password, in base64.
const LONGEST: usize = 1024;

/// Returns the user's name, or what the client is told.
pub(super) async fn enter(
    gate: &Arc<Gate>,
    worker: &Worker,
    app: &Arc<str>,
    client: IpAddr,
    fields: &[Field<'_>],
) -> Result<Arc<str>, LocalReply> {
    let refused = || LocalReply::unauthorized(gate.realm());
    let said = credentials(fields).ok_or_else(refused)?;
    let user: Arc<str> = said.user.as_str().into();
    if gate.knows(&said) {
        return Ok(user);
    }
    let may_try = || gate.may_try(client).map_err(LocalReply::too_many_wrong);
    may_try()?;
    let attempt = Attempt {
        address: limiter::key(client),
        said: gate.fingerprint(&said),
    };
    let turn = worker.verifying.enter(app, attempt).await;
    let turn = turn.map_err(|busy| match busy {
        Busy::Address => LocalReply::too_many_wrong(Duration::from_secs(1)),
        Busy::App => LocalReply::too_many_log_in(),
    })?;
    // While it waited, the same may have been found right, or others of this address may have been wrong.
    if gate.knows(&said) {
        return Ok(user);
    }
    may_try()?;
    let Some(work) = turn.begin().await else {
        return Err(LocalReply::unroutable());
    };
    // It counts as wrong until it is found right: who goes away before is not let off.
    gate.counts(client).map_err(LocalReply::too_many_wrong)?;
    let asked = Arc::clone(gate);
    let looked = tokio::task::spawn_blocking(move || {
        // It ends with the work, also where nobody waits for it any more.
        let _work = work;
        let is_right = asked.lets_in(&said);
        if is_right {
            asked.takes_back(client);
        }
        is_right
    });
    match looked.await {
        Ok(true) => Ok(user),
        Ok(false) => Err(refused()),
        // It was not begun, since the server ends.
        Err(_) => Err(LocalReply::unroutable()),
    }
}

/// What the client says it is; `None` unless it says so once, in a form that can be right.
fn credentials(fields: &[Field<'_>]) -> Option<Credentials> {
    let mut said = fields.iter().filter(|f| f.is(Name::Authorization));
    let (Some(said), None) = (said.next(), said.next()) else {
        return None;
    };
    let text = std::str::from_utf8(said.value).ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || rest.len() > LONGEST {
        return None;
    }
    let decoded = STANDARD.decode(rest.trim()).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    Some(Credentials {
        user: std::str::from_utf8(&decoded[..colon]).ok()?.to_owned(),
        password: decoded[colon + 1..].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(values: &[&str]) -> Option<(String, String)> {
        let fields: Vec<_> = values
            .iter()
            .map(|value| Field::new("authorization", value.as_bytes()).unwrap())
            .collect();
        let said = credentials(&fields)?;
        Some((said.user, String::from_utf8(said.password).unwrap()))
    }

    #[test]
    fn credentials_are_a_name_and_a_password_in_base64() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(said(&["Basic YW5uOnNlc2FtZQ=="]), pair("ann", "sesame"));
        assert_eq!(said(&["bASIC  YW5uOnNlc2FtZQ=="]), pair("ann", "sesame"));
        assert_eq!(said(&["Basic YTpiOmM="]), pair("a", "b:c"));
        assert_eq!(said(&["Basic Og=="]), pair("", ""));
        let long = format!("Basic {}", "A".repeat(60_000));
        for wrong in [
            "",
            "Basic",
            "Basic ",
            "Basic YW5u",
            "Bearer YW5uOnNlc2FtZQ==",
            "Basic YW5uOnNlc2FtZQ",
            "Basic %%%%",
            "Basic /zo=",
            &long,
        ] {
            assert_eq!(said(&[wrong]), None, "{}", &wrong[..wrong.len().min(40)]);
        }
        assert_eq!(said(&["Basic YTpi", "Basic YTpi"]), None);
        assert_eq!(said(&[]), None);
    }
}
