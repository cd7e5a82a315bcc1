//! `POST /-/notify/test`: a notice for each receiver, at once; answers what each said.

use actix_web::HttpResponse;
use actix_web::web::Data;
use futures::future::join_all;
use serde_json::json;

use super::problem::Problem;
use super::query::Query;
use super::state::ApiState;
use crate::notices::deliver;
use crate::notices::notice::Notice;
use crate::outgoing::post::NotTaken;

/// Of the server's receivers, or of those of `?app=` as well.
pub(super) async fn test(
    request: actix_web::HttpRequest,
    state: Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let query = Query::read(&request, &["app"])?;
    let app = query.parse("app", |name| Ok::<_, &str>(name.to_owned()))?;
    if let Some(app) = &app {
        // 404 where there is none.
        let _mask = state.mask_of(app).await?;
    }
    let (receivers, _) = state.receivers.of(app.as_deref());
    let notice = Notice::test(app.map(Into::into), jiff::Timestamp::now());
    let tried = receivers.iter().map(|receiver| async {
        let shown = receiver.to.shown();
        match deliver::once(&receiver.to, &notice, &state.receivers).await {
            Ok(()) => json!({"receiver": shown, "taken": true}),
            Err(NotTaken::Refused(why) | NotTaken::Failed(why, _)) => {
                json!({"receiver": shown, "taken": false, "error": why})
            }
        }
    });
    Ok(HttpResponse::Ok().json(join_all(tried).await))
}
