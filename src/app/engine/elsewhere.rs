//! What an application leaves on other machines: processes that no App knows of, its volumes, and images of releases that
//! are gone.

use std::time::Duration;

use futures::future::join_all;

use super::outlived::elsewhere;
use crate::app::context::AppContext;
use crate::document::config::StopPolicy;
use crate::document::name::AppName;
use crate::events::Report;
use crate::swarm::EngineError;
use crate::swarm::chore::Chore;
use crate::swarm::image::OnNodes;
use crate::swarm::swarm::Swarm;

/// How long is waited after a swarm could not be listed.
const PAUSE: Duration = Duration::from_secs(10);

/// Ends what other engines run of an app that has no App, however long they do not answer: nobody else would end it.
pub async fn end(app: AppName, context: AppContext) {
    let mut is_told = false;
    while let Err(error) = try_end(&app, &context).await {
        if !std::mem::replace(&mut is_told, true) {
            log::warn!("{app}: what the swarm runs of it is not ended yet: {error}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// As [`end`], unless they do not answer.
///
/// # Errors
/// [`EngineError`].
pub async fn try_end(app: &AppName, context: &AppContext) -> Result<(), EngineError> {
    let is_there = on_nodes(app, context).await.is_some();
    loop {
        let found = elsewhere(app.to_string(), is_there, context).await;
        if let Some(error) = found.error {
            return Err(error);
        }
        let units = found.units.into_iter().map(|unit| unit.left);
        let one_offs = found.one_offs.into_iter().map(|one_off| one_off.left);
        // The document is gone, and with it what it said about stopping; a swarm has its own copy of that.
        let ends = units.chain(one_offs);
        let ends: Vec<_> = ends.map(|left| left.end(StopPolicy::default())).collect();
        if ends.is_empty() {
            return Ok(());
        }
        join_all(ends).await;
    }
}

/// Removes the volumes of an app that is removed, and its images, on all nodes of the swarm. It takes minutes at most, and
/// holds nothing up for ever: what is left is reported.
pub async fn remove_volumes(app: AppName, context: AppContext) {
    let Some(swarm) = &context.swarm else { return };
    // Without an image it has not been on the swarm as long as its releases are old.
    let Some(present) = on_nodes(&app, &context).await else {
        return;
    };
    let volumes = ["storage", "home"].map(|what| Swarm::volume(&swarm.server, &app, what));
    let left = |node: Option<String>, reason: String| {
        context.events.report(Report::VolumesLeft {
            app: app.as_str().into(),
            node,
            reason,
            next: format!("type \"docker volume rm {}\" there", volumes.join(" ")),
        });
    };
    let chore = Chore {
        app: app.clone(),
        volumes: volumes.to_vec(),
        images: Some((present.repository, vec![])),
    };
    match swarm.do_everywhere(&chore, &present.newest).await {
        Ok(nodes) => nodes
            .into_iter()
            .for_each(|(node, why)| left(Some(node), why)),
        Err(error) => left(None, error.to_string()),
    }
}

/// Removes the images of releases that are gone: here, and where that took any, on all nodes of the swarm.
pub async fn sweep_images(app: AppName, context: AppContext) {
    let Some(images) = &context.images else {
        return;
    };
    let before = on_nodes(&app, &context).await;
    images.sweep().await;
    let (Some(before), Some(after)) = (before, on_nodes(&app, &context).await) else {
        return;
    };
    let Some(swarm) = &context.swarm else { return };
    if before.kept.iter().all(|digest| after.kept.contains(digest)) {
        return;
    }
    let chore = Chore {
        app: app.clone(),
        volumes: vec![],
        images: Some((after.repository, after.kept)),
    };
    // The next time takes what is left.
    match swarm.do_everywhere(&chore, &after.newest).await {
        Ok(left) => {
            for (node, why) in left {
                log::debug!("{app}: old images may be left on node {node}: {why}");
            }
        }
        Err(error) => log::debug!("{app}: old images are left on the nodes of the swarm: {error}"),
    }
}

async fn on_nodes(app: &AppName, context: &AppContext) -> Option<OnNodes> {
    let (images, name) = (context.images.clone()?, app.clone());
    let found = actix_rt::task::spawn_blocking(move || images.on_nodes(&name)).await;
    let found = found.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    found.unwrap_or_else(|error| {
        log::warn!("{app}: cannot look for its images: {error}");
        None
    })
}
