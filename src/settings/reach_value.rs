//! The values of settings that say by which hosts and headers apps and the API are reached, valid by construction.

use std::net::IpAddr;
use std::str::FromStr;

use super::value::{ValueError, deserialize_from_text};
use crate::document::name::AppName;
use crate::router::reach;

deserialize_from_text! {
    ApiHost;
    ApiPlace;
}

/// A host name without a port, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiHost(pub String);

impl FromStr for ApiHost {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_address = text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        if is_address || (!text.is_empty() && text.len() <= 253 && text.chars().all(allowed)) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(ValueError(format!(
            "\"{text}\" is no host: write it as in a Host field but without the port, as in \"admin.example.org\""
        )))
    }
}

/// Where the API answers over TCP: `everywhere`, `api_hosts` or `socket`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiPlace(pub reach::ApiPlace);

impl FromStr for ApiPlace {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Ok(Self(match text {
            "everywhere" => reach::ApiPlace::Everywhere,
            "api_hosts" => reach::ApiPlace::ApiHosts,
            "socket" => reach::ApiPlace::Socket,
            _ => {
                return Err(ValueError(format!(
                    "\"{text}\" is no place of the API: write \"everywhere\", \"api_hosts\" (only the hosts of that \
                     setting) or \"socket\" (only the Unix socket)"
                )));
            }
        }))
    }
}

/// The apps that `X-App` reaches: `true` (all that are reachable by path), `false` (none), or names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XApp(pub reach::XApp);

impl XApp {
    pub(super) fn all_or_none(all: bool) -> Self {
        Self(match all {
            true => reach::XApp::ByPath,
            false => reach::XApp::Nobody,
        })
    }

    pub(super) fn these<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, ValueError> {
        let name = |text: &str| match AppName::parse(text) {
            Ok(name) => Ok(name.to_string()),
            Err(why) => Err(ValueError(format!(
                "\"{text}\" is no application: {why}. x_app is true, false or a list of names"
            ))),
        };
        let names = names.map(name).collect::<Result<_, _>>()?;
        Ok(Self(reach::XApp::These(names)))
    }
}

impl FromStr for XApp {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "true" => Ok(Self::all_or_none(true)),
            "false" => Ok(Self::all_or_none(false)),
            names => Self::these(names.split(',').map(str::trim)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_no_port() {
        assert_eq!(
            "Admin.Example".parse::<ApiHost>().unwrap().0,
            "admin.example"
        );
        assert!("a:80".parse::<ApiHost>().is_err());
    }
}
