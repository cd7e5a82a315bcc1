//! Reads what dpkg and apt print about packages (pure).

use std::collections::{HashMap, HashSet};

use crate::document::package::Package;

/// The format that [`Installed::parse`] reads, for `dpkg-query -W -f`.
pub const FORMAT: &str = r"${Package}\t${Architecture}\t${Version}\t${Status}\t${Provides}\n";

/// The packages that are fully installed. Half installed ones do not count, nor removed ones whose configuration is
/// left.
#[derive(Debug, Default)]
pub struct Installed {
    /// Architecture and version by name; more than one where it is installed for several architectures.
    packages: HashMap<String, Vec<(String, String)>>,
    provided: HashSet<String>,
    native: String,
}

impl Installed {
    /// Reads the output of `dpkg-query -W` with [`FORMAT`], of all packages.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut installed = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let &[
                name,
                architecture,
                version,
                "install ok installed",
                provides,
            ] = &fields[..]
            else {
                continue;
            };
            if name == "dpkg" {
                installed.native = architecture.to_owned();
            }
            let versions = installed.packages.entry(name.to_owned()).or_default();
            versions.push((architecture.to_owned(), version.to_owned()));
            // `mail-transport-agent, foo (= 1.2)`
            let virtual_names = provides
                .split(',')
                .filter_map(|p| p.split_whitespace().next());
            installed.provided.extend(virtual_names.map(str::to_owned));
        }
        installed
    }

    /// Whether `package` is installed. A version must be the same, or begin with the one before a final `*`; only a
    /// real package has a version. `name:any` accepts any architecture.
    #[must_use]
    pub fn satisfies(&self, package: &Package) -> bool {
        let (name, architecture) = match package.name.split_once(':') {
            Some((name, architecture)) => (name, architecture),
            None => (package.name.as_str(), self.native.as_str()),
        };
        let real = self.packages.get(name).is_some_and(|versions| {
            versions.iter().any(|(arch, version)| {
                let is_of = architecture == "any" || [architecture, "all"].contains(&arch.as_str());
                let wanted = package.version.as_ref();
                is_of && wanted.is_none_or(|wanted| is_version(wanted, version))
            })
        });
        real || (package.version.is_none() && self.provided.contains(&package.name))
    }
}

fn is_version(wanted: &str, version: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(beginning) => version.starts_with(beginning),
        None => wanted == version,
    }
}

/// Whether apt-get's last lines say that another program has locked its lists, its archive, or dpkg.
#[must_use]
pub fn is_locked(tail: &[String]) -> bool {
    const SIGNS: [&str; 3] = [
        "Could not get lock",
        "Unable to lock directory",
        "Unable to acquire the dpkg frontend lock",
    ];
    tail.iter()
        .any(|line| SIGNS.iter().any(|sign| line.contains(sign)))
}

/// The names with a version that can be installed, in the output of `apt-cache policy`.
#[must_use]
pub fn candidates(policy: &str) -> HashSet<&str> {
    let mut known = HashSet::new();
    let mut current = "";
    for line in policy.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|n| !n.starts_with(' ')) {
            current = name;
        } else if let Some(version) = line.trim_start().strip_prefix("Candidate: ")
            && version != "(none)"
        {
            known.insert(current);
        }
    }
    known
}

/// Whether the output of `apt-cache showpkg` has a package that provides the virtual package `name`. It also lists
/// every package that `name` matches as a regular expression; those do not count.
#[must_use]
pub fn has_providers(showpkg: &str, name: &str) -> bool {
    let mut lines = showpkg
        .lines()
        .skip_while(|line| line.strip_prefix("Package: ") != Some(name))
        .skip(1)
        .take_while(|line| !line.starts_with("Package: "))
        .skip_while(|line| !line.starts_with("Reverse Provides:"))
        .skip(1);
    lines.any(|line| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "dpkg\tamd64\t1.22\tinstall ok installed\t\n\
        mawk\tamd64\t1.3\tinstall ok installed\tawk\n\
        exim4\tall\t4.96\tinstall ok installed\tmail-transport-agent, smtp (= 4)\n\
        nginx\tamd64\t1.26\tdeinstall ok config-files\t\n\
        broken\tamd64\t1\tinstall ok half-configured\t\n\
        libc6\ti386\t2.41\tinstall ok installed\t\n\
        zlib1g\tamd64\t1:1.3\tinstall ok installed\t\n";

    fn package(text: &str) -> Package {
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => (name, Some(version.to_owned())),
            None => (text, None),
        };
        Package {
            name: name.to_owned(),
            version,
        }
    }

    #[test]
    fn only_what_is_wholly_installed_counts() {
        let installed = Installed::parse(LISTED);
        for yes in [
            "mawk",
            "awk",
            "exim4",
            "smtp",
            "zlib1g=1:1.3",
            "zlib1g:amd64",
            "libc6:i386",
            "exim4:amd64",
            "libc6:any",
            "zlib1g=1:1*",
        ] {
            assert!(installed.satisfies(&package(yes)), "{yes}");
        }
        for no in [
            "nginx",
            "broken",
            "libc6",
            "zlib1g=1:1.2",
            "awk=1.3",
            "none",
            "zlib1g:i386",
            "zlib1g=1:2*",
            "none:any",
            "",
        ] {
            assert!(!installed.satisfies(&package(no)), "{no}");
        }
    }

    #[test]
    fn a_name_is_known_when_it_has_a_candidate() {
        let policy = "hello:\n  Installed: (none)\n  Candidate: 2.10-5\n  Version table:\n     2.10-5 500\n\
            awk:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        let known = candidates(policy);
        assert!(known.contains("hello") && !known.contains("awk") && !known.contains("other"));
    }

    #[test]
    fn a_virtual_name_is_known_when_something_provides_it() {
        let awk = "Package: awk\nProvides: \nReverse Provides: \nmawk 1.3 (= )\n";
        let none = "Package: x\nProvides: \nReverse Provides: \n\n";
        assert!(has_providers(awk, "awk"));
        assert!(has_providers(&format!("{none}{awk}"), "awk"));
        assert!(!has_providers(&format!("{none}{awk}"), "x"));
        assert!(!has_providers(awk, "aw."));
        assert!(!has_providers("", "x"));
    }
}
