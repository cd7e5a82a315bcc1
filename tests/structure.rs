//! What `src/lib.rs` says of floors, and files of themselves ("pure"), is true of the `use` lines of `src/`.

mod imports;

use std::collections::BTreeMap;

use imports::{Tree, stated_floors};

#[test]
fn a_folder_imports_only_from_floors_below_its_own() {
    let tree = Tree::read();
    let floor_of = floors();
    let mut wrong = Vec::new();
    for file in tree.files().filter(|file| *file != "lib.rs") {
        let from = imports::folder(file);
        let Some(floor) = floor_of.get(from) else {
            wrong.push(format!("{file}: {from} stands on no floor in src/lib.rs"));
            continue;
        };
        for (target, path) in tree.imports(file) {
            let to = imports::folder(target);
            if to != from && floor_of.get(to).is_none_or(|other| other >= floor) {
                wrong.push(format!("{file} imports {path}, which is not below it"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} imports:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn files_named_pure_reach_no_runtime_no_clock_and_no_chance() {
    let tree = Tree::read();
    let pure: Vec<&str> = tree
        .files()
        .filter(|file| tree.is_named_pure(file))
        .collect();
    assert!(pure.len() > 20, "only these are named pure: {pure:?}");
    let mut wrong = Vec::new();
    for file in pure {
        for reached in tree.reachable(file) {
            if let Some(word) = tree.impure_word(reached) {
                wrong.push(format!("{file} reaches {reached}, which says {word}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} files:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// A module and the modules below it may name each other: parent and child of one actor do.
#[test]
fn files_import_each_other_in_no_circle_but_a_module_and_those_below_it() {
    let tree = Tree::read();
    let circles = tree.circles();
    assert!(
        circles.is_empty(),
        "{} circles:\n{}",
        circles.len(),
        circles.join("\n")
    );
}

/// Folder → number of its floor, 0 the lowest.
fn floors() -> BTreeMap<String, usize> {
    let lines = stated_floors();
    let mut floors = BTreeMap::new();
    for (floor, line) in lines.iter().rev().enumerate() {
        for folder in line.split([',', ' ']).filter(|word| !word.is_empty()) {
            let twice = floors.insert(folder.to_owned(), floor);
            assert!(
                twice.is_none(),
                "{folder} stands on two floors in src/lib.rs"
            );
        }
    }
    floors
}
