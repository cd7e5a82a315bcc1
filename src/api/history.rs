//! `GET /-/history` and `GET /applications/A/history`: what was counted over the last day, as plots show it.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::caller::Caller;
use super::problem::Problem;
use super::query::{Query, moment};
use super::state::{ApiState, ask_child};
use crate::app::apps::Find;
use crate::history::recorder::{Now, Points, Since};
use crate::history::series::Point;

/// What is told where nobody says since when, and all that is kept.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Points, oldest first. A step in which no server ran has none.
#[derive(Debug, Serialize)]
struct Shown {
    step_seconds: u64,
    points: Vec<ShownPoint>,
}

#[derive(Debug, Serialize)]
struct ShownPoint {
    /// Where the step begins.
    time: Timestamp,
    /// How much of the step was seen: less where a server started or stopped in it, and in the newest.
    seconds: f64,
    #[serde(flatten)]
    rates: Rates,
    requests: u64,
    status_4xx: u64,
    status_5xx: u64,
    /// `null`: nothing was timed.
    p50_seconds: Option<f64>,
    p95_seconds: Option<f64>,
    p99_seconds: Option<f64>,
    processes: u64,
    restarts: u64,
}

/// What a point or the present is, by the second.
#[derive(Debug, Serialize)]
struct Rates {
    requests_per_second: f64,
    memory_bytes: u64,
    /// Of one CPU: 200 is two of them.
    cpu_percent: f64,
}

/// The present of an application.
#[derive(Debug, Serialize)]
struct ShownNow {
    #[serde(flatten)]
    rates: Rates,
    /// Of the newest minute or two.
    requests: u64,
    status_4xx: u64,
    status_5xx: u64,
    p95_seconds: Option<f64>,
    processes: u64,
}

#[derive(Debug, Serialize)]
struct OfServer {
    /// Left out for who sees some of the applications alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerShown>,
    applications: BTreeMap<Arc<str>, ShownNow>,
}

#[derive(Debug, Serialize)]
struct ServerShown {
    now: ShownNow,
    #[serde(flatten)]
    history: Shown,
}

/// Of one application.
pub(super) async fn show(
    request: HttpRequest,
    state: Data<ApiState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let since = since(&request)?;
    let name = name.into_inner();
    let _is_there = state.ask_apps(Find(name.clone())).await??;
    let points = ask(&state, Some(name.into()), since).await?;
    Ok(HttpResponse::Ok().json(shown(points)))
}

/// Of the server, and what each application does now.
pub(super) async fn show_all(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let since = since(&request)?;
    let present = ask_child(&state.history, Now).await?;
    let apps = present.apps.into_iter().filter(|(app, _)| caller.sees(app));
    let applications = apps.map(|(app, point)| (app, shown_now(&point))).collect();
    let server = match caller.is_bound() {
        true => None,
        false => Some(ServerShown {
            now: shown_now(&present.server),
            history: shown(ask(&state, None, since).await?),
        }),
    };
    Ok(HttpResponse::Ok().json(OfServer {
        server,
        applications,
    }))
}

fn since(request: &HttpRequest) -> Result<i64, Problem> {
    let since = Query::read(request, &["since"])?.parse("since", moment)?;
    let day = || Timestamp::now() - DAY;
    Ok(since.unwrap_or_else(day).as_second())
}

async fn ask(state: &ApiState, app: Option<Arc<str>>, since: i64) -> Result<Points, Problem> {
    Ok(ask_child(&state.history, Since { app, since }).await?)
}

fn shown(Points { seconds, points }: Points) -> Shown {
    Shown {
        step_seconds: seconds,
        points: points
            .iter()
            .filter_map(|point| shown_point(seconds, point))
            .collect(),
    }
}

/// `None` where its time is none: a file that somebody wrote may say anything.
fn shown_point(seconds: u64, point: &Point) -> Option<ShownPoint> {
    let begin = point.step.checked_mul(seconds)?;
    Some(ShownPoint {
        time: Timestamp::from_second(begin.try_into().ok()?).ok()?,
        seconds: point.millis as f64 / 1e3,
        rates: rates(point),
        requests: point.requests,
        status_4xx: point.status_4xx,
        status_5xx: point.status_5xx,
        p50_seconds: in_seconds(point.p50),
        p95_seconds: in_seconds(point.p95),
        p99_seconds: in_seconds(point.p99),
        processes: point.processes,
        restarts: point.restarts,
    })
}

fn shown_now(point: &Point) -> ShownNow {
    ShownNow {
        rates: rates(point),
        requests: point.requests,
        status_4xx: point.status_4xx,
        status_5xx: point.status_5xx,
        p95_seconds: in_seconds(point.p95),
        processes: point.processes,
    }
}

fn rates(point: &Point) -> Rates {
    let rounded = |number: f64| (number * 1e3).round() / 1e3;
    Rates {
        requests_per_second: rounded(point.requests_per_second()),
        memory_bytes: point.memory_bytes,
        cpu_percent: rounded(point.cpus() * 1e2),
    }
}

fn in_seconds(micros: u64) -> Option<f64> {
    (micros > 0).then_some(micros as f64 / 1e6)
}
