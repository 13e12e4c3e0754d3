//! Character references, read leniently: what cannot be resolved stands as it is written.

use std::borrow::Cow;

use quick_xml::escape::unescape;

/// The longest reference that is looked at, from `&` to `;`.
const MAX_REFERENCE_BYTES: usize = 16;

/// The text with its predefined entities (`&lt;`) and character references (`&#10;`) resolved. Nothing else is an entity
/// here: there is no document type, so nothing can expand. A reference to no character of XML 1.0 becomes U+FFFD.
pub(super) fn resolved(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, from) = rest.split_at(at);
        result.push_str(before);
        let reference = reference_at(from);
        match reference {
            Some(reference) => push_resolved(&mut result, reference),
            None => result.push('&'),
        }
        rest = &from[reference.map_or(1, str::len)..];
    }
    result.push_str(rest);
    Cow::Owned(result)
}

/// The reference that this text begins with, if it does.
fn reference_at(from: &str) -> Option<&str> {
    let window = &from[..from.floor_char_boundary(MAX_REFERENCE_BYTES)];
    let end = window.find(';')?;
    Some(&from[..=end])
}

fn push_resolved(result: &mut String, reference: &str) {
    match unescape(reference) {
        Ok(text) => result.push_str(&text),
        Err(_) if reference.starts_with("&#") => result.push(char::REPLACEMENT_CHARACTER),
        Err(_) => result.push_str(reference),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_and_anything_else_stays() {
        for (text, expected) in [
            ("a &lt;b&gt; &amp;amp; &quot;&apos;", "a <b> &amp; \"'"),
            ("&#233;&#xE9;&#10;", "\u{e9}\u{e9}\n"),
            ("&nbsp; a & b &; &#; &#xD800; &#0;", "&nbsp; a & b &; \u{fffd} \u{fffd} \u{fffd}"),
            ("&lol9999999999999999999;", "&lol9999999999999999999;"),
            ("plain", "plain"),
        ] {
            assert_eq!(resolved(text), expected, "{text}");
        }
    }
}
