//! Redaction against a second, plain way of doing it, and against real encoders.

use proptest::prelude::*;

use super::*;

/// The whole text at once, by marking every byte that any pattern covers.
fn plainly(redactor: &Redactor, text: &[u8]) -> Vec<u8> {
    let mut marks = vec![];
    for pattern in &redactor.now().patterns {
        for start in 0..text.len() {
            if text[start..].starts_with(pattern) {
                marks.push((start, start + pattern.len()));
            }
        }
    }
    marks.sort_unstable();
    let (mut out, mut done) = (vec![], 0);
    for (start, end) in marks {
        if start >= done {
            out.extend_from_slice(&text[done..start]);
            out.extend_from_slice(MASK.as_bytes());
        }
        done = done.max(end);
    }
    out.extend_from_slice(&text[done..]);
    out
}

fn in_chunks(redactor: &Redactor, text: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut stream = redactor.stream();
    let (mut out, mut rest) = (vec![], text);
    for size in sizes.iter().cycle().take(text.len() + 1) {
        let (now, later) = rest.split_at((*size).min(rest.len()));
        out.extend(stream.push(now));
        rest = later;
    }
    out.extend(stream.push(rest));
    out.extend(stream.finish());
    out
}

proptest! {
    #[test]
    fn chunks_make_no_difference_and_no_secret_is_left(
        // Few letters, so that secrets overlap with themselves and each other.
        secrets in proptest::collection::vec("[ab]{3,7}|[abc\n]{3,20}|[a-z\"'&/ \u{e9}]{3,12}", 1..4),
        words in proptest::collection::vec("[ab]{0,9}|[abc\n]{0,9}", 0..20),
        places in proptest::collection::vec((0..20_usize, 0..4_usize), 0..9),
        sizes in proptest::collection::vec(0..9_usize, 1..9),
    ) {
        let mut words = words;
        for (place, secret) in places {
            words.insert(place.min(words.len()), secrets[secret % secrets.len()].clone());
        }
        let text = words.concat();
        let redactor = Redactor::new(secrets.clone());
        let expected = plainly(&redactor, text.as_bytes());
        prop_assert_eq!(&in_chunks(&redactor, text.as_bytes(), &sizes), &expected);
        prop_assert_eq!(redactor.text(&text).into_bytes(), expected.clone());
        for secret in &secrets {
            prop_assert!(!String::from_utf8_lossy(&expected).contains(secret.as_str()));
        }
    }

    #[test]
    fn base64_is_found_wherever_the_secret_stands(
        secret in "[ -~]{8,40}", before in "[ -~]{0,7}", after in "[ -~]{0,7}", url in any::<bool>(), pad in any::<bool>()
    ) {
        use base64::Engine;
        use base64::engine::general_purpose as engines;
        let whole = format!("{before}{secret}{after}");
        let encoded = match (url, pad) {
            (false, true) => engines::STANDARD.encode(&whole),
            (false, false) => engines::STANDARD_NO_PAD.encode(&whole),
            (true, true) => engines::URL_SAFE.encode(&whole),
            (true, false) => engines::URL_SAFE_NO_PAD.encode(&whole),
        };
        let shown = Redactor::new([secret.clone()]).text(&encoded);
        // At most two characters at each border share bits with the secret.
        let kept = (before.len() + after.len()).div_ceil(3) * 4 + 4;
        prop_assert!(shown.contains(MASK), "{} -> {}", encoded, shown);
        prop_assert!(shown.len() <= kept + MASK.len() + 4, "{} -> {}", encoded, shown);
    }
}

#[test]
fn each_common_encoding_is_found() {
    let secret = "p&ss \"w0rd\"/é'<x>$1";
    let redactor = Redactor::new([secret.to_owned()]);
    let looks = [
        secret,
        "p%26ss%20%22w0rd%22%2F%C3%A9%27%3Cx%3E%241",
        "p%26ss+%22w0rd%22%2f%c3%a9%27%3cx%3e%241",
        "p%26ss%20%22w0rd%22%2F%C3%A9'%3Cx%3E%241",
        "7026737320227730726422 2fc3a9273c783e2431",
        "p&ss \\\"w0rd\\\"/é'<x>$1",
        "p&ss \\\"w0rd\\\"\\/é'<x>$1",
        "p&ss \\\"w0rd\\\"/\\u00e9'<x>$1",
        "p&ss \\\"w0rd\\\"/\\u00E9'<x>$1",
        "p&amp;ss &quot;w0rd&quot;/é&#x27;&lt;x&gt;$1",
        "p&amp;ss &quot;w0rd&quot;/é&apos;&lt;x&gt;$1",
        "p&ss \"w0rd\"/é'\\''<x>$1",
        "p&ss \\\"w0rd\\\"/é'<x>\\$1",
        "p\\&ss\\ \\\"w0rd\\\"/é\\'\\<x\\>\\$1",
    ];
    for look in looks.map(|look| look.replace("22 2f", "222f")) {
        assert_eq!(redactor.text(&format!("[{look}]")), "[***]", "{look}");
    }
    let hex = "7026737320227730726422".to_owned() + "2FC3A9273C783E2431";
    assert_eq!(redactor.text(&hex), MASK);
}

#[test]
fn a_secret_of_several_lines_is_found_line_by_line() {
    let redactor = Redactor::new(["-----BEGIN KEY-----\nMIIEvQIBADANBg\n}\n-----END KEY-----\n".to_owned()]);
    assert_eq!(redactor.text("> MIIEvQIBADANBg\r\n> }\r\n"), "> ***\r\n> }\r\n");
    assert_eq!(
        redactor.text("{\"key\":\"-----BEGIN KEY-----\\nMIIEvQIBADANBg\\n}\\n-----END KEY-----\\n\"}"),
        "{\"key\":\"***\"}"
    );
}

#[test]
fn what_overlaps_is_one_stretch_and_what_is_too_short_stays() {
    let redactor = Redactor::new(["abcdef".to_owned(), "defghi".to_owned(), "no".to_owned(), String::new()]);
    assert_eq!(redactor.text("no: abcdefghi, abcdefabcdef"), "no: ***, ******");
    assert!(Redactor::new(["no".to_owned()]).is_empty());
    assert_eq!(redactor.with("third-one").text("third-one abcdef"), "*** ***");
}

#[test]
fn only_what_may_begin_a_secret_is_held_back() {
    let mut stream = Redactor::new(["hunter22".to_owned()]).stream();
    assert_eq!(stream.push(b"Enter: "), b"Enter: ");
    assert_eq!(stream.push(b"x hunt"), b"x ");
    assert_eq!(stream.push(b"ing"), b"hunting");
    assert_eq!(stream.push(b"hunter2"), b"");
    assert_eq!(stream.push(b"2!"), b"***!");
    assert_eq!(stream.push(b"hun"), b"");
    assert_eq!(stream.finish(), b"hun");
}

#[test]
fn what_one_clone_learns_all_know_also_streams_that_have_begun() {
    let redactor = Redactor::default();
    let mut stream = redactor.stream();
    assert_eq!(stream.push(b"hunter22 "), b"hunter22 ");
    assert!(stream.has_learnt().is_none());
    redactor.clone().learn("hunter22");
    assert_eq!(redactor.text("hunter22"), "***");
    assert_eq!([stream.push(b"hunter22 "), stream.finish()].concat(), b"*** ");
    assert_eq!(stream.has_learnt().map(|redactor| redactor.bytes(b"hunter22 ")), Some(b"*** ".to_vec()));
}
