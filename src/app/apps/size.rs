//! How large a document may be.

use super::AppsError;
use crate::app::config_dir;
use crate::document::config::AppConfig;
use crate::document::json5;

/// Refuses a document that is larger, as it is written, than what is read back.
pub(super) fn check_size(config: &AppConfig) -> Result<(), AppsError> {
    let most = json5::MAX_SIZE;
    let size = config_dir::as_written(config).map_or(0, |bytes| bytes.len());
    match size > most {
        true => Err(AppsError::TooLarge {
            app: config.name.clone(),
            size: size.div_ceil(1024),
            most: most / 1024,
        }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::config::Rules;

    #[test]
    fn a_document_counts_as_it_is_written() {
        let config = |length: usize| {
            // Each line is indented in the file.
            let env: serde_json::Map<_, _> = (0..1000)
                .map(|n| (format!("A{n}"), "x".repeat(length).into()))
                .collect();
            let document = json!({"name": "a", "repo": {"url": "https://h/a.git"}, "env": env});
            AppConfig::from_document(document, &Rules::default()).unwrap()
        };
        assert_eq!(check_size(&config(1000)), Ok(()));
        let told = check_size(&config(1040)).unwrap_err();
        assert!(told.to_string().contains("1024 at most"), "{told}");
    }
}
