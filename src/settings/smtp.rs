//! `[smtp]` of the settings.

use std::io;
use std::path::PathBuf;

use super::error::SettingsError;
use super::raw::RawSmtp;
use crate::notices::smtp::{Encryption, Smtp};
use crate::regular;

/// The largest file of a password, in bytes.
const LARGEST: u64 = 4096;

/// The mail server, if one is named; the password is still the name of its file.
pub(super) fn resolve(raw: &RawSmtp) -> Result<Option<Smtp>, SettingsError> {
    let RawSmtp {
        host,
        port,
        from,
        username,
        password_file,
        tls,
    } = raw;
    let Some(host) = host else {
        let names = [from.is_some(), username.is_some(), password_file.is_some()];
        let ways = [port.is_some(), tls.is_some()];
        return match names.into_iter().chain(ways).any(|is_there| is_there) {
            true => Err(SettingsError::Smtp("host")),
            false => Ok(None),
        };
    };
    let from = from.as_ref().ok_or(SettingsError::Smtp("from"))?;
    let credentials = match (username, password_file) {
        (None, None) => None,
        (Some(user), Some(file)) => Some((user.clone(), file.to_string_lossy().into_owned())),
        (None, _) => return Err(SettingsError::Smtp("username")),
        (_, None) => return Err(SettingsError::Smtp("password_file")),
    };
    let encryption = tls.map_or_else(Encryption::default, |tls| tls.0);
    if encryption == Encryption::None && credentials.is_some() {
        return Err(SettingsError::MailPasswordInClear);
    }
    let usual = match encryption {
        Encryption::StartTls => 587,
        Encryption::Tls => 465,
        Encryption::None => 25,
    };
    Ok(Some(Smtp {
        host: host.clone(),
        port: port
            .as_ref()
            .map_or(usual, |port| u16::try_from(port.0).unwrap_or(usual)),
        encryption,
        credentials,
        from: from.0.clone(),
    }))
}

/// Puts the password in the place of the name of its file. Blocks.
pub(super) fn read_password(smtp: &mut Smtp) -> Result<(), SettingsError> {
    let Some((_, password)) = &mut smtp.credentials else {
        return Ok(());
    };
    let path = PathBuf::from(&*password);
    let read = regular::read(&path, LARGEST).and_then(|bytes| {
        let text = String::from_utf8(bytes);
        text.map_err(|_| io::Error::other("it is no text in UTF-8: write the password into it"))
    });
    let read = read.and_then(|text| match text.trim_end() {
        "" => Err(io::Error::other("it is empty: write the password into it")),
        text => Ok(text.to_owned()),
    });
    *password = read.map_err(|source| SettingsError::MailPassword { path, source })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::raw::RawSettings;

    #[test]
    fn a_mail_server_needs_a_name_and_a_sender_and_a_password_for_its_user() {
        let read = |text: &str| {
            let raw = RawSettings::from_toml(&format!("[smtp]\n{text}"), Path::new("x")).unwrap();
            resolve(&raw.smtp).map_err(|error| error.to_string())
        };
        assert_eq!(read(""), Ok(None));
        let good = read("host = \"h\"\nfrom = \"a@b.example\"")
            .unwrap()
            .unwrap();
        assert_eq!((good.port, good.encryption), (587, Encryption::StartTls));
        let tls = read("host = \"h\"\nfrom = \"a@b.example\"\ntls = \"tls\"")
            .unwrap()
            .unwrap();
        assert_eq!(tls.port, 465);
        for (text, lacks) in [
            ("host = \"h\"", "from"),
            ("from = \"a@b.example\"", "host"),
            ("port = 25", "host"),
            ("tls = \"tls\"", "host"),
            (
                "host = \"h\"\nfrom = \"a@b.example\"\nusername = \"u\"\npassword_file = \"/f\"\ntls = \"none\"",
                "starttls",
            ),
            (
                "host = \"h\"\nfrom = \"a@b.example\"\nusername = \"u\"",
                "password_file",
            ),
        ] {
            assert!(read(text).unwrap_err().contains(lacks), "{text}");
        }
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("password");
        std::fs::write(&file, "sesame\n").unwrap();
        let mut with = Smtp {
            credentials: Some(("u".to_owned(), file.to_str().unwrap().to_owned())),
            ..good
        };
        read_password(&mut with).unwrap();
        assert!(
            with.credentials.as_ref().unwrap().1 == "sesame"
                && !format!("{with:?}").contains("sesame")
        );
        for (content, why) in [(&b" \n"[..], "empty"), (b"\xff\xfe", "UTF-8")] {
            std::fs::write(&file, content).unwrap();
            with.credentials = Some(("u".to_owned(), file.to_str().unwrap().to_owned()));
            let error = read_password(&mut with).unwrap_err().to_string();
            assert!(
                error.contains(why) && error.contains("password: "),
                "{error}"
            );
        }
        with.credentials = Some(("u".to_owned(), "/nowhere".to_owned()));
        assert!(read_password(&mut with).is_err());
    }
}
