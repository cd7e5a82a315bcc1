//! The pages, one file for each kind: what it shows, and the forms in it.

pub(super) mod app;
pub(super) mod apps;
pub(super) mod cron;
pub(super) mod deployments;
pub(super) mod domains;
pub(super) mod env;
pub(super) mod events;
pub(super) mod logs;
pub(super) mod releases;
pub(super) mod runs;
pub(super) mod server;

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::web::{Data, Query};
use actix_web::{FromRequest, HttpRequest};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::calls::{Call, Calls};
use super::page::Page;
use super::visitor::Visitor;
use crate::api::problem::Problem;

/// What a page is made with.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) request: HttpRequest,
    pub(super) visitor: Visitor,
    pub(super) calls: Data<Calls>,
}

impl Desk {
    fn page(&self, title: impl Into<String>, section: &'static str) -> Page {
        Page::new(title, section, &self.visitor)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        self.calls.get(&self.request, &self.visitor, path).await
    }

    async fn lines(&self, path: &str) -> Result<Vec<super::shown::Line>, Problem> {
        self.calls.lines(&self.request, &self.visitor, path).await
    }

    async fn change(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Problem> {
        let call = Call::new(method, path, "application/json").sending(body);
        self.calls.change(&self.request, &self.visitor, call).await
    }

    /// A parameter of the page.
    pub(super) fn asked(&self, name: &str) -> String {
        let query = self.request.query_string();
        let pairs = Query::<Vec<(String, String)>>::from_query(query);
        let pairs = pairs.map(Query::into_inner).unwrap_or_default();
        let found = pairs.into_iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value).unwrap_or_default()
    }
}

/// A part of a path of the API.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Whether a text has what is looked for, whatever the case.
fn has(text: &str, wanted: &str) -> bool {
    text.to_lowercase().contains(&wanted.to_lowercase())
}

impl FromRequest for Desk {
    type Error = Problem;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let visitor = Visitor::from_request(request, payload).into_inner();
        let calls = request.app_data::<Data<Calls>>().cloned();
        let unavailable = || Problem::unavailable("The API is not ready.");
        ready(visitor.and_then(|visitor| {
            Ok(Self {
                request: request.clone(),
                visitor,
                calls: calls.ok_or_else(unavailable)?,
            })
        }))
    }
}
