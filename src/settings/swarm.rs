//! What `[engine.swarm]` becomes.

use super::error::SettingsError;
use super::raw::RawSwarm;
use super::swarm_value::{BaseImageValue, RegistryUrl, VolumesValue};
use crate::document::drain;
use crate::regular;
use crate::swarm::image::Origin;
use crate::swarm::image::host::Reached;
use crate::swarm::image::registry::Registry;
use crate::swarm::settings::SwarmSettings;

/// The swarm of the settings; `None`: they name none. `reached`: how the API is, if not by its socket alone.
pub(super) fn resolve(
    raw: RawSwarm,
    reached: Option<Reached<'_>>,
) -> Result<Option<SwarmSettings>, SettingsError> {
    let Some(socket) = raw.socket else {
        let others = [
            ("registry", raw.registry.is_some()),
            ("registry_ca", raw.registry_ca.is_some()),
            ("base_image", raw.base_image.is_some()),
            ("constraints", raw.constraints.is_some()),
            ("volumes", raw.volumes.is_some()),
        ];
        let other = others.iter().find(|(_, is_there)| *is_there);
        return match other {
            Some((name, _)) => Err(SettingsError::SwarmSocket(name)),
            None => Ok(None),
        };
    };
    let images = match (raw.registry, &raw.registry_ca) {
        (Some(RegistryUrl(url)), Some(_)) if url.scheme != "https" => {
            return Err(SettingsError::RegistryByHttp);
        }
        (Some(RegistryUrl(url)), _) => Origin::Registry(Registry::new(url)),
        (None, Some(_)) => return Err(SettingsError::NoRegistry),
        (None, None) => Origin::Here(reached.and_then(Reached::host)),
    };
    let base_image = raw.base_image.map(|BaseImageValue(image)| match &images {
        Origin::Registry(registry) => registry.lend(image),
        Origin::Here(_) => image,
    });
    let constraints = raw.constraints.unwrap_or_default().into_iter();
    Ok(Some(SwarmSettings {
        socket: socket.0,
        images,
        base_image,
        registry_ca: raw.registry_ca,
        constraints: constraints.map(|one| one.0).collect(),
        volumes: raw.volumes.map(VolumesValue::driver),
    }))
}

/// Reads the certificates of the registry. Blocks.
pub(super) fn read_ca(swarm: &mut Option<SwarmSettings>) -> Result<(), SettingsError> {
    let Some(SwarmSettings {
        images: Origin::Registry(registry),
        base_image,
        registry_ca: Some(file),
        ..
    }) = swarm
    else {
        return Ok(());
    };
    let read = regular::read(file, drain::MAX_CA as u64)
        .map_err(|error| error.to_string())
        .and_then(|bytes| drain::ca(&String::from_utf8_lossy(&bytes)));
    let pem = read.map_err(|detail| SettingsError::RegistryCa {
        path: file.clone(),
        detail,
    })?;
    *registry = registry.clone().believed_by(pem);
    *base_image = base_image.take().map(|image| registry.lend(image));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Result<Option<SwarmSettings>, SettingsError> {
        resolve(toml::from_str(text).unwrap(), None)
    }

    #[test]
    fn what_means_nothing_without_another_is_refused() {
        let error = |text: &str| resolved(text).unwrap_err().to_string();
        assert!(
            error("constraints = [\"node.role==worker\"]")
                .contains("has constraints and no socket")
        );
        assert!(error("registry = \"https://r\"").contains("take registry out"));
        let with = |rest: &str| error(&format!("socket = \"/s\"\n{rest}"));
        assert!(with("registry_ca = \"/ca.pem\"").contains("and no registry"));
        assert!(with("registry_ca = \"/ca.pem\"\nregistry = \"http://r\"").contains("https"));
        assert!(resolved("").unwrap().is_none());
    }

    #[test]
    fn volumes_have_a_driver_whose_options_nobody_sees() {
        let with = |volumes: &str| resolved(&format!("socket = \"/s\"\nvolumes = {volumes}"));
        let settings = with("{ driver = \"local\", options = { o = \"password=sesame\" } }");
        let settings = settings.unwrap().unwrap();
        let driver = settings.volumes.clone().unwrap();
        assert_eq!(driver.name, "local");
        assert_eq!(driver.options["o"], "password=sesame");
        assert!(!format!("{settings:?}").contains("sesame"));
        for wrong in [
            "{}",
            "\"local\"",
            "{ driver = \"a b\" }",
            "{ driver = \"local\", o = \"x\" }",
        ] {
            let text = format!("socket = \"/s\"\nvolumes = {wrong}");
            assert!(toml::from_str::<RawSwarm>(&text).is_err(), "{wrong}");
        }
        let told = resolved("volumes = { driver = \"local\" }").unwrap_err();
        assert!(
            told.to_string().contains("has volumes and no socket"),
            "{told}"
        );
    }

    #[test]
    fn the_certificates_of_a_registry_are_those_of_a_file() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("ca.pem");
        let text = format!(
            "socket = \"/s\"\nregistry = \"https://r\"\nregistry_ca = \"{}\"",
            file.display()
        );
        let mut settings = resolved(&text).unwrap();
        let told = read_ca(&mut settings).unwrap_err().to_string();
        assert!(told.contains("ca.pem"), "{told}");
        std::fs::write(&file, "nothing").unwrap();
        let told = read_ca(&mut settings).unwrap_err().to_string();
        assert!(told.contains("BEGIN CERTIFICATE"), "{told}");
        let made = rcgen::generate_simple_self_signed(["r".to_owned()]).unwrap();
        std::fs::write(&file, made.cert.pem()).unwrap();
        read_ca(&mut settings).unwrap();
    }
}
