//! The `time` attribute: seconds as text, in whatever shape a tool writes them, to milliseconds.

/// The longest duration that is recorded: 2^53 milliseconds, the largest number of milliseconds an event may hold.
const MAX_MS: f64 = 9_007_199_254_740_992.0;

/// Milliseconds, rounded, of seconds as text. 0 where there is no such number (missing, not a number, negative).
///
/// `1.5`, `1,5` (decimal comma), `1,234.5` and `1.234,5` (digit groups), `1e-05` and `1.5s` are read: of a point and a
/// comma the later one is the decimal sign, and so is a single comma, since tools always write a fraction.
pub(super) fn milliseconds(seconds: Option<&str>) -> u64 {
    let text = seconds.unwrap_or_default().trim().trim_end_matches(['s', 'S']).trim_end();
    let value: f64 = plain(text).parse().unwrap_or(0.0);
    let ms = (value * 1000.0).round();
    if ms.is_nan() { 0 } else { ms.clamp(0.0, MAX_MS) as u64 }
}

/// The same number with a point for the decimal sign and no digit groups.
fn plain(text: &str) -> String {
    let commas = text.matches(',').count();
    match (text.rfind(','), text.rfind('.')) {
        (Some(comma), Some(point)) if comma > point => text.replace('.', "").replace(',', "."),
        (Some(_), None) if commas == 1 => text.replace(',', "."),
        _ => text.replace(',', ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_seconds_is_read() {
        for (text, ms) in [
            ("1.5", 1500),
            ("0.", 0),
            ("1,5", 1500),
            ("1,234.5", 1_234_500),
            ("1.234,5", 1_234_500),
            ("1,234,567", 1_234_567_000),
            ("1e-05", 0),
            ("0.0005", 1),
            (" 2s ", 2000),
            ("-3", 0),
            ("NaN", 0),
            ("soon", 0),
            ("", 0),
            ("inf", 9_007_199_254_740_992),
            ("1e300", 9_007_199_254_740_992),
        ] {
            assert_eq!(milliseconds(Some(text)), ms, "{text}");
        }
        assert_eq!(milliseconds(None), 0);
    }
}
