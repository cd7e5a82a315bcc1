//! What runs where a checkout has no Procfile (pure).

use super::node::Package;
use super::{Files, Part, python};

/// What stands in for a Procfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Derived {
    /// Its text.
    Procfile(&'static str),
    /// Files to be served, and nothing to run.
    Site,
    /// A person has to write one; perhaps with this line.
    Unknown(Option<String>),
}

/// `parts`: what [`super::look`] has found.
#[must_use]
pub fn procfile(files: &dyn Files, parts: &[Part]) -> Derived {
    let starts = |package: Package| package.script("start").is_some();
    if Package::read(files).is_some_and(starts) {
        return Derived::Procfile("web: npm start\n");
    }
    if parts.is_empty() && files.has("index.html") {
        return Derived::Site;
    }
    let languages = parts.iter().rev().map(|part| part.language);
    Derived::Unknown(
        languages
            .filter_map(|language| line(files, language))
            .next(),
    )
}

fn line(files: &dyn Files, language: &str) -> Option<String> {
    match language {
        "Python" => Some(python_line(files)),
        "Ruby" if files.has("config.ru") => {
            Some("web: bundle exec rackup --host 127.0.0.1 --port $PORT".to_owned())
        }
        "Node" => {
            let main = ["server.js", "index.js", "app.js"]
                .into_iter()
                .find(|name| files.has(name));
            Some(format!("web: node {}", main.unwrap_or("server.js")))
        }
        "Go" => {
            let module = files.text("go.mod")?;
            let name = module
                .lines()
                .find_map(|line| line.strip_prefix("module "))?;
            Some(format!("web: {}", plain(name.trim().rsplit('/').next()?)?))
        }
        "Rust" => {
            let text: toml::Table = files.text("Cargo.toml")?.parse().ok()?;
            Some(format!(
                "web: {}",
                plain(text.get("package")?.get("name")?.as_str()?)?
            ))
        }
        "PHP" => {
            let is_public = files.has("public/index.php");
            Some(format!(
                "web: php -S 127.0.0.1:$PORT{}",
                if is_public { " -t public" } else { "" }
            ))
        }
        _ => None,
    }
}

fn python_line(files: &dyn Files) -> String {
    if let Some(module) = python::settings_module(files) {
        let package = module.split('.').next().unwrap_or("mysite");
        return format!("web: gunicorn --bind 127.0.0.1:$PORT {package}.wsgi");
    }
    let module = ["wsgi", "main", "app"]
        .into_iter()
        .find(|name| files.has(&format!("{name}.py")));
    format!(
        "web: gunicorn --bind 127.0.0.1:$PORT {}:app",
        module.unwrap_or("app")
    )
}

/// Strangers wrote it, and a person may paste it.
fn plain(name: &str) -> Option<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    (!name.is_empty() && name.len() <= 64 && name.chars().all(is_plain)).then_some(name)
}
