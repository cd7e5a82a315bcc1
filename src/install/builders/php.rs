//! PHP: Composer (pure).

use super::{Files, Part, Tool, commands};

pub(super) fn part(files: &dyn Files) -> Option<Part> {
    files.has("composer.json").then(|| Part {
        language: "PHP",
        found: if files.has("composer.lock") { "composer.lock" } else { "composer.json" }.to_owned(),
        tools: vec![Tool::Php, Tool::Composer],
        // It does what is left to do, and its list of classes has those of the application, too.
        build: commands(&[
            "composer install --no-dev --prefer-dist --optimize-autoloader --no-interaction --no-progress",
        ]),
        cache: vec!["vendor".to_owned()],
        ..Part::default()
    })
}
