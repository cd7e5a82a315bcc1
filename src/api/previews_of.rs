//! Which previews an application has.

use super::caller::Caller;
use super::problem::Problem;
use super::state::ApiState;
use crate::app::apps::PreviewsOf;
use crate::app::status::Summary;
use crate::document::name::AppName;

/// The previews of an application, those of its webhook among them whoever calls.
pub(super) async fn of(state: &ApiState, app: &AppName) -> Result<Vec<Summary>, Problem> {
    state.ask_apps(PreviewsOf(app.clone())).await
}

/// Those of them that are there for `caller`.
pub(super) async fn seen_by(
    caller: &Caller,
    state: &ApiState,
    app: &AppName,
) -> Result<Vec<Summary>, Problem> {
    let mut all = of(state, app).await?;
    all.retain(|one| caller.sees(&one.name));
    Ok(all)
}

/// The names of applications, for a text.
pub(super) fn names(of: &[Summary]) -> String {
    let names: Vec<&str> = of.iter().map(|one| one.name.as_str()).collect();
    names.join(", ")
}
