//! The dashboard: pages for people, made of what the API answers.
//!
//! [`door`] lets a browser in that has logged in (`login`, [`sessions`]), or one that `procserver dashboard` vouches for.
//! A page ([`pages`]) calls the API as its visitor ([`calls`]) and shows what comes back by a template; a form is read by
//! `form` alone, and does what it does by such a call. So nothing here has rights or masks of its own. What is live comes
//! by [`live`] to a script that refreshes parts of the page, and without the script the page is the same, once.

pub mod sessions;
pub mod watchers;

mod assets;
pub(super) mod calls;
mod door;
mod error_page;
mod form;
mod live;
mod login;
mod page;
mod pages;
mod plots;
mod secret;
mod session_table;
mod shown;
mod visitor;
mod words;

use actix_web::Route;
use actix_web::dev::HttpServiceFactory;
use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig, post};

use super::call::get_or_head;
use super::problem::Problem;
use pages::{app, apps, cron, deployments, domains, env, events, logs, releases, runs, server};

/// `/ui`, on hosts of the API.
pub(super) fn for_browsers() -> impl HttpServiceFactory {
    web::scope("/ui")
        .wrap(from_fn(door::of_browsers))
        .wrap(door::headers())
        .route("/login", get().to(login::show))
        .route("/login", post().to(login::log_in))
        .route("/logout", post().to(login::log_out))
        .configure(all)
        .default_service(web::to(unknown))
}

/// `/-/ui`, for the command line.
pub(super) fn for_the_command_line() -> impl HttpServiceFactory {
    web::scope("/-/ui")
        .wrap(from_fn(door::of_the_command_line))
        .wrap(door::headers())
        .configure(all)
        .default_service(web::to(unknown))
}

fn all(config: &mut ServiceConfig) {
    config
        .route("", get().to(apps::show))
        .route("/", get().to(apps::show))
        .route("/assets/{name}", get().to(assets::show))
        .route("/server", get().to(server::show))
        .route("/audit", get().to(server::audit))
        .route("/events", get().to(events::show))
        .route("/events/stream", get().to(live::events))
        .route("/certificates/{name}/renew", post().to(domains::renew))
        .service(web::scope("/apps/{name:[a-z0-9][a-z0-9-]*}").configure(of_app));
}

fn of_app(config: &mut ServiceConfig) {
    config
        .route("", get().to(app::show))
        .route("/scale", post().to(app::scale))
        .route("/deployments", get().to(deployments::list))
        .route("/deployments/{id}", get().to(deployments::show))
        .route("/deployments/{id}/cancel", post().to(deployments::cancel))
        .route("/releases", get().to(releases::list))
        .route("/logs", get().to(logs::show))
        .route("/logs/stream", get().to(live::log))
        .route("/events", get().to(events::of_app))
        .route("/env", get().to(env::show))
        .route("/env", post().to(env::set))
        .route("/env/reveal", post().to(env::reveal))
        .route("/domains", get().to(domains::show))
        .route("/domains", post().to(domains::set))
        .route("/cron", get().to(cron::show))
        .route("/cron/{job}/run", post().to(cron::start))
        .route("/run", get().to(runs::list))
        .route("/run", post().to(runs::start))
        .route("/run/{id}", get().to(runs::show))
        .route("/run/{id}/end", post().to(runs::end))
        .route(
            "/{action:start|stop|restart|redeploy|rollback}",
            post().to(app::act),
        );
}

fn get() -> Route {
    web::route().guard(get_or_head())
}

async fn unknown() -> Result<actix_web::HttpResponse, Problem> {
    let detail = "There is no such page.";
    Err(Problem::new(StatusCode::NOT_FOUND, detail))
}
