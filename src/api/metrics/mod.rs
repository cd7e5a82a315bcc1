//! `GET /metrics`: what there is to measure, as Prometheus reads it.
//!
//! `gather` asks everybody, `families` says what that is called, `exposition` writes it down. What was gathered is good
//! for a second, for all who ask (`shared`): many who ask at once cost as much as one. `listener` answers it without a
//! token where `metrics_listen` says so. `reading` takes the part of it that is kept for plots ([`crate::history`]).

mod exposition;
mod families;
mod gather;
pub mod listener;
pub mod reading;
pub mod shared;

use std::time::{Duration, Instant};

use actix_web::http::header;
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};

use super::caller::Caller;
use super::problem::Problem;
use super::state::ApiState;
use exposition::{Families, Format};
use shared::Page;

/// How long what was gathered is good.
const FRESH: Duration = Duration::from_secs(1);

/// Answers who may see all, or some of the applications.
pub(super) async fn show(
    request: HttpRequest,
    caller: Caller,
    state: Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let format = Format::wanted(request.headers());
    let text = match caller.is_bound() {
        false => whole(&state, format).await?,
        true => {
            let all = up_to_date(&state, &mut *state.metrics.page.lock().await).await?;
            write(format, move || all.only_of_apps(|app| caller.sees(app))).await?
        }
    };
    Ok(answer(format, text))
}

/// Answers at `metrics_listen`.
async fn show_to_all(request: HttpRequest, state: Data<ApiState>) -> Result<HttpResponse, Problem> {
    let format = Format::wanted(request.headers());
    Ok(answer(format, whole(&state, format).await?))
}

fn answer(format: Format, text: Bytes) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, format.content_type()))
        .insert_header((header::VARY, "Accept"))
        .body(text)
}

/// Everything. Whoever asks meanwhile waits for the same text.
async fn whole(state: &ApiState, format: Format) -> Result<Bytes, Problem> {
    let page = &mut *state.metrics.page.lock().await;
    let families = up_to_date(state, page).await?;
    let text = &mut page.texts[format as usize];
    if let Some(text) = text {
        return Ok(text.clone());
    }
    let written = write(format, move || families).await?;
    Ok(text.insert(written).clone())
}

async fn up_to_date(state: &ApiState, page: &mut Page) -> Result<Families, Problem> {
    if page.made.is_none_or(|made| made.elapsed() >= FRESH) {
        let facts = gather::gather(state).await?;
        let families = web::block(move || families::of(&facts)).await;
        *page = Page {
            made: Some(Instant::now()),
            families: families.map_err(|e| Problem::unavailable(&e.to_string()))?,
            texts: Default::default(),
        };
    }
    Ok(page.families.clone())
}

/// Writes on a blocking thread: of some hundred applications it is megabytes.
async fn write(
    format: Format,
    families: impl FnOnce() -> Families + Send + 'static,
) -> Result<Bytes, Problem> {
    let written = web::block(move || format.write(families())).await;
    let text = written.map_err(|e| Problem::unavailable(&e.to_string()))?;
    let text = text.map_err(|e| Problem::unavailable(&format!("The metrics: {e}.")))?;
    Ok(text.into())
}
