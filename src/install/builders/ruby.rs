//! Ruby: Bundler, and the assets of Rails (pure).

use super::{Files, Part, Tool, key, texts, variables};

const BUNDLE: &str = "vendor/bundle";

/// Sections of a lock file for gems whose files are in the checkout or come from a branch.
const LOCAL: [&str; 2] = ["\nPATH\n", "\nGIT\n"];

pub(super) fn part(files: &dyn Files) -> Option<Part> {
    files.has("Gemfile").then_some(())?;
    let lock = files.text("Gemfile.lock");
    let mut env = variables(&[
        ("BUNDLE_PATH", BUNDLE),
        ("BUNDLE_WITHOUT", "development:test"),
        ("RACK_ENV", "production"),
    ]);
    if lock.is_some() {
        env.insert("BUNDLE_DEPLOYMENT".to_owned(), "1".to_owned());
    }
    let is_rails = files.has("config/application.rb");
    if is_rails {
        env.extend(variables(&[
            ("RAILS_ENV", "production"),
            ("RAILS_LOG_TO_STDOUT", "enabled"),
            ("RAILS_SERVE_STATIC_FILES", "enabled"),
        ]));
    }
    let install = vec!["bundle install".to_owned(), "bundle clean".to_owned()];
    let has_assets = lock.as_deref().is_some_and(|lock| {
        ["sprockets", "propshaft"]
            .iter()
            .any(|gem| lock.contains(&format!("\n    {gem} (")))
    });
    let build = (is_rails && has_assets && files.has("Rakefile"))
        .then(|| "SECRET_KEY_BASE=${SECRET_KEY_BASE:-only-while-assets-are-made} bundle exec rake assets:precompile".to_owned());
    let is_closed = lock.as_deref().is_some_and(|lock| {
        let lock = format!("\n{lock}");
        LOCAL.iter().all(|section| !lock.contains(section))
    });
    let inputs = texts(files, &["Gemfile", "Gemfile.lock", ".bundle/config"]);
    Some(Part {
        language: "Ruby",
        found: if lock.is_some() {
            "Gemfile.lock"
        } else {
            "Gemfile"
        }
        .to_owned(),
        tools: vec![Tool::Ruby, Tool::Bundler],
        key: is_closed.then(|| key(&install, &inputs)),
        install,
        build: build.into_iter().collect(),
        env,
        cache: vec![BUNDLE.to_owned()],
        has_venv: false,
    })
}
