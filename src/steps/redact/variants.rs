//! How a secret may look when it is printed.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Secrets of fewer characters are not redacted.
pub const MIN_SECRET_CHARS: usize = 3;

/// Encoded forms of fewer bytes are not looked for: they would be found by accident.
const MIN_ENCODED_BYTES: usize = 6;

/// Single lines of fewer characters are not looked for: `{` is no secret.
const MIN_LINE_CHARS: usize = 8;

/// Secrets of more bytes are looked for as they are and line by line only; each encoding costs memory.
const MAX_ENCODED_SECRET: usize = 16 << 10;

/// What `encodeURIComponent` (ECMA-262) encodes.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// What RFC 3986 has encoded everywhere: all but the unreserved characters.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What Python's `urllib.parse.quote` encodes: all but the unreserved characters and `/`.
const UNRESERVED_PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// Every look of a secret that is searched for.
pub fn of(secret: &str) -> Vec<Vec<u8>> {
    let mut all = encodings(secret);
    if secret.contains('\n') {
        let lines = secret.lines().map(str::trim).filter(|line| line.chars().count() >= MIN_LINE_CHARS);
        all.extend(lines.flat_map(encodings));
    }
    all
}

/// One text as it is, and encoded.
fn encodings(text: &str) -> Vec<Vec<u8>> {
    let mut all = vec![text.as_bytes().to_vec()];
    if text.len() > MAX_ENCODED_SECRET {
        return all;
    }
    let encoded = base64(text).into_iter().chain(percent(text)).chain(hex(text)).chain(escaped(text));
    all.extend(encoded.filter(|encoded| encoded.len() >= MIN_ENCODED_BYTES).map(String::into_bytes));
    all
}

/// Base64 (RFC 4648), at each of the three places a text can have in a longer one that is encoded.
fn base64(text: &str) -> Vec<String> {
    let mut all = vec![];
    for before in 0..3_usize {
        let padded = [&vec![0; before], text.as_bytes()].concat();
        // The first characters hold bits of what stands before.
        let first = (before * 8).div_ceil(6);
        // The last character may hold bits of what follows; if nothing does, it is as encoded here.
        let certain = padded.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&padded);
            all.extend([encoded.get(first..certain), encoded.get(first..)].into_iter().flatten().map(str::to_owned));
        }
        for engine in [&STANDARD, &URL_SAFE] {
            all.extend(engine.encode(&padded).get(first..).map(str::to_owned));
        }
    }
    all
}

fn percent(text: &str) -> Vec<String> {
    let sets = [NON_ALPHANUMERIC, COMPONENT, UNRESERVED, UNRESERVED_PATH];
    let mut all: Vec<String> = sets.into_iter().map(|set| utf8_percent_encode(text, set).to_string()).collect();
    all.extend(all.clone().into_iter().map(|encoded| encoded.replace("%20", "+")));
    all.extend(all.clone().into_iter().map(lower_percent));
    all
}

/// The same with lower-case digits: `%2f`. What was not encoded keeps its case.
fn lower_percent(encoded: String) -> String {
    let mut digits = 0_u8;
    encoded
        .chars()
        .map(|c| match (c, digits) {
            ('%', _) => {
                digits = 2;
                c
            }
            (_, 0) => c,
            (_, _) => {
                digits -= 1;
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

fn hex(text: &str) -> Vec<String> {
    let lower: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    vec![lower.to_uppercase(), lower]
}

/// Escaped for JSON, program texts, HTML and XML, and shells.
fn escaped(text: &str) -> Vec<String> {
    let json = serde_json::to_string(text).unwrap_or_default();
    let json = json.get(1..json.len().saturating_sub(1)).unwrap_or_default().to_owned();
    let mut all = vec![json.replace('/', "\\/")];
    all.extend([ascii_only(&json, false), ascii_only(&json, true)]);
    all.push(json.replace('\'', "\\'")); // Python and JavaScript, in single quotes
    all.push(json.replace("\\\"", "\"").replace('\'', "\\'"));
    all.push(json.replace("\\\"", "\"")); // Python, in single quotes, with double ones inside
    all.push(json);
    for (quote, apostrophe) in
        [("&quot;", "&#39;"), ("&quot;", "&#x27;"), ("&quot;", "&apos;"), ("&#34;", "&#39;"), ("\"", "'")]
    {
        let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        all.push(html.replace('"', quote).replace('\'', apostrophe));
    }
    all.extend([text.replace('\'', "'\\''"), text.replace('\'', "'\"'\"'")]);
    all.push(backslashed(text, |c| matches!(c, '"' | '$' | '`' | '\\' | '!')));
    all.push(backslashed(text, |c| matches!(c, '"' | '$' | '`' | '\\')));
    all.push(backslashed(text, |c| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_./:=@%+,".contains(c)));
    all
}

/// What is not ASCII as `\uXXXX` (UTF-16), as `json.dumps` and others print it.
fn ascii_only(json: &str, upper: bool) -> String {
    let mut out = String::new();
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.push_str(&if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") });
        }
    }
    out
}

fn backslashed(text: &str, special: impl Fn(char) -> bool) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if special(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
