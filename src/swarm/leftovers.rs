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
        let label = format!("{}={server}", labels::SERVER);
        for service in self.services(&label).await? {
            self.remove(&service.id.unwrap_or_default()).await?;
        }
        while self.clear_volumes(server).await? | self.clear_images(repository).await? {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
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

/// Whether it stays for now; what is gone already is as good as removed. An engine that takes long to remove a large image
/// goes on with it.
fn is_held<T>(removed: Result<T, EngineError>) -> Result<bool, EngineError> {
    match removed {
        Ok(_) | Err(EngineError::NotFound(_)) => Ok(false),
        Err(EngineError::Conflict(_) | EngineError::Late(..)) => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_takes_long_to_remove_is_asked_again() {
        let failed = |error| is_held::<()>(Err(error));
        assert_eq!(is_held(Ok(())), Ok(false));
        assert_eq!(failed(EngineError::NotFound("it".into())), Ok(false));
        assert_eq!(failed(EngineError::Conflict("used".into())), Ok(true));
        assert_eq!(failed(EngineError::Late("/s".into(), 10)), Ok(true));
        let refused = EngineError::Refused("no".into());
        assert_eq!(failed(refused.clone()), Err(refused));
    }
}
