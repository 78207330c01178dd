//! Text of others on our terminal: names, reasons and messages may hold control characters, which could move
//! the cursor, recolour or retitle the terminal. They are written out instead of obeyed.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with every control character and every character that reorders a line written as `\u{1b}`.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if is_harmful(letter) {
            write!(out, "\\u{{{:x}}}", u32::from(letter)).unwrap_or_default();
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

/// C0, DEL, C1, line and paragraph separators, and Unicode's marks that reorder or hide text, invisible tags among them.
#[must_use]
pub fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(clean("a\u{1b}[31mb\nc\u{9b}d"), "a\\u{1b}[31mb\\u{a}c\\u{9b}d");
        assert_eq!(clean("\u{202e}gpj.exe"), "\\u{202e}gpj.exe");
        assert_eq!(clean("Müller 学習"), "Müller 学習");
    }
}
