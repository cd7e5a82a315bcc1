//! What a receiver said, as it may be shown (pure). It may repeat what it was sent, secrets and all.

use crate::document::mask::Mask;
use crate::terminal::is_control;

/// Characters of it that are shown.
const SHOWN: usize = 200;

/// One line of `text` that steers nothing and holds nothing that `mask` hides. It is cut last: a secret that is cut in
/// two is not found any more.
#[must_use]
pub fn shown(text: &str, mask: &Mask) -> String {
    let masked = mask.text(text);
    let plain = masked.chars().map(|c| if is_control(c) { ' ' } else { c });
    let plain: String = plain.take(SHOWN).collect();
    plain.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_get_out_by_being_cut_in_two() {
        let mask = Mask::new(["sesame-open".to_owned()]);
        for before in 0..SHOWN + 20 {
            let said = format!("{}sesame-open", "x".repeat(before));
            let shown = shown(&said, &mask);
            assert!(!shown.contains("ses"), "{before}: {shown}");
            assert!(shown.chars().count() <= SHOWN);
        }
        assert_eq!(shown(" why\x1b[1m\nnot ", &mask), "why [1m not");
    }
}
