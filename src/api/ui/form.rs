//! [`Form`]: what a form sends. There is no other way to read one, so each is one that this browser was shown.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};

use super::visitor::Visitor;
use crate::api::problem::Problem;

/// The name of the field that all forms have.
const KEY: &str = "form_key";

const LARGEST: usize = 256 << 10;
const MOST_FIELDS: usize = 1000;

/// The fields of a form, in order.
#[derive(Debug)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads one of a browser of which nobody knows who uses it; whoever calls this looks at the key.
    pub(super) async fn read(
        request: &HttpRequest,
        payload: &mut Payload,
    ) -> Result<Self, Problem> {
        let essence = request.content_type();
        if essence != "application/x-www-form-urlencoded" {
            let detail = "This is no form of the dashboard.";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let unread =
            |status| Problem::new(status, "The form could not be read: go back and try again.");
        let payload = web::Payload::from_request(request, payload).await;
        let payload = payload.map_err(|_| unread(StatusCode::BAD_REQUEST))?;
        let body = match payload.to_bytes_limited(LARGEST).await {
            Ok(Ok(body)) => body,
            Ok(Err(_broken)) => return Err(unread(StatusCode::BAD_REQUEST)),
            Err(_exceeded) => return Err(unread(StatusCode::PAYLOAD_TOO_LARGE)),
        };
        let text = std::str::from_utf8(&body).map_err(|_| unread(StatusCode::BAD_REQUEST))?;
        let fields = web::Query::<Vec<(String, String)>>::from_query(text);
        let fields = fields
            .map_err(|_| unread(StatusCode::BAD_REQUEST))?
            .into_inner();
        match fields.len() <= MOST_FIELDS {
            true => Ok(Self(fields)),
            false => Err(unread(StatusCode::PAYLOAD_TOO_LARGE)),
        }
    }

    /// The key, which every form carries.
    pub(super) fn key(&self) -> &str {
        self.text(KEY)
    }

    /// The field, or nothing.
    pub(super) fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.0.iter().filter(|(name, _)| name != KEY);
        fields.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The error of a form that is not of a page that this browser was shown.
pub(super) fn stale() -> Problem {
    let detail =
        "This form is too old, or of another page: go back, load the page again and try once more.";
    Problem::new(StatusCode::FORBIDDEN, detail)
}

impl FromRequest for Form {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let visitor = request.extensions().get::<Visitor>().cloned();
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let visitor = visitor.ok_or_else(stale)?;
            let form = Self::read(&request, &mut payload).await?;
            // Without a key there is nothing that a form could carry.
            match !visitor.form_key.is_empty() && visitor.has_sent(form.key()) {
                true => Ok(form),
                false => Err(stale()),
            }
        })
    }
}
