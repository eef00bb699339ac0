//! Text escaped for its reader: spreadsheets, LaTeX, Markdown, XML. One function for each; for terminals see
//! [`crate::visible`].

use crate::visible::acts;

/// One field of a CSV file, quoted where RFC 4180 requires it and where another locale would split it. Text that a
/// spreadsheet would read as a formula gets an apostrophe, which makes it text; a number stays a number.
pub fn csv(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    match text.contains([',', ';', '\t', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

/// Text for LaTeX of any engine. It is safe at the start of a row, where `[` or `*` would otherwise become an argument of
/// the `\\` or the rule before it.
pub fn latex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    if text.trim_start().starts_with(['[', '*']) {
        out.push_str("{}");
    }
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("$<$"),
            '>' => out.push_str("$>$"),
            '|' => out.push_str("$|$"),
            '±' => out.push_str("$\\pm$"),
            '−' => out.push_str("$-$"),
            '∞' => out.push_str("$\\infty$"),
            'Σ' => out.push_str("$\\sum$"),
            '≥' => out.push_str("$\\geq$"),
            '·' => out.push_str("$\\cdot$"),
            '–' => out.push_str("--"),
            c if acts(c) => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Text of a Markdown cell or paragraph: no HTML, link, picture or emphasis. Names with underscores inside, and intervals in
/// brackets, are left readable.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let chars: Vec<char> = text.chars().collect();
    for (index, &c) in chars.iter().enumerate() {
        let next = chars.get(index + 1);
        let beside = |at: Option<&char>| at.is_some_and(|c| c.is_alphanumeric());
        let before = index.checked_sub(1).and_then(|before| chars.get(before));
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '|' | '*' | '`' | '~' => out.extend(['\\', c]),
            '_' if !(beside(before) && beside(next)) => out.extend(['\\', c]),
            // `](` and `][` turn the text in the brackets into a link, `]:` into a definition.
            ']' if matches!(next, Some('(' | '[' | ':')) => out.extend(['\\', c]),
            // At the start of the text they begin a heading, a list or a rule.
            '#' | '+' | '-'
                if out.trim_start().is_empty() && matches!(next, None | Some(' ' | '#' | '-')) =>
            {
                out.extend(['\\', c]);
            }
            c if acts(c) => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Text for XML, including attribute values in double quotes. Characters that XML does not allow, and control characters,
/// become U+FFFD.
pub fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if acts(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spreadsheet_finds_no_formula_and_keeps_its_numbers() {
        for formula in ["=1+1", "+SUM(A1)", "-2+3", "@x", "\t=1", "\r=1", "=cmd|'/c calc'!A1"] {
            let field = csv(formula);
            assert!(field.trim_start_matches('"').starts_with('\''), "{formula:?}: {field:?}");
        }
        for number in ["-0.0131", "-5", "+7", "-1e-7", "2.5", "-inf"] {
            assert_eq!(csv(number), number);
        }
        assert_eq!(csv("SM+LN+G"), "SM+LN+G");
        assert_eq!(csv("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv("a;=1"), "\"a;=1\"");
    }

    #[test]
    fn latex_takes_no_cell_for_an_option() {
        assert_eq!(latex("[a]"), "{}[a]");
        assert_eq!(latex(" *x"), "{} *x");
        assert_eq!(latex("a [b] * c"), "a [b] * c");
        assert_eq!(latex("\\input{/etc/passwd}"), "\\textbackslash{}input\\{/etc/passwd\\}");
    }

    #[test]
    fn markdown_shows_html_and_links_as_text() {
        assert_eq!(markdown("<img src=x onerror=a()>"), "&lt;img src=x onerror=a()&gt;");
        assert_eq!(markdown("![a](http://b)[c]: d"), "![a\\](http://b)[c\\]: d");
        assert_eq!(markdown("collapse [0, M/4)"), "collapse [0, M/4)");
        assert_eq!(markdown("sm_r*_a_ b|c&amp;"), "sm_r\\*\\_a\\_ b\\|c&amp;amp;");
        assert_eq!(markdown("# a\nb"), "\\# a b");
        assert_eq!(["+2.6%", "- a", "---"].map(markdown), ["+2.6%", "\\- a", "\\---"]);
    }

    #[test]
    fn xml_holds_only_valid_characters() {
        assert_eq!(
            xml("<a b=\"c\">&\u{0}\u{ffff}\u{202e}"),
            "&lt;a b=&quot;c&quot;&gt;&amp;\u{fffd}\u{fffd}\u{fffd}"
        );
    }
}
