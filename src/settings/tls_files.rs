//! The files that `[tls]` and `[acme]` name: looked at once, before anything is bound. All of this blocks.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Access, access};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::error::SettingsError;
use super::tls::TlsSettings;
use crate::regular;
use crate::tls::files::CertificateFile;
use crate::tls::server_config::provider;
use crate::tls::store::Configured;

/// The largest file of roots that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Refuses what cannot work. One certificate of several that cannot be used is no reason: a server must come up again
/// after its machine was restarted, and says in its log what is wrong with that one.
pub(super) fn check(tls: &TlsSettings) -> Result<(), SettingsError> {
    let acme = tls.acme.as_deref();
    if let Some(program) = acme.and_then(|acme| acme.dns_hook.as_deref()) {
        may_run(program).map_err(|why| SettingsError::DnsHook(program.to_owned(), why))?;
    }
    if let Some(root) = acme.and_then(|acme| acme.root_ca.as_deref()) {
        holds_roots(root).map_err(|why| SettingsError::RootCa(root.to_owned(), why))?;
    }
    match acme {
        // Its certificates answer too.
        Some(_) => Ok(()),
        None => one_is_usable(&tls.certificates),
    }
}

/// Refuses a program that is not there, and one that another user than its owner could exchange: it runs as the server.
fn may_run(program: &Path) -> Result<(), String> {
    if !program.is_absolute() {
        return Err("is no absolute path: write it from / on".to_owned());
    }
    let found = program.metadata().map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("is no file: name a program".to_owned());
    }
    let (mode, owner) = (found.permissions().mode(), found.uid());
    let own = rustix::process::geteuid().as_raw();
    if owner != 0 && owner != own {
        return Err(format!(
            "belongs to the user with id {owner}, who could have the server run anything: chown root it"
        ));
    }
    if mode & 0o022 != 0 {
        return Err("can be written by others than its owner: chmod go-w it".to_owned());
    }
    match access(program, Access::EXEC_OK) {
        Ok(()) => Ok(()),
        Err(_) => Err("cannot be executed: chmod +x it".to_owned()),
    }
}

fn holds_roots(file: &Path) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    let text = regular::read(file, LARGEST).map_err(told)?;
    let mut roots = CertificateDer::pem_slice_iter(&text);
    match roots.next() {
        Some(Ok(_)) => Ok(()),
        _ => Err(
            "holds no certificate (a PEM block that begins with \"-----BEGIN CERTIFICATE-----\")"
                .to_owned(),
        ),
    }
}

fn one_is_usable(configured: &Configured) -> Result<(), SettingsError> {
    let provider = provider();
    let mut errors = Vec::new();
    for pair in configured.pairs.iter().chain(&configured.default) {
        let mut file = CertificateFile::new(pair.clone());
        file.refresh(&provider);
        if file.certificate().is_some() {
            return Ok(());
        }
        errors.extend(file.error().map(str::to_owned));
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(SettingsError::NoUsableCertificate(errors)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::path::PathBuf;
    use std::sync::Arc;

    use rcgen::generate_simple_self_signed;

    use super::*;
    use crate::acme::settings::Settings;
    use crate::test_support::is_root;
    use crate::tls::files::Pair;

    fn told(tls: &TlsSettings) -> String {
        check(tls).unwrap_err().to_string()
    }

    fn with_hook(dns_hook: PathBuf) -> TlsSettings {
        TlsSettings {
            acme: Some(Arc::new(Settings {
                dns_hook: Some(dns_hook),
                ..Settings::default()
            })),
            ..TlsSettings::default()
        }
    }

    #[test]
    fn a_hook_is_a_program_that_nobody_else_can_exchange() {
        let home = tempfile::tempdir().unwrap();
        let hook = home.path().join("hook");
        let tls = with_hook(hook.clone());
        assert!(told(&tls).contains("No such file"));
        fs::create_dir(&hook).unwrap();
        assert!(told(&tls).contains("is no file"));
        fs::remove_dir(&hook).unwrap();
        fs::write(&hook, "#!/bin/sh\n").unwrap();
        for (mode, expected) in [
            (0o600, "chmod +x"),
            (0o775, "chmod go-w"),
            (0o757, "chmod go-w"),
        ] {
            fs::set_permissions(&hook, Permissions::from_mode(mode)).unwrap();
            let told = told(&tls);
            assert!(
                told.contains(expected) && told.contains("acme.dns_hook"),
                "{told}"
            );
        }
        fs::set_permissions(&hook, Permissions::from_mode(0o700)).unwrap();
        check(&tls).unwrap();
        if is_root("a hook of another user is refused") {
            std::os::unix::fs::chown(&hook, Some(65_534), None).unwrap();
            assert!(told(&tls).contains("65534"));
        }
        assert!(told(&with_hook("hook".into())).contains("absolute"));
    }

    #[test]
    fn roots_are_certificates() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root.pem");
        let tls = TlsSettings {
            acme: Some(Arc::new(Settings {
                root_ca: Some(root.clone()),
                ..Settings::default()
            })),
            ..TlsSettings::default()
        };
        assert!(told(&tls).contains("No such file"));
        fs::write(&root, "rubbish").unwrap();
        assert!(told(&tls).contains("acme.root_ca"));
        let made = generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        fs::write(&root, made.cert.pem()).unwrap();
        check(&tls).unwrap();
    }

    #[test]
    fn one_certificate_of_several_may_be_broken_and_not_all() {
        let home = tempfile::tempdir().unwrap();
        let pair = |name: &str| Pair {
            cert: home.path().join(name),
            key: home.path().join(format!("{name}.key")),
        };
        let mut tls = TlsSettings::default();
        check(&tls).unwrap();
        tls.certificates.pairs = vec![pair("a"), pair("b")];
        let told = told(&tls);
        assert!(told.contains("/a:") && told.contains("/b:"), "{told}");
        let made = generate_simple_self_signed(["b.test".to_owned()]).unwrap();
        fs::write(pair("b").cert, made.cert.pem()).unwrap();
        fs::write(pair("b").key, made.signing_key.serialize_pem()).unwrap();
        check(&tls).unwrap();
    }
}
