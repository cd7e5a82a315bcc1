//! A webhook of a stranger: nothing that is not signed is believed, and what it tells fits into a line.

use procserver::hooks::event::Event;
use procserver::hooks::secret::Secret;
use procserver::hooks::signature::Proof;

/// Bytes that nobody has guessed.
const KEY: [u8; 32] = *b"\x93\x1f\xe0\x55 nobody guesses this one \xc2\x07\x8a";

/// Fields, one a line, as in a request; an empty line; the body.
pub fn hook(data: &[u8]) {
    let end = data.windows(2).position(|two| two == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (data, &b""[..]),
    };
    let fields: Vec<(String, &[u8])> = head
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
            Some((name, line[colon + 1..].trim_ascii()))
        })
        .collect();
    let field = |name: &str| {
        let found = fields.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| *value)
    };
    if let Ok(proof) = Proof::read(&field) {
        for now in [0, 1_800_000_000, i64::MAX] {
            assert!(proof.check(&Secret::of(KEY), body, now).is_err());
        }
        assert!(proof.marks(&field).len() <= 2);
    }
    match Event::read(&field, body) {
        Ok(Event::Push(push)) => assert!(!push.reference.is_empty()),
        Ok(Event::Other(kind)) => assert!(!kind.chars().any(char::is_control)),
        Ok(Event::Ping) => {}
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
}
