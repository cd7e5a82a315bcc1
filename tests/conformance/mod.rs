//! Procfile and `.env` against foreman: what it made of each input is in the JSON files beside this one.

use procserver::document::dotenv::Dotenv;
use procserver::document::procfile::Procfile;
use serde::Deserialize;

/// One input and what foreman made of it.
#[derive(Deserialize)]
struct Case<T> {
    name: String,
    input_b64: String,
    expect: Option<T>,
    deviation: Option<String>,
    expect_error: Option<String>,
}

fn cases<T: for<'de> Deserialize<'de>>(json: &str, at_least: usize) -> Vec<(Case<T>, Vec<u8>)> {
    let cases: Vec<Case<T>> = serde_json::from_str(json).unwrap();
    assert!(cases.len() >= at_least, "cases are missing");
    cases
        .into_iter()
        .map(|case| {
            let input = base64(&case.input_b64);
            (case, input)
        })
        .collect()
}

/// Decodes RFC 4648 base64.
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut out) = (0u32, 0, Vec::new());
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = ALPHABET.iter().position(|letter| *letter == byte).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    out
}

/// The line that the reason of an `expect_error` case is on.
fn first_bad_line(input: &[u8]) -> usize {
    let bad = std::str::from_utf8(input).unwrap_err().valid_up_to();
    1 + input[..bad].iter().filter(|byte| **byte == b'\n').count()
}

fn without_mark(input: &[u8]) -> &[u8] {
    input.strip_prefix("\u{feff}".as_bytes()).unwrap()
}

#[test]
fn procfiles_are_read_as_foreman_reads_them() {
    type Entries = Vec<(String, String)>;
    let cases = cases::<Entries>(include_str!("procfile_cases.json"), 115);
    for (case, input) in cases {
        let name = &case.name;
        let parsed = Procfile::parse(&input);
        if case.expect_error.is_some() {
            let line = format!("line {} ", first_bad_line(&input));
            assert!(parsed.unwrap_err().to_string().contains(&line), "{name}");
            continue;
        }
        let parsed = parsed.unwrap_or_else(|error| panic!("{name}: {error}"));
        let entries: Vec<_> = parsed
            .entries
            .iter()
            .map(|entry| (entry.name.clone(), entry.command.clone()))
            .collect();
        let mut expected = case.expect.unwrap();
        match case.deviation.as_deref() {
            None => {}
            Some("blank") => {
                expected.retain(|(_, command)| !command.trim().is_empty());
                assert!(parsed.warnings[0].contains("line 1:"), "{name}");
            }
            Some("bom") => {
                let plain = Procfile::parse(without_mark(&input)).unwrap();
                assert!(!plain.entries.is_empty(), "{name}");
                assert_eq!(parsed.entries, plain.entries, "{name}");
                assert!(parsed.warnings[0].contains("line 1:"), "{name}");
                continue;
            }
            Some(other) => panic!("{name}: unknown deviation {other}"),
        }
        assert_eq!(entries, expected, "{name}");
    }
}

#[test]
fn dotenvs_are_read_as_foreman_reads_them() {
    type Variables = std::collections::BTreeMap<String, String>;
    let cases = cases::<Variables>(include_str!("dotenv_cases.json"), 129);
    for (case, input) in cases {
        let name = &case.name;
        let parsed = Dotenv::parse(&input);
        if case.expect_error.is_some() {
            let line = format!("line {} ", first_bad_line(&input));
            assert!(parsed.unwrap_err().to_string().contains(&line), "{name}");
            continue;
        }
        let parsed = parsed.unwrap_or_else(|error| panic!("{name}: {error}"));
        match case.deviation.as_deref() {
            None => assert_eq!(parsed.variables, case.expect.unwrap(), "{name}"),
            Some("bom") => {
                let plain = Dotenv::parse(without_mark(&input)).unwrap();
                assert!(plain.variables.len() > case.expect.unwrap().len(), "{name}");
                assert_eq!(parsed.variables, plain.variables, "{name}");
                assert!(parsed.warnings[0].contains("line 1:"), "{name}");
            }
            Some(other) => panic!("{name}: unknown deviation {other}"),
        }
    }
}
