//! What an application leaves on other machines: processes that no App knows of, its volumes, and images of releases that
//! are gone.

use std::io;
use std::time::Duration;

use actix_rt::task::spawn_blocking;
use futures::future::join_all;

use super::outlived::elsewhere;
use crate::app::context::AppContext;
use crate::document::config::StopPolicy;
use crate::document::name::AppName;
use crate::events::Report;
use crate::swarm::EngineError;
use crate::swarm::chore::Chore;
use crate::swarm::image::{Images, OnNodes};
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
    let Some(swarm) = &context.swarm else {
        return Ok(());
    };
    // One that was never there does not wait for an engine that does not answer.
    let is_there = has_volumes(app, swarm).await || on_nodes(app, context).await.is_some();
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
            break;
        }
        join_all(ends).await;
    }
    let (known, app) = (swarm.known.clone(), app.to_string());
    let _forgotten = spawn_blocking(move || known.forget_app(&app)).await;
    Ok(())
}

/// Removes the volumes of an app that is removed, and its images, on all nodes of the swarm. It takes minutes at most, and
/// holds nothing up for ever: what is left is reported.
pub async fn remove_volumes(app: AppName, context: AppContext) {
    let Some(swarm) = &context.swarm else { return };
    let own = on_nodes(&app, &context).await;
    if own.is_none() && !has_volumes(&app, swarm).await {
        return;
    }
    let tool = match own {
        Some(own) => Some(own),
        None => image_of_another(&app, &context).await,
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
    let removed = match tool {
        Some(tool) => {
            let chore = Chore {
                app: app.clone(),
                volumes: volumes.to_vec(),
                images: Some((tool.repository, vec![])),
            };
            let done = swarm.do_everywhere(&chore, &tool.newest).await;
            done.map_err(|error| error.to_string())
        }
        None => Err("no image is left with which nodes would remove them".to_owned()),
    };
    match removed {
        Ok(nodes) => nodes
            .into_iter()
            .for_each(|(node, why)| left(Some(node), why)),
        Err(why) => left(None, why),
    }
    let notes = swarm.volume_notes.clone();
    let _forgotten = spawn_blocking(move || notes.forget(&app)).await;
}

/// Whether an app may have volumes on the swarm, although no release of its that ran there is left.
async fn has_volumes(app: &AppName, swarm: &Swarm) -> bool {
    let (notes, app) = (swarm.volume_notes.clone(), app.clone());
    spawn_blocking(move || notes.has(&app))
        .await
        .unwrap_or_default()
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
    found(app, context, Images::on_nodes).await
}

async fn image_of_another(app: &AppName, context: &AppContext) -> Option<OnNodes> {
    found(app, context, Images::of_another).await
}

async fn found(
    app: &AppName,
    context: &AppContext,
    look: fn(&Images, &AppName) -> io::Result<Option<OnNodes>>,
) -> Option<OnNodes> {
    let (images, name) = (context.images.clone()?, app.clone());
    let found = spawn_blocking(move || look(&images, &name)).await;
    let found = found.unwrap_or_else(|error| Err(io::Error::other(error)));
    found.unwrap_or_else(|error| {
        log::warn!("{app}: cannot look for its images: {error}");
        None
    })
}
