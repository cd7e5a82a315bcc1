//! [`random`]: what makes delays differ, so that those that failed together do not all try again together.

/// Uniform in `0.0..1.0`; without a random source, no jitter.
#[must_use]
pub fn random() -> f64 {
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / (f64::from(u32::MAX) + 1.0))
}
