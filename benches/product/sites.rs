//! Many applications that are deployed already, without deploying each.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Copies the deployed `site-0` of a server that does not run, `site-1` and so on, until there are `sites`.
pub(crate) fn copy(data: &Path, sites: usize) {
    let apps = data.join("apps");
    for n in 1..sites {
        let name = format!("site-{n}");
        rename_in(
            &name,
            &data.join("config/site-0.json"),
            &data.join(format!("config/{name}.json")),
        );
        let copied = Command::new("cp")
            .arg("-a")
            .arg(apps.join("site-0"))
            .arg(apps.join(&name))
            .status();
        assert!(copied.expect("cp is there").success());
        for file in ["state.json", "releases/1.json", "deployments/1.json"] {
            let file = apps.join(&name).join(file);
            rename_in(&name, &file, &file);
        }
    }
}

/// Writes `from` to `to` with another name in it.
fn rename_in(name: &str, from: &Path, to: &Path) {
    let text = fs::read_to_string(from).expect("it was deployed");
    fs::write(to, text.replace("site-0", name)).expect("the temporary directory is ours");
}
