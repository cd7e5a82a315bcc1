//! [`PreviewRequest`]: the body of `POST /applications/A/previews`, as typed and as true (pure).

use std::time::Duration;

use serde_json::Value;

use super::config::FieldError;
use super::read::EXPIRES;
use super::walk::Walk;

/// A branch that is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewRequest {
    pub branch: String,
    /// `None`: as the application's document says.
    pub expires: Option<Duration>,
}

impl PreviewRequest {
    /// # Errors
    /// Every field that is wrong, unknown ones included. Whether there can be such a branch the document's rules say.
    pub fn read(body: &Value) -> Result<Self, Vec<FieldError>> {
        let mut walk = Walk::default();
        match read(&mut walk, body) {
            Some(request) if walk.errors.is_empty() => Ok(request),
            _ => Err(walk.errors),
        }
    }
}

fn read(walk: &mut Walk, body: &Value) -> Option<PreviewRequest> {
    let top = walk.object(body, String::new(), &["branch", "expires"])?;
    if top.get("branch").is_none() {
        walk.report(top.pointer("branch"), "is required: the name of a branch");
    }
    let branch = walk.text(&top, "branch", |text| match text.trim().is_empty() {
        true => Err("is empty: name a branch"),
        false => Ok(text.to_owned()),
    });
    let expires = walk.optional(&top, "expires", EXPIRES, Walk::seconds);
    Some(PreviewRequest {
        branch: branch?,
        expires,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_names_a_branch() {
        let request = PreviewRequest::read(&json!({"branch": "feature/x", "expires": "2d"}));
        let expires = Some(Duration::from_secs(2 * 86_400));
        let branch = "feature/x".to_owned();
        assert_eq!(request, Ok(PreviewRequest { branch, expires }));
        for wrong in [
            json!({}),
            json!({"branch": " "}),
            json!({"branch": 1}),
            json!({"branch": "x", "expires": "1s"}),
            json!({"branch": "x", "for": "1d"}),
            json!("x"),
        ] {
            let errors = PreviewRequest::read(&wrong).unwrap_err();
            assert_eq!(errors.len(), 1, "{wrong}: {errors:?}");
        }
    }
}
