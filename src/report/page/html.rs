//! Tables of a report as HTML.

pub use crate::draw::html::{escape, fill, json, nonce, svg_address};
use crate::report::table::Table;

/// A column of pictures.
pub struct Pictures {
    pub header: String,
    /// For each row a value to sort by, and HTML.
    pub cells: Vec<(Option<f64>, String)>,
}

/// A table that can be sorted by each of its columns, in a box that scrolls sideways, by keyboard as well, if space is short.
/// `pictures` are columns behind the others.
pub fn table(table: &Table, pictures: &[Pictures]) -> String {
    let columns: Vec<Vec<Option<f64>>> =
        (0..table.header.len()).map(|column| numbers(table.rows.iter().map(|row| &row[column]))).collect();
    let head =
        |text: &String| format!("<th scope=\"col\"><button type=\"button\">{}</button></th>", escape(text));
    let header = table.header.iter().chain(pictures.iter().map(|column| &column.header)).map(head);
    let value = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let row = |(index, row): (usize, &Vec<String>)| {
        let cell = |(column, text): (usize, &String)| match (column, columns[column].is_empty()) {
            (0, _) => format!("<th scope=\"row\">{}</th>", escape(text)),
            (_, true) => format!("<td>{}</td>", escape(text)),
            (_, false) => {
                format!("<td data-value=\"{}\">{}</td>", value(columns[column][index]), escape(text))
            }
        };
        let picture = |Pictures { cells, .. }: &Pictures| {
            format!("<td data-value=\"{}\">{}</td>", value(cells[index].0), cells[index].1)
        };
        let cells = row.iter().enumerate().map(cell).chain(pictures.iter().map(picture));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let rows: String = table.rows.iter().enumerate().map(row).collect();
    let notes: String =
        table.notes.iter().map(|note| format!("<p class=\"note\">{}</p>\n", escape(note))).collect();
    format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"table, scrolls sideways\"><table class=\"sortable\">\n\
         <thead><tr>{}</tr>\n</thead>\n<tbody>{rows}</tbody></table></div>\n{notes}",
        header.collect::<String>()
    )
}

/// The numbers that a column's cells begin with, if it is one of numbers; `None` where a cell has none.
fn numbers<'a>(cells: impl Iterator<Item = &'a String>) -> Vec<Option<f64>> {
    let parsed: Vec<(bool, Option<f64>)> = cells.map(|text| (text == "–", number(text))).collect();
    let words = parsed.iter().filter(|(absent, number)| !absent && number.is_none()).count();
    let found = parsed.iter().filter(|(_, number)| number.is_some()).count();
    if found == 0 || words > found {
        Vec::new()
    } else {
        parsed.into_iter().map(|(_, number)| number).collect()
    }
}

/// The number that a text begins with, as people write it: 1,234 and −0.3%.
fn number(text: &str) -> Option<f64> {
    let plain = text.replace(',', "").replace('−', "-");
    let plain = plain.trim_start_matches(['+', '<', ' ']);
    let end = plain.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | 'e')));
    plain[..end.unwrap_or(plain.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_numbers_are_found() {
        assert_eq!(number("1,234,567"), Some(1_234_567.0));
        assert_eq!(number("65.69 ± 0.87"), Some(65.69));
        assert_eq!(number("−0.3%"), Some(-0.3));
        assert_eq!(number("+0.05 [0.01, 0.09]"), Some(0.05));
        assert_eq!(number("diverged"), None);
        let column = |cells: &[&str]| {
            let cells: Vec<String> = cells.iter().map(|text| text.to_string()).collect();
            numbers(cells.iter())
        };
        assert_eq!(column(&["1", "–", "NaN", "2"]), [Some(1.0), None, None, Some(2.0)]);
        assert!(column(&["n = 2, t = 1.00", "–", "2 shared seeds", "no"]).is_empty());
    }
}
