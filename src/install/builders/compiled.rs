//! Go and Rust: what is compiled, with the compiler's cache in HOME (pure).

use super::{Files, Part, Tool, commands};

/// All programs of the module. Paths and the state of git would make the same source another program each time.
pub(super) fn go(files: &dyn Files) -> Option<Part> {
    files.has("go.mod").then(|| Part {
        language: "Go",
        found: "go.mod".to_owned(),
        tools: vec![Tool::Go],
        build: commands(&[
            "go build -trimpath -buildvcs=false -o bin/ ./...",
            // Releases share what is the same, also in its time.
            "find bin -type f -newer go.mod -exec touch -r go.mod {} +",
        ]),
        ..Part::default()
    })
}

/// Only the programs become part of the release: what cargo keeps is a hundred times as large.
pub(super) fn rust(files: &dyn Files) -> Option<Part> {
    let text = files.text("Cargo.toml")?;
    let is_project = ["[package]", "[workspace]"]
        .iter()
        .any(|table| text.contains(table));
    let locked = if files.has("Cargo.lock") {
        " --locked"
    } else {
        ""
    };
    let target = "\"$HOME/.cache/procserver/target\"";
    is_project.then(|| Part {
        language: "Rust",
        found: "Cargo.toml".to_owned(),
        tools: vec![Tool::Cargo],
        build: vec![
            // Programs of former releases; cargo puts those of this one there again.
            format!("mkdir -p {target}/release && find {target}/release -maxdepth 1 -type f -delete"),
            format!("CARGO_TARGET_DIR={target} cargo build --release{locked}"),
            format!(
                "mkdir -p target/release && find {target}/release -maxdepth 1 -type f -perm /100 -exec cp -p {{}} target/release/ \\;"
            ),
        ],
        ..Part::default()
    })
}
