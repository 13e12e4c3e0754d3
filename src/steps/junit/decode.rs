//! From the bytes of a report to text, by its byte order mark or its declared encoding.

use std::borrow::Cow;

use super::ReportError;

/// The XML declaration is looked for in so many bytes.
const DECLARATION_BYTES: usize = 256;

/// The text of a report: UTF-8, UTF-16 with a byte order mark or recognisable by its first `<`, ISO-8859-1, US-ASCII.
/// Bytes that are none of its encoding become U+FFFD: a tool that copies a program's raw output is still read.
pub(super) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, ReportError> {
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => Ok(String::from_utf8_lossy(rest)),
        [0xff, 0xfe, rest @ ..] => Ok(utf16(rest, u16::from_le_bytes).into()),
        [0xfe, 0xff, rest @ ..] => Ok(utf16(rest, u16::from_be_bytes).into()),
        [b'<', 0, ..] => Ok(utf16(bytes, u16::from_le_bytes).into()),
        [0, b'<', ..] => Ok(utf16(bytes, u16::from_be_bytes).into()),
        _ => by_declaration(bytes),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn by_declaration(bytes: &[u8]) -> Result<Cow<'_, str>, ReportError> {
    let Some(encoding) = declared_encoding(bytes) else { return Ok(String::from_utf8_lossy(bytes)) };
    match encoding.to_ascii_lowercase().as_str() {
        // A tool that declares UTF-16 and writes single bytes has converted nothing but the declaration.
        "utf-8" | "utf8" | "us-ascii" | "ascii" | "utf-16" => Ok(String::from_utf8_lossy(bytes)),
        "iso-8859-1" | "iso8859-1" | "iso_8859-1" | "latin1" | "latin-1" => {
            Ok(bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into())
        }
        _ => Err(ReportError::Encoding { encoding }),
    }
}

/// The value of `encoding` in the XML declaration, if there is one.
fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(DECLARATION_BYTES)]).into_owned();
    let declaration = head.trim_start().strip_prefix("<?xml")?.split("?>").next()?;
    let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value[1..].split(quote).next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_encoding_is_read() {
        let text = "<?xml version=\"1.0\" encoding='utf-16'?><a b=\"\u{e9}\u{1f600}\"/>";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [&little, &big] {
            assert_eq!(decode(bytes).unwrap(), text);
        }
        assert_eq!(decode(&[&[0xff, 0xfe], little.as_slice()].concat()).unwrap(), text);
        assert_eq!(decode(&[&[0xfe, 0xff], big.as_slice()].concat()).unwrap(), text);
        assert_eq!(decode(b"\xef\xbb\xbf<a/>").unwrap(), "<a/>");
        let latin = b"<?xml version='1.0' encoding=\"ISO-8859-1\"?><a>\xe9</a>";
        assert!(decode(latin).unwrap().ends_with("<a>\u{e9}</a>"));
        assert_eq!(decode(b"<a>\xff</a>").unwrap(), "<a>\u{fffd}</a>");
    }

    #[test]
    fn another_encoding_is_refused_by_name() {
        let refused = decode(b"<?xml version='1.0' encoding='Shift_JIS'?><a/>").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the report is encoded in `Shift_JIS`; write it as UTF-8 (UTF-16, ISO-8859-1 and US-ASCII are read too)"
        );
    }
}
