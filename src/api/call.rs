//! [`Call`]: a method of a resource, with what it needs of its caller. There is no other way to declare one.

use actix_web::dev::ServiceRequest;
use actix_web::guard::{self, Guard};
use actix_web::middleware::{Next, from_fn};
use actix_web::web;
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, Route};

use super::needs::{self, Needs};
use super::problem::Problem;

/// A method of a resource.
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) needs: Needs,
    route: Route,
}

impl Call {
    fn new<F, A>(method: &'static str, guard: impl Guard + 'static, needs: Needs, to: F) -> Self
    where
        F: Handler<A>,
        A: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let checked = from_fn(move |request: ServiceRequest, next: Next<_>| {
            needs::require(needs, request, next)
        });
        Self {
            method,
            needs,
            route: web::route().guard(guard).to(to).wrap(checked),
        }
    }
}

macro_rules! methods {
    ($($name:ident, $method:literal, $guard:expr;)*) => {$(
        pub(super) fn $name<F, A>(needs: Needs, to: F) -> Call
        where
            F: Handler<A>,
            A: FromRequest + 'static,
            F::Output: Responder + 'static,
        {
            Call::new($method, $guard, needs, to)
        }
    )*};
}

methods! {
    get, "GET", get_or_head();
    post, "POST", guard::Post();
    put, "PUT", guard::Put();
    patch, "PATCH", guard::Patch();
    delete, "DELETE", guard::Delete();
}

/// GET, and HEAD, whose body actix-http leaves out.
pub(super) fn get_or_head() -> impl Guard {
    guard::fn_guard(|context| guard::Get().check(context) || guard::Head().check(context))
}

/// A resource that answers 405 to every method it has no call for.
pub(super) fn resource(path: &str, calls: Vec<Call>) -> Resource {
    let methods = calls.iter().map(|call| match call.method {
        "GET" => "GET, HEAD",
        other => other,
    });
    let allow = methods.collect::<Vec<_>>().join(", ");
    let resource = web::resource(path).default_service(only(allow));
    calls
        .into_iter()
        .fold(resource, |resource, call| resource.route(call.route))
}

/// Answers 405 with `allow`.
pub(super) fn only(allow: String) -> Route {
    web::to(move |request: HttpRequest| {
        let problem = Problem::method_not_allowed(request.method().as_str(), &allow);
        std::future::ready(Err::<HttpResponse, _>(problem))
    })
}
