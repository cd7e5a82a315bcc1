//! [`Proof`]: how a delivery shows that its sender knows the secret (pure).
//!
//! | service | what it sends |
//! |---|---|
//! | GitHub | `X-Hub-Signature-256: sha256=` and the HMAC-SHA256 of the body in hexadecimal digits |
//! | Gitea, Forgejo, Gogs | the same digits also in a field of their own |
//! | GitLab, signing token | `webhook-signature: v1,` and the HMAC-SHA256 of `id.timestamp.body` in Base64 (Standard Webhooks) |
//! | GitLab, secret token | `X-Gitlab-Token`: the secret itself |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::secret::Secret;

/// How old, or how much of the future, a delivery with a time may be; seconds. Standard Webhooks says five minutes.
const TOLERANCE: u64 = 300;

/// Fields with the digits of an HMAC of the body, and what stands before these.
const DIGITS: [(&str, &[u8]); 4] = [
    ("x-hub-signature-256", b"sha256="),
    ("x-gitea-signature", b""),
    ("x-forgejo-signature", b""),
    ("x-gogs-signature", b""),
];

/// Fields with what the service calls a delivery, also when it repeats it.
const IDS: [&str; 6] = [
    "x-github-delivery",
    "x-gitea-delivery",
    "x-forgejo-delivery",
    "x-gogs-delivery",
    // GitLab's.
    "idempotency-key",
    "x-gitlab-event-uuid",
];

/// Looks a field of the request up, by its name in lower case.
pub type Field<'a> = dyn Fn(&str) -> Option<&'a [u8]> + 'a;

/// How a delivery shows that its sender knows the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof<'a> {
    /// An HMAC of the body.
    Body { tag: [u8; 32] },
    /// HMACs of the id, the time and the body; one that is right is enough.
    Standard {
        id: &'a [u8],
        timestamp: &'a [u8],
        tags: Vec<[u8; 32]>,
    },
    /// The secret itself.
    Token(&'a [u8]),
}

/// Why a delivery is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "the delivery is not signed: give the service the secret that \"procserver hook\" shows"
    )]
    Unsigned,
    #[error("the field {0} is not what a service sends")]
    Malformed(&'static str),
    #[error(
        "the delivery was signed more than five minutes ago, or is of the future: compare the clocks of both machines"
    )]
    Stale,
    #[error("the signature is not made with the secret of such an application")]
    Wrong,
}

impl<'a> Proof<'a> {
    /// The strongest proof that a request has: a weaker one beside it does not count, so that nobody gets round a
    /// signature by leaving it wrong.
    ///
    /// # Errors
    /// It has none, or one that makes no sense.
    pub fn read(field: &Field<'a>) -> Result<Self, Refusal> {
        if let Some(signatures) = field("webhook-signature") {
            return Self::standard(signatures, field);
        }
        for (name, before) in DIGITS {
            if let Some(value) = field(name) {
                let digits = value.strip_prefix(before);
                let tag = digits.and_then(from_hex);
                let tag = tag.ok_or(Refusal::Malformed(name))?;
                return Ok(Self::Body { tag });
            }
        }
        field("x-gitlab-token")
            .map(Self::Token)
            .ok_or(Refusal::Unsigned)
    }

    fn standard(signatures: &'a [u8], field: &Field<'a>) -> Result<Self, Refusal> {
        let part = |name| field(name).filter(|value| !value.is_empty());
        // Signatures of several keys have blanks between them; there may be other versions.
        let tags = signatures
            .split(|byte| *byte == b' ')
            .filter_map(|signature| signature.strip_prefix(b"v1,"))
            .filter_map(|encoded| STANDARD.decode(encoded).ok()?.try_into().ok());
        let tags: Vec<[u8; 32]> = tags.collect();
        if tags.is_empty() {
            return Err(Refusal::Malformed("webhook-signature"));
        }
        Ok(Self::Standard {
            id: part("webhook-id").ok_or(Refusal::Malformed("webhook-id"))?,
            timestamp: part("webhook-timestamp").ok_or(Refusal::Malformed("webhook-timestamp"))?,
            tags,
        })
    }

    /// Whether it is made with `secret`; `now` in seconds since 1970.
    ///
    /// # Errors
    /// It is not, or too long ago.
    pub fn check(&self, secret: &Secret, body: &[u8], now: i64) -> Result<(), Refusal> {
        let is_right = match self {
            Self::Body { tag } => secret.has_signed(body, tag),
            Self::Token(token) => secret.is(token),
            Self::Standard {
                id,
                timestamp,
                tags,
            } => {
                let parts = [*id, b".", *timestamp, b".", body];
                let is_right = |tag: &[u8; 32]| secret.has_signed_parts(&parts, tag);
                if !tags.iter().any(is_right) {
                    return Err(Refusal::Wrong);
                }
                let time = std::str::from_utf8(timestamp).ok();
                let time: i64 = time
                    .and_then(|time| time.parse().ok())
                    .ok_or(Refusal::Malformed("webhook-timestamp"))?;
                if time.abs_diff(now) > TOLERANCE {
                    return Err(Refusal::Stale);
                }
                true
            }
        };
        is_right.then_some(()).ok_or(Refusal::Wrong)
    }

    /// What the delivery is known by when it comes again, as digests. The id of GitHub is not signed: who sends what was
    /// once delivered under another id is known by the signature.
    #[must_use]
    pub fn marks(&self, field: &Field<'_>) -> Vec<String> {
        let named = || IDS.iter().find_map(|name| field(name));
        match self {
            Self::Standard { id, .. } => vec![mark(b"id", id)],
            Self::Token(_) => named().map(|id| mark(b"id", id)).into_iter().collect(),
            Self::Body { tag } => {
                let id = named().map(|id| mark(b"id", id));
                id.into_iter().chain([mark(b"signature", tag)]).collect()
            }
        }
    }
}

/// A name of bounded length.
fn mark(kind: &[u8], value: &[u8]) -> String {
    let digest = Sha256::new().chain_update(kind).chain_update(b" ");
    let digest = digest.chain_update(value).finalize();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&digest[..18])
}

fn from_hex(digits: &[u8]) -> Option<[u8; 32]> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Fields<'a> = Vec<(&'a str, &'a str)>;

    fn read<'a>(fields: &'a Fields<'a>) -> Result<Proof<'a>, Refusal> {
        Proof::read(&lookup(fields))
    }

    fn lookup<'a>(fields: &'a Fields<'a>) -> impl Fn(&str) -> Option<&'a [u8]> + 'a {
        |name| {
            let found = fields.iter().find(|(of, _)| *of == name);
            found.map(|(_, value)| value.as_bytes())
        }
    }

    /// GitHub's own example for who writes such a check.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const TAG: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn github_secret() -> Secret {
        // It has blanks, which ours never have.
        Secret::parse(&SECRET.replace(' ', "_")).unwrap()
    }

    #[test]
    fn githubs_example_is_right_and_any_other_bit_is_wrong() {
        let key = hmac(SECRET.as_bytes(), BODY);
        assert_eq!(key, TAG, "the example itself");
        let secret = github_secret();
        let tag = hmac(secret.text().as_bytes(), BODY);
        for field in [
            ("x-hub-signature-256", format!("sha256={tag}")),
            ("x-gitea-signature", tag.clone()),
            ("x-forgejo-signature", tag.to_uppercase()),
            ("x-gogs-signature", tag.clone()),
        ] {
            let fields = vec![(field.0, field.1.as_str())];
            let proof = read(&fields).unwrap();
            assert_eq!(proof.check(&secret, BODY, 0), Ok(()), "{}", field.0);
            assert_eq!(
                proof.check(&secret, b"Hello, world!", 0),
                Err(Refusal::Wrong)
            );
        }
        for wrong in ["", "sha256=", "sha1=00", &tag, &format!("sha256={tag}0")] {
            let fields = vec![("x-hub-signature-256", wrong)];
            assert!(
                matches!(read(&fields), Err(Refusal::Malformed(_))),
                "{wrong}"
            );
        }
    }

    fn hmac(key: &[u8], message: &[u8]) -> String {
        use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
        let tag = sign(&Key::new(HMAC_SHA256, key), message);
        tag.as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn standard(key: &[u8], message: &[u8]) -> String {
        use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
        format!(
            "v1,{}",
            STANDARD.encode(sign(&Key::new(HMAC_SHA256, key), message))
        )
    }

    /// The example of Standard Webhooks.
    #[test]
    fn a_signing_token_signs_id_time_and_body() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let fields = vec![
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
        ];
        let check = |fields: &Fields<'_>, now| read(fields).unwrap().check(&secret, body, now);
        assert_eq!(check(&fields, 1_614_265_330), Ok(()));
        assert_eq!(check(&fields, 1_614_265_630), Ok(()));
        for now in [1_614_265_631, 1_614_265_029, 0, i64::MIN, i64::MAX] {
            assert_eq!(check(&fields, now), Err(Refusal::Stale), "{now}");
        }
        let two = format!("v1,{} v2,x {}", STANDARD.encode([0; 32]), fields[2].1);
        let mut rotated = fields.clone();
        rotated[2].1 = &two;
        assert_eq!(check(&rotated, 1_614_265_330), Ok(()));
        for (at, other) in [(0, "msg_other"), (1, "1614265331")] {
            let mut changed = fields.clone();
            changed[at].1 = other;
            assert_eq!(
                check(&changed, 1_614_265_330),
                Err(Refusal::Wrong),
                "{other}"
            );
        }
        for at in 0..3 {
            let mut less = fields.clone();
            less.remove(at);
            assert!(read(&less).is_err(), "{at}");
        }
    }

    #[test]
    fn a_token_is_the_secret_and_does_not_stand_in_for_a_signature() {
        let secret = Secret::of([1; 32]);
        let token = vec![("x-gitlab-token", secret.text())];
        assert_eq!(read(&token).unwrap().check(&secret, b"", 0), Ok(()));
        let other = vec![("x-gitlab-token", "whsec_other")];
        assert_eq!(
            read(&other).unwrap().check(&secret, b"", 0),
            Err(Refusal::Wrong)
        );
        let signed = standard(&[2; 32], b"1.0.");
        let mut both = token.clone();
        both.extend([("webhook-id", "1"), ("webhook-timestamp", "0")]);
        both.push(("webhook-signature", &signed));
        assert_eq!(
            read(&both).unwrap().check(&secret, b"", 0),
            Err(Refusal::Wrong)
        );
        assert_eq!(read(&vec![]), Err(Refusal::Unsigned));
    }

    #[test]
    fn what_is_delivered_again_has_a_mark_of_what_was() {
        let signed = format!("sha256={TAG}");
        let first = vec![
            ("x-hub-signature-256", signed.as_str()),
            ("x-github-delivery", "1"),
        ];
        let marks = |fields: &Fields<'_>| read(fields).unwrap().marks(&lookup(fields));
        assert_eq!(marks(&first), marks(&first.clone()));
        let mut renamed = first.clone();
        renamed[1].1 = "2";
        assert_ne!(marks(&first)[0], marks(&renamed)[0]);
        assert_eq!(marks(&first)[1], marks(&renamed)[1]);
        let gitlab = vec![
            ("x-gitlab-token", "a"),
            ("idempotency-key", "k"),
            ("x-gitlab-event-uuid", "u"),
        ];
        assert_eq!(marks(&gitlab).len(), 1);
        assert!(marks(&vec![("x-gitlab-token", "a")]).is_empty());
    }

    proptest! {
        #[test]
        fn no_field_makes_it_panic_and_none_is_right_by_chance(
            fields in proptest::collection::vec((0..12_usize, ".{0,80}"), 0..6),
            body in proptest::collection::vec(any::<u8>(), 0..64),
            now in any::<i64>(),
        ) {
            let names = ["webhook-id", "webhook-timestamp", "webhook-signature", "x-gitlab-token"];
            let names = names.into_iter().chain(DIGITS.map(|(name, _)| name)).chain(IDS);
            let names: Vec<&str> = names.collect();
            let fields: Fields<'_> = fields
                .iter()
                .map(|(at, value)| (names[*at], value.as_str()))
                .collect();
            if let Ok(proof) = read(&fields) {
                prop_assert!(proof.check(&Secret::of([9; 32]), &body, now).is_err());
                prop_assert!(proof.marks(&lookup(&fields)).len() <= 2);
            }
        }

        #[test]
        fn what_is_signed_with_the_secret_is_right_and_with_another_wrong(
            key in any::<[u8; 32]>(),
            body in proptest::collection::vec(any::<u8>(), 0..256),
            id in "[!-~]{1,40}",
            now in 0..4_000_000_000_i64,
        ) {
            let secret = Secret::of(key);
            let other = Secret::of(key.map(|byte| !byte));
            let by_body = format!("sha256={}", hmac(secret.text().as_bytes(), &body));
            let message = [id.as_bytes(), b".", now.to_string().as_bytes(), b".", &body].concat();
            let (by_parts, time) = (standard(&key, &message), now.to_string());
            for fields in [
                vec![("x-hub-signature-256", by_body.as_str())],
                vec![
                    ("webhook-id", id.as_str()),
                    ("webhook-timestamp", time.as_str()),
                    ("webhook-signature", by_parts.as_str()),
                ],
            ] {
                let proof = read(&fields).unwrap();
                prop_assert_eq!(proof.check(&secret, &body, now), Ok(()));
                prop_assert_eq!(proof.check(&other, &body, now), Err(Refusal::Wrong));
            }
        }
    }
}
