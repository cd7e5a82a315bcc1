//! `[[drains]]` and `[[notify]]` of the settings: who gets the logs of all applications, and who is told.

use std::path::Path;
use std::sync::Arc;

use super::error::SettingsError;
use super::raw::RawSettings;
use crate::document::drain::{self, DrainConfig};
use crate::document::notify::{self, EVENTS, NotifyConfig, Receiver};
use crate::document::rules;
use crate::regular;

/// Who is told of what goes wrong.
pub(super) fn notify(
    raw: &RawSettings,
    has_smtp: bool,
) -> Result<Vec<NotifyConfig>, SettingsError> {
    let raw = raw.notify.as_deref().unwrap_or_default();
    let read = raw.iter().enumerate().map(|(place, one)| {
        let wrong = |detail: String| SettingsError::Receiver {
            list: "notify",
            place: place + 1,
            detail,
        };
        let mut config =
            NotifyConfig::to(&one.url).map_err(|detail| wrong(format!("its url {detail}")))?;
        if matches!(config.to, Receiver::Mail(_)) && !has_smtp {
            let detail = "it is an address of electronic mail, and there is no mail server: write host and from under [smtp]";
            return Err(wrong(detail.to_owned()));
        }
        let events = one.events.iter().flatten();
        let events: Result<_, _> = events.map(|event| notify::event(event, &EVENTS)).collect();
        config.events = events.map_err(|detail| wrong(format!("its events {detail}")))?;
        Ok(config)
    });
    read.collect()
}

/// The drains of all applications.
pub(super) fn drains(raw: &RawSettings) -> Result<Vec<DrainConfig>, SettingsError> {
    let raw = raw.drains.as_deref().unwrap_or_default();
    let mut read: Vec<DrainConfig> = Vec::new();
    for (place, one) in raw.iter().enumerate() {
        let wrong = |field: &str, detail: String| SettingsError::Receiver {
            list: "drains",
            place: place + 1,
            detail: format!("its {field} {detail}"),
        };
        let mut config = DrainConfig::to(&one.url).map_err(|detail| wrong("url", detail))?;
        if read.iter().any(|other| other.url.key() == config.url.key()) {
            return Err(wrong("url", "is there already".to_owned()));
        }
        if let Some(streams) = &one.streams {
            let known: Result<_, _> = streams.iter().map(|name| drain::stream(name)).collect();
            config.streams = known.map_err(|detail| wrong("streams", detail))?;
            if streams.is_empty() {
                return Err(wrong("streams", "must name a log".to_owned()));
            }
        }
        config.types = one.types.clone().unwrap_or_default();
        for name in &config.types {
            rules::process_type(name).map_err(|detail| wrong("types", detail))?;
        }
        // Read with the other files, before anything is bound.
        config.ca = one.ca.as_ref().map(|file| file.to_string_lossy().into());
        if config.ca.is_some() && !config.is_by_tls() {
            return Err(wrong(
                "ca",
                "has no use: what goes there is not encrypted".to_owned(),
            ));
        }
        read.push(config);
    }
    Ok(read)
}

/// Puts the certificates in the place of the names of their files. Blocks.
pub(super) fn read_ca(drains: &mut [DrainConfig]) -> Result<(), SettingsError> {
    for (place, one) in drains.iter_mut().enumerate() {
        let Some(file) = &one.ca else { continue };
        let read = regular::read(Path::new(&**file), drain::MAX_CA as u64)
            .map_err(|error| error.to_string())
            .and_then(|bytes| drain::ca(&String::from_utf8_lossy(&bytes)));
        let pem: Arc<str> = read.map_err(|error| SettingsError::Receiver {
            list: "drains",
            place: place + 1,
            detail: format!("its ca {file}: {error}"),
        })?;
        one.ca = Some(pem);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_drain_is_told_without_its_secrets() {
        let read = |text: &str| drains(&RawSettings::from_toml(text, Path::new("x")).unwrap());
        let good = read("[[drains]]\nurl = \"https://t0k@h/x\"\nstreams = [\"access\"]\n").unwrap();
        assert_eq!(good[0].streams, ["access"]);
        for wrong in [
            "[[drains]]\nurl = \"ftp://t0k@h\"",
            "[[drains]]\nurl = \"https://t0k@h\"\nstreams = [\"all\"]",
            "[[drains]]\nurl = \"https://t0k@h\"\ntypes = [\"a b\"]",
            "[[drains]]\nurl = \"http://t0k@h\"\nca = \"/x\"",
            "[[drains]]\nurl = \"https://t0k@h\"\n[[drains]]\nurl = \"https://other@h\"",
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(
                error.contains("drains: entry ") && !error.contains("t0k"),
                "{error}"
            );
        }
    }

    #[test]
    fn certificates_are_read_from_their_file() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("ca.pem");
        let mut all = vec![DrainConfig {
            ca: Some(file.to_string_lossy().into()),
            ..DrainConfig::to("https://h").unwrap()
        }];
        let error = read_ca(&mut all).unwrap_err().to_string();
        assert!(error.contains("ca.pem"), "{error}");
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        std::fs::write(&file, made.cert.pem()).unwrap();
        read_ca(&mut all).unwrap();
        assert_eq!(all[0].ca.as_deref(), Some(&*made.cert.pem()));
    }
}
