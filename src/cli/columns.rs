//! Tables on a terminal.

use crate::visible;

/// Text in columns: the first aligned left, the others as `right` says.
pub(super) fn columns(rows: &[Vec<String>], right: &[bool]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| visible::line(cell).into_owned()).collect()).collect();
    let count = |cell: &String| cell.chars().count();
    let widths = widths(&rows, right.len());
    let mut lines = Vec::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let fill = " ".repeat(widths[column] - count(cell));
            let gap = if column > 0 { "  " } else { "" };
            line.push_str(&if right[column] {
                format!("{gap}{fill}{cell}")
            } else {
                format!("{gap}{cell}{fill}")
            });
        }
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n")
}

/// The width of the widest cell of each of the first `count` columns.
fn widths(rows: &[Vec<String>], count: usize) -> Vec<usize> {
    let of = |cell: &String| visible::line(cell).chars().count();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(of).max().unwrap_or(0);
    (0..count).map(width).collect()
}

/// How wide [`columns`] writes a table of `count` columns.
pub(super) fn width(rows: &[Vec<String>], count: usize) -> usize {
    widths(rows, count).iter().sum::<usize>() + 2 * count.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "22".to_owned()]];
        assert_eq!(columns(&rows, &[false, true]), "a     1\nbcd  22");
        assert_eq!(width(&rows, 2), 7);
    }
}
