//! Tables of a report as HTML.

pub use crate::draw::html::{escape, fill, json, nonce, svg_address};
use crate::report::table::Table;

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
