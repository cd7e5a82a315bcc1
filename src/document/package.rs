//! A Debian package that an application needs (pure).

use super::rules::shown;

/// A Debian package, `name` or `name=version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Name by Debian policy §5.6.1, with `:arch` where one was given: dpkg-query and apt-get take it so.
    pub name: String,
    pub version: Option<String>,
}

/// A package as `name`, `name:arch`, `name=version` (Debian policy §5.6.1 and §5.6.12), the version also as `1.2*`.
pub(super) fn package(text: &str) -> Result<Package, String> {
    let (name, version) = match text.split_once('=') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let (base, arch) = name.split_once(':').unwrap_or((name, "any"));
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let valid_base = base.len() >= 2
        && base.len() <= 200
        && lower(base.as_bytes()[0])
        && base
            .bytes()
            .all(|b| lower(b) || matches!(b, b'+' | b'.' | b'-'));
    let valid_arch =
        !arch.is_empty() && arch.bytes().all(|b| lower(b) || b == b'-') && !arch.starts_with('-');
    let version_byte =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'~' | b':');
    let valid_version = version.is_none_or(|v| {
        v.len() <= 200
            && v.starts_with(|c: char| c.is_ascii_alphanumeric())
            && v.strip_suffix('*').unwrap_or(v).bytes().all(version_byte)
    });
    // apt-get takes "name-" for "remove name" and "name+" for "install name" where no such package exists.
    let asks_removal = base.ends_with('-');
    if !valid_base || !valid_arch || asks_removal {
        return Err(format!(
            "\"{}\" is not a Debian package name: use a-z, 0-9, \"+\", \".\", \"-\", such as \"libssl-dev\"",
            shown(text)
        ));
    }
    if !valid_version {
        return Err(format!(
            "\"{}\" is not a Debian version: write \"{base}=1.2.3-4\", \"{base}=1.2*\", or \"{base}\" for the newest",
            shown(version.unwrap_or_default())
        ));
    }
    Ok(Package {
        name: name.to_owned(),
        version: version.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_follow_debian_policy() {
        let parsed = package("libssl-dev:amd64=3.0.1-1~deb12+u1").unwrap();
        assert_eq!(parsed.name, "libssl-dev:amd64");
        assert_eq!(parsed.version.as_deref(), Some("3.0.1-1~deb12+u1"));
        assert!(package("g++").is_ok() && package("ruby1.9.3").is_ok());
        assert!(package("python3:any").is_ok() && package("nginx=1.2*").is_ok());
        for bad in [
            "", "a", "-y", "A1", "a b", "git-", "a;b", "ab=", "ab=-o", "ab=1 2", "ab=*", "ab=1*2",
            "ab:", "ab/sid", "ab\n",
        ] {
            assert!(package(bad).is_err(), "{bad:?}");
        }
    }
}
