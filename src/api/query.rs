//! [`Query`]: the parameters of a request. An unknown one is an error, never ignored.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use jiff::Timestamp;

use super::problem::Problem;

#[derive(Debug)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads the parameters. One that is not `known` is an error: it may be misspelt.
    pub(super) fn read(request: &HttpRequest, known: &[&str]) -> Result<Self, Problem> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map_err(|error| {
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    format!("The query cannot be read: {error}"),
                )
            })?
            .into_inner();
        let mut parameters = BTreeMap::new();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                let detail = format!("is not known here: known are {}", known.join(", "));
                return Err(invalid(&name, &detail));
            }
            parameters.insert(name, value);
        }
        Ok(Self(parameters))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Parses the parameter `name`. If `parse` fails, it returns what is allowed, such as `must be a number`.
    pub(super) fn parse<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, Problem> {
        self.text(name)
            .map(|text| parse(text).map_err(|wanted| invalid(name, wanted)))
            .transpose()
    }

    /// Reads a boolean; `?name` alone is true.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        self.parse(name, |text| match text {
            "true" | "1" | "" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("must be true or false"),
        })
    }
}

/// A time, or how long ago.
pub(super) fn moment(text: &str) -> Result<Timestamp, &'static str> {
    // A plus that is not escaped comes as a space: `date --iso-8601=seconds` has one.
    if let Ok(time) = text.parse().or_else(|_| text.replace(' ', "+").parse()) {
        return Ok(time);
    }
    humantime::parse_duration(text)
        .ok()
        .and_then(|ago| Timestamp::now().checked_sub(ago).ok())
        .ok_or("must be a time such as \"2026-11-22T10:15:30Z\", or how long ago, such as \"10m\"")
}

fn invalid(name: &str, detail: &str) -> Problem {
    let shown: String = name.chars().take(80).collect();
    let detail = format!("Parameter \"{shown}\" {detail}.");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn query(text: &str) -> Result<Query, Problem> {
        let request = TestRequest::with_uri(&format!("/x?{text}")).to_http_request();
        Query::read(&request, &["tail", "follow"])
    }

    #[test]
    fn parameters_are_decoded_and_unknown_ones_refused() {
        let read = query("tail=a%20b&follow").unwrap();
        assert_eq!(read.text("tail"), Some("a b"));
        assert_eq!(read.flag("follow"), Ok(Some(true)));
        assert!(query("").unwrap().text("tail").is_none());
        assert!(query("follow=maybe").unwrap().flag("follow").is_err());
        assert!(query("folow=true").is_err());
    }
}
