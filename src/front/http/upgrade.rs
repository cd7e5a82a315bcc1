//! Upgrades to another protocol: which are offered to an app, and which it may choose, by RFC 9110 §7.8 (pure).

use super::connection_options;
use super::field::Name;
use super::fields::Fields;
use super::head::Response;

/// Returns the value of Upgrade, if Connection lists it. HTTP of any version is not offered: in a tunnel its requests
/// would pass by all rules of this front end.
pub(super) fn offered<'b>(fields: &Fields<'b>) -> Option<&'b str> {
    let value = fields.named(Name::Upgrade).next()?.value;
    if !connection_options::lists(fields, "upgrade") {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    (!text.is_empty() && !text.split(',').any(is_http)).then_some(text)
}

/// Returns the protocol that a 101 switches to. It must be exactly one of those that were offered, and Connection must
/// list Upgrade, or the two ends might disagree whether HTTP goes on.
pub(crate) fn chosen<'b>(response: &Response<'b>, offered: Option<&str>) -> Option<&'b [u8]> {
    let mut upgrades = response.fields.named(Name::Upgrade);
    let (Some(upgrade), None) = (upgrades.next(), upgrades.next()) else {
        return None;
    };
    let same = |o: &str| o.trim().as_bytes().eq_ignore_ascii_case(upgrade.value);
    let is_offered = offered?.split(',').any(same);
    (is_offered && connection_options::lists(&response.fields, "upgrade")).then_some(upgrade.value)
}

/// Whether a protocol, a name and perhaps a version, is HTTP.
fn is_http(protocol: &str) -> bool {
    let name = protocol.split('/').next().unwrap_or(protocol).trim();
    let names = ["h2c", "h2", "http"];
    names.iter().any(|own| name.eq_ignore_ascii_case(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::http::field::Field;
    use crate::front::http::parse;

    #[test]
    fn everything_but_http_is_offered_where_connection_names_it() {
        let fields = |connection: &'static str, upgrade: &'static str| {
            let named = [("Connection", connection), ("Upgrade", upgrade)];
            let named = named.map(|(name, value)| Field::new(name, value.as_bytes()).unwrap());
            Fields::from_iter(named)
        };
        let offer = |connection, upgrade| offered(&fields(connection, upgrade));
        assert_eq!(offer("a, UPGRADE", "echo/1, b"), Some("echo/1, b"));
        assert_eq!(offer("close", "echo/1"), None);
        for http in ["h2c", "x, H2C", "h2c/2", "HTTP/2.0", "http", " h2 "] {
            assert_eq!(offer("upgrade", http), None, "{http}");
        }
    }

    #[test]
    fn a_101_chooses_one_of_what_was_offered_and_says_so_in_connection() {
        let chosen_by = |fields: &str| {
            let text = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
            let response = parse::response(text.as_bytes(), false).unwrap();
            chosen(&response, Some("echo/1, b")).map(<[u8]>::to_vec)
        };
        let named = "Connection: x, Upgrade\r\n";
        assert_eq!(
            chosen_by(&format!("{named}Upgrade: B\r\n")),
            Some(b"B".to_vec())
        );
        for refused in [
            "Upgrade: b\r\n".to_owned(),
            "Connection: close\r\nUpgrade: b\r\n".to_owned(),
            named.to_owned(),
            format!("{named}Upgrade: c\r\n"),
            format!("{named}Upgrade: echo/1, b\r\n"),
            format!("{named}Upgrade: b\r\nUpgrade: b\r\n"),
        ] {
            assert_eq!(chosen_by(&refused), None, "{refused}");
        }
    }
}
