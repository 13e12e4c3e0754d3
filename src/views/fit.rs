//! Text that keeps to a width on a terminal, where some characters take two columns and some none.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// The beginning of a text, at most `columns` wide; an ellipsis says where it was cut.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (mut kept, mut taken) = (String::new(), 0);
    for character in text.chars() {
        taken += character.width().unwrap_or(0);
        if taken >= columns {
            break;
        }
        kept.push(character);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// The text in exactly so many columns: cut, or filled up with spaces.
pub(super) fn column(text: &str, columns: usize) -> String {
    let mut cell = cut(text, columns);
    cell.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(&cell))));
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_its_columns_whatever_stands_in_it() {
        for text in [
            "",
            "a",
            "step",
            "step-with-a-long-name",
            "日本語のステップ",
            "e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}",
        ] {
            for columns in 0..12 {
                let cell = column(text, columns);
                assert_eq!(width(&cell), columns, "{text} in {columns}: {cell}");
            }
        }
        assert_eq!(column("日本語", 6), "日本語");
        assert_eq!(column("日本語", 5), "日本…");
        assert_eq!(column("日本語", 4), "日… ");
        assert_eq!(cut("abcdef", 3), "ab…");
    }
}
