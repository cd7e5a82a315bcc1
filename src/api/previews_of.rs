//! Which previews an application has.

use super::problem::Problem;
use super::state::ApiState;
use crate::app::apps::List;
use crate::app::status::Summary;

/// The previews of an application.
pub(super) async fn of(state: &ApiState, app: &str) -> Result<Vec<Summary>, Problem> {
    let mut all = state.ask_apps(List).await?;
    let is_of_app = |summary: &Summary| summary.preview.as_ref().is_some_and(|p| *p.of == *app);
    all.retain(is_of_app);
    Ok(all)
}

/// The names of applications, for a text.
pub(super) fn names(of: &[Summary]) -> String {
    let names: Vec<&str> = of.iter().map(|one| one.name.as_str()).collect();
    names.join(", ")
}
