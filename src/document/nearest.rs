//! [`nearest`]: what somebody meant who has misspelled a name (pure).

/// The known name that was most likely meant.
pub(super) fn nearest<'k>(field: &str, known: &[&'k str]) -> Option<&'k str> {
    if field.len() > 40 {
        return None;
    }
    let lower = field.to_lowercase().replace('-', "_");
    let (near, distance) = known
        .iter()
        .map(|name| (*name, strsim::osa_distance(&lower, name)))
        .min_by_key(|(_, distance)| *distance)?;
    if distance <= 1 + near.len() / 4 {
        return Some(near);
    }
    // `environment` for `env`, `health` for `health_check`.
    let begins =
        |name: &&&str| lower.starts_with(**name) || (lower.len() > 2 && name.starts_with(&lower));
    known.iter().find(begins).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_told_the_nearest_known_one() {
        let known = [
            "name",
            "repo",
            "domain",
            "env",
            "health_check",
            "keep_releases",
            "path",
            "port",
        ];
        for (typed, meant) in [
            ("domains", "domain"),
            ("Name", "name"),
            ("enviroment", "env"),
            ("health-check", "health_check"),
            ("healthcheck", "health_check"),
            ("health", "health_check"),
            ("keepReleases", "keep_releases"),
            ("repository", "repo"),
        ] {
            assert_eq!(nearest(typed, &known), Some(meant), "{typed}");
        }
        // Two letters in the wrong order are one mistake.
        assert_eq!(nearest("wbe", &["web", "worker"]), Some("web"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest(&"x".repeat(100_000), &known), None);
    }
}
