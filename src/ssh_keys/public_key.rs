//! [`PublicKey`]: a public key as ssh-keygen(1) writes it (pure).

use std::fmt;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

/// Algorithms, and of how many strings a key of each consists (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4, PROTOCOL.u2f).
const KINDS: [(&str, usize); 7] = [
    ("ssh-ed25519", 2),
    ("ssh-rsa", 3),
    ("ecdsa-sha2-nistp256", 3),
    ("ecdsa-sha2-nistp384", 3),
    ("ecdsa-sha2-nistp521", 3),
    ("sk-ssh-ed25519@openssh.com", 3),
    ("sk-ecdsa-sha2-nistp256@openssh.com", 4),
];

/// Shorter RSA keys are not taken; bits.
const LEAST_RSA: usize = 2048;

const LONGEST_COMMENT: usize = 100;

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: &'static str,
    /// As in the second word of its line, decoded.
    blob: Vec<u8>,
    /// Printable, and nobody's promise.
    pub comment: String,
}

/// Why a text is no public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error(
        "this is a private key, which nobody else should have: give the public one, in the file that ends in .pub"
    )]
    Private,
    #[error(
        "must be one public key, on one line, as ssh-keygen writes it to a file that ends in .pub"
    )]
    NotOne,
    #[error(
        "this is a key in the format of another program: ssh-keygen -i -f FILE prints it as ssh has it"
    )]
    Foreign,
    #[error(
        "begins with \"{0}\", which is no kind of key that is taken here: ssh-ed25519, ssh-rsa, ecdsa-sha2-nistp256, -384 and -521, \
         sk-ssh-ed25519@openssh.com, sk-ecdsa-sha2-nistp256@openssh.com"
    )]
    Unknown(String),
    #[error("the key is damaged: copy the whole line of the file that ends in .pub")]
    Damaged,
    #[error(
        "is an RSA key of {0} bits: {LEAST_RSA} are the least (ssh-keygen -t ed25519 makes a better one)"
    )]
    Weak(usize),
}

impl PublicKey {
    /// Reads the line of a key. Lines that are empty or comments may be around it.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-User-Key-File") {
            return Err(BadKey::Private);
        }
        if text.contains("BEGIN SSH2 PUBLIC KEY") || text.contains("-----BEGIN") {
            return Err(BadKey::Foreign);
        }
        let lines = text.lines().map(str::trim);
        let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(BadKey::NotOne);
        };
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let Some((kind, parts)) = KINDS.iter().find(|(known, _)| *known == kind) else {
            return Err(BadKey::Unknown(shown(kind, 40)));
        };
        let blob = BASE64_STANDARD.decode(words.next().unwrap_or_default());
        let blob = blob.map_err(|_| BadKey::Damaged)?;
        let found = strings(&blob).ok_or(BadKey::Damaged)?;
        if found.len() != *parts || found.first() != Some(&kind.as_bytes()) {
            return Err(BadKey::Damaged);
        }
        match (*kind, found.get(2)) {
            ("ssh-rsa", Some(modulus)) if bits(modulus) < LEAST_RSA => {
                return Err(BadKey::Weak(bits(modulus)));
            }
            ("ssh-ed25519", _) if found[1].len() != 32 => return Err(BadKey::Damaged),
            _ => {}
        }
        let comment = words.collect::<Vec<_>>().join(" ");
        Ok(Self {
            kind,
            comment: shown(&comment, LONGEST_COMMENT),
            blob,
        })
    }

    /// Kind and key, as in a file of authorized keys. It has neither a quote nor a line's end.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.kind, BASE64_STANDARD.encode(&self.blob))
    }

    /// As `ssh-keygen -l` prints it: `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(&self.blob);
        format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(digest))
    }

    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

fn shown(text: &str, most: usize) -> String {
    let plain = |c: &char| !c.is_control();
    text.chars().filter(plain).take(most).collect()
}

/// The strings (RFC 4251 §5) that `blob` consists of, and of nothing else.
fn strings(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (string, rest) = rest.split_at_checked(length)?;
        found.push(string);
        blob = rest;
    }
    Some(found)
}

/// How many bits a number has that is not negative (RFC 4251 §5, mpint).
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = &number[zeros..];
    let first = number.first().map_or(0, |byte| byte.leading_zeros());
    number.len() * 8 - usize::try_from(first).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn a_key_is_read_and_known_by_its_fingerprint() {
        let key = PublicKey::parse(&format!("# mine\n\n  {KEY}  ann@laptop of mine \n")).unwrap();
        assert_eq!(key.line(), KEY);
        assert_eq!(key.comment, "ann@laptop of mine");
        // As GitHub publishes it for this key of its own servers.
        let github = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";
        assert_eq!(key.fingerprint(), github);
    }

    #[test]
    fn what_is_no_public_key_is_refused_with_what_to_do() {
        let short = |kind: &str, strings: &[&[u8]]| {
            let mut blob = Vec::new();
            for string in strings {
                blob.extend(u32::try_from(string.len()).unwrap().to_be_bytes());
                blob.extend(*string);
            }
            format!("{kind} {}", BASE64_STANDARD.encode(blob))
        };
        for (text, wanted) in [
            ("", BadKey::NotOne),
            ("# nothing", BadKey::NotOne),
            (&format!("{KEY}\n{KEY}"), BadKey::NotOne),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", BadKey::Private),
            ("---- BEGIN SSH2 PUBLIC KEY ----", BadKey::Foreign),
            (
                &format!("command=\"sh\" {KEY}"),
                BadKey::Unknown("command=\"sh\"".into()),
            ),
            ("ssh-dss AAAA", BadKey::Unknown("ssh-dss".into())),
            ("ssh-ed25519", BadKey::Damaged),
            ("ssh-ed25519 AAAA", BadKey::Damaged),
            (&KEY[..60], BadKey::Damaged),
            (&KEY.replacen("ssh-ed25519", "ssh-rsa", 1), BadKey::Damaged),
            (
                &short("ssh-ed25519", &[b"ssh-ed25519", &[1; 31]]),
                BadKey::Damaged,
            ),
            (
                &short("ssh-rsa", &[b"ssh-rsa", &[3], &[0, 0xff, 0xff]]),
                BadKey::Weak(16),
            ),
        ] {
            assert_eq!(PublicKey::parse(text).unwrap_err(), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_one_line_without_quotes(text in "(ssh-rsa |ssh-ed25519 )?[ -~\n\r\"]{0,120}") {
            if let Ok(key) = PublicKey::parse(&text) {
                let line = key.line();
                prop_assert!(!line.contains(['\n', '\r', '"', '\\']));
                prop_assert!(!key.comment.contains(char::is_control));
            }
        }
    }
}
