//! Text, tables and data escaped for a page, whatever names they contain.

use serde_json::Value;

use crate::draw::escape::xml;
use crate::report::table::Table;
use crate::visible::acts;

/// Escapes text for element content or a quoted attribute value: as in XML, but line ends are allowed.
pub fn escape(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(xml).collect();
    lines.join("\n").replace('\'', "&#39;")
}

/// JSON for a `<script>` element: nothing in it can end the element, begin a comment, or change the text direction.
pub fn json(value: &Value) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if matches!(c, '<' | '>' | '&') || acts(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// A data URL with a whole SVG.
pub fn svg_address(svg: &str) -> String {
    format!("data:image/svg+xml,{}", svg.replace('%', "%25").replace('#', "%23").replace('\n', "%0A"))
}

/// A table in a box that scrolls sideways, by keyboard as well, if space is short.
pub fn table(table: &Table) -> String {
    let cells = |tag: &str, cells: &[String]| {
        let cell = |(index, text): (usize, &String)| match (index, tag) {
            (0, "td") => format!("<th scope=\"row\">{}</th>", escape(text)),
            (_, "th") => format!("<th scope=\"col\">{}</th>", escape(text)),
            _ => format!("<td>{}</td>", escape(text)),
        };
        format!("<tr>{}</tr>\n", cells.iter().enumerate().map(cell).collect::<String>())
    };
    let rows: String = table.rows.iter().map(|row| cells("td", row)).collect();
    let notes: String =
        table.notes.iter().map(|note| format!("<p class=\"note\">{}</p>\n", escape(note))).collect();
    format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"table, scrolls sideways\"><table>\n\
         <thead>{}</thead>\n<tbody>{rows}</tbody></table></div>\n{notes}",
        cells("th", &table.header)
    )
}
