//! Checks the types of values in the file, and says in words what is allowed. The file's reader adds the line.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::reach_value::XApp;
use super::value::Variable;

pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<Vec<T>>, D::Error> {
    struct List<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list in brackets, as in [\"one\", \"another\"]")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut found = Vec::new();
            while let Some(item) = items.next_element()? {
                found.push(item);
            }
            Ok(found)
        }
    }
    from.deserialize_seq(List(PhantomData)).map(Some)
}

/// Reads `true`, `false` or a list of names of apps.
pub(super) fn x_app<'de, D: Deserializer<'de>>(from: D) -> Result<Option<XApp>, D::Error> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = XApp;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true, false or a list of applications, as in [\"blog\", \"shop\"]")
        }

        fn visit_bool<E: Error>(self, all: bool) -> Result<XApp, E> {
            Ok(XApp::all_or_none(all))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<XApp, A::Error> {
            let mut names: Vec<String> = Vec::new();
            while let Some(name) = items.next_element()? {
                names.push(name);
            }
            XApp::these(names.iter().map(String::as_str)).map_err(Error::custom)
        }
    }
    from.deserialize_any(Names).map(Some)
}

/// Reads the path of a directory.
pub(super) fn directory<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(from)?;
    if path.as_os_str().is_empty() {
        let why = "an empty text is no directory: write its path, as in \"/srv/procserver\"";
        return Err(Error::custom(why));
    }
    Ok(Some(path))
}

/// Reads the file's table of variables.
pub(super) fn variables<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Variable>, D::Error> {
    struct Table;
    impl<'de> Visitor<'de> for Table {
        type Value = Vec<Variable>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of strings, as in { RAILS_ENV = \"production\" }")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, String>()? {
                found.push(Variable::new(&name, &value).map_err(Error::custom)?);
            }
            Ok(found)
        }
    }
    from.deserialize_map(Table)
}
