//! What a document says about the whole machine. Tokens for some applications may not change that.

use actix_web::http::StatusCode;
use serde_json::Value;

use super::caller::Caller;
use super::problem::Problem;
use crate::account::PER_APP;

/// Accounts of the machine and what they may do, what runs as root, names that other applications may have, and of which
/// one it is a preview: it is given the deploy key of that.
const FIELDS: [&str; 5] = ["user", "group", "packages", "domain", "preview"];

/// Refuses a `document` that says something else about the machine than the present one, `base`: who may be any user is
/// not kept from other applications.
pub(super) fn check(caller: &Caller, document: &Value, base: &Value) -> Result<(), Problem> {
    let Some(field) = FIELDS
        .iter()
        .find(|field| caller.is_bound() && differs(&document[**field], &base[**field]))
    else {
        return Ok(());
    };
    let detail = format!(
        "/{field}: is about the whole machine, and your token is for some applications only: leave it as it is, or use a \
         token without \"apps\"."
    );
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

fn differs(new: &Value, old: &Value) -> bool {
    // A user of its own lets an application do less than any other.
    let is_nothing = |value: &Value| {
        value.is_null() || value == PER_APP || value.as_array().is_some_and(Vec::is_empty)
    };
    new != old && !is_nothing(new)
}
