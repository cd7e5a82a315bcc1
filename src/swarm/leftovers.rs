//! What a server that does not come back has left on its engine. Whoever calls bounds the time.

use std::time::Duration;

use bollard::query_parameters::{
    ListImagesOptions, ListVolumesOptions, RemoveImageOptions, RemoveVolumeOptions,
};

use super::client::{Client, EngineError};
use super::labels;

/// Between two looks whether the engine has let go of a volume or an image: containers of a service that was removed end
/// in their own time.
const PAUSE: Duration = Duration::from_millis(200);

impl Client {
    /// Removes the services of `server`, then its volumes on this engine's machine, and the images there of
    /// `repository` (`HOST:PORT/NAME`).
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn clear(&self, server: &str, repository: &str) -> Result<(), EngineError> {
        loop {
            let services = is_late(self.clear_services(server).await)?;
            let volumes = is_late(self.clear_volumes(server).await)?;
            let images = is_late(self.clear_images(repository).await)?;
            if !(services || volumes || images) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// None is left.
    async fn clear_services(&self, server: &str) -> Result<bool, EngineError> {
        let label = format!("{}={server}", labels::SERVER);
        for service in self.services(&label).await? {
            self.remove(&service.id.unwrap_or_default()).await?;
        }
        Ok(false)
    }

    /// Whether some are left, since a container has them.
    async fn clear_volumes(&self, server: &str) -> Result<bool, EngineError> {
        let listed =
            self.call(async |docker| docker.list_volumes(None::<ListVolumesOptions>).await);
        let prefix = format!("procserver-{server}-");
        let names = listed.await?.volumes.unwrap_or_default().into_iter();
        let mut is_left = false;
        for name in names
            .map(|volume| volume.name)
            .filter(|name| name.starts_with(&prefix))
        {
            let options = None::<RemoveVolumeOptions>;
            let removed = self.call(async |docker| docker.remove_volume(&name, options).await);
            is_left |= is_held(removed.await)?;
        }
        Ok(is_left)
    }

    /// As above.
    async fn clear_images(&self, repository: &str) -> Result<bool, EngineError> {
        let listed = self.call(async |docker| docker.list_images(None::<ListImagesOptions>).await);
        let prefix = format!("{repository}@");
        let names = listed
            .await?
            .into_iter()
            .flat_map(|image| image.repo_digests);
        let mut is_left = false;
        for name in names.filter(|name| name.starts_with(&prefix)) {
            let options = None::<RemoveImageOptions>;
            let removed = self.call(async |docker| docker.remove_image(&name, options, None).await);
            is_left |= is_held(removed.await)?;
        }
        Ok(is_left)
    }
}

/// Whether it stays for now; what is gone already is as good as removed.
fn is_held<T>(removed: Result<T, EngineError>) -> Result<bool, EngineError> {
    match removed {
        Ok(_) | Err(EngineError::NotFound(_)) => Ok(false),
        Err(EngineError::Conflict(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether some are left, as `cleared` says, or since the engine has not answered in time: one that takes long to remove a
/// large image goes on with it.
fn is_late(cleared: Result<bool, EngineError>) -> Result<bool, EngineError> {
    match cleared {
        Err(EngineError::Late(..)) => Ok(true),
        cleared => cleared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_keeps_or_has_no_time_for_is_tried_again() {
        let held = |error| is_held::<()>(Err(error));
        assert_eq!(is_held(Ok(())), Ok(false));
        assert_eq!(held(EngineError::NotFound("it".into())), Ok(false));
        assert_eq!(held(EngineError::Conflict("used".into())), Ok(true));
        let refused = EngineError::Refused("no".into());
        assert_eq!(held(refused.clone()), Err(refused.clone()));
        let late = Err(EngineError::Late("/s".into(), 10));
        assert_eq!(is_late(late), Ok(true));
        assert_eq!(is_late(Ok(false)), Ok(false));
        assert_eq!(is_late(Err(refused.clone())), Err(refused));
    }
}
