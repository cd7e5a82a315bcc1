//! What an application leaves on other machines: its volumes, and images of releases that are gone.

use crate::app::context::AppContext;
use crate::document::name::AppName;
use crate::events::Report;
use crate::swarm::chore::Chore;
use crate::swarm::image::OnNodes;
use crate::swarm::swarm::Swarm;

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
