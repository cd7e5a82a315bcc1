//! Warns of lost comments: a change through the API writes a document anew, without those that somebody put in by hand.

use actix_web::web;

use super::state::ApiState;
use crate::app::config_dir;
use crate::document::name::AppName;

/// Returns a warning if a change of the document of `name` removes comments. Call it before the change.
pub(super) async fn lost(state: &ApiState, name: &AppName) -> Vec<String> {
    let file = config_dir::path(&state.config_dir, name);
    let looked = web::block(move || {
        let has_comments = config_dir::has_comments(&file);
        has_comments.then(|| {
            format!(
                "the comments in {} are gone: a change through the API writes the document anew. To keep comments, edit that file instead",
                file.display()
            )
        })
    });
    // Blocking threads are missing only where the server ends.
    looked.await.ok().flatten().into_iter().collect()
}
