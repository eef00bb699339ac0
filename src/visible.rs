//! Text for a terminal: text from files, above all names, may be displayed but must not control the terminal.

use std::borrow::Cow;

/// Text of one line. Characters that would move the cursor, change colours, end the line or reverse the direction of
/// the text after them are escaped: `\x1b`, `\n`, `\u{202e}`.
pub fn line(text: &str) -> Cow<'_, str> {
    written_out(text, acts)
}

/// Text of any number of lines, treated like [`line()`].
pub fn lines(text: &str) -> Cow<'_, str> {
    written_out(text, |c| acts(c) && c != '\n')
}

/// A text of JSON in which such characters are escaped; they can only be in its strings.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if acts(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// Whether a character controls the display instead of being shown.
pub fn acts(c: char) -> bool {
    // Direction marks and overrides, and the two Unicode separators.
    let directs =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || directs
}

fn written_out(text: &str, acts: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if !acts(c) => out.push(c),
            '\n' | '\r' | '\t' => out.extend(c.escape_default()),
            c if c.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(line("SM+R, ±0.1 · αβ 漢字"), "SM+R, ±0.1 · αβ 漢字");
        assert_eq!(line("\x1b[31mred\x07\u{9b}2J\u{7f}"), "\\x1b[31mred\\x07\\u{9b}2J\\x7f");
        assert_eq!(line("a\nb\tc\r"), "a\\nb\\tc\\r");
        assert_eq!(lines("a\nb\x1b"), "a\nb\\x1b");
        assert_eq!(json("[\"a\u{7f}\u{202e}\u{9b}\"]"), "[\"a\\u007f\\u202e\\u009b\"]");
        assert_eq!(line("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
    }
}
