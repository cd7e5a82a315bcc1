//! The weight of a preference, by RFC 9110 §12.4.2 (pure).

/// Reads the value of `q=…`. One that makes no sense counts as a refusal.
pub(crate) fn weight(parameters: &str) -> f32 {
    let mut parameters = parameters.split(';').filter_map(|p| p.split_once('='));
    let q = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    q.map_or(1.0, |(_, value)| value.trim().parse().unwrap_or(0.0))
}
