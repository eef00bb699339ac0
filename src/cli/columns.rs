//! Tables on a terminal.

use super::output::terminal_columns;
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

/// A table whose first row has the titles and whose first `keys` columns name a row, as [`columns`] writes it. On a terminal that
/// is too narrow for it, titles have several lines, and the other columns go below each other, with the keys repeated, so that
/// the terminal breaks no cell.
pub(super) fn table(rows: &[Vec<String>], right: &[bool], keys: usize) -> String {
    fitted(rows, right, keys, terminal_columns())
}

fn fitted(rows: &[Vec<String>], right: &[bool], keys: usize, most: Option<usize>) -> String {
    let Some(most) = most.filter(|most| width(rows, right.len()) > *most) else {
        return columns(rows, right);
    };
    let rows = with_folded_titles(rows, right.len());
    let widths = widths(&rows, right.len());
    let needed = |columns: &[usize]| columns.iter().map(|&column| widths[column] + 2).sum::<usize>();
    let own: Vec<usize> = (0..keys).collect();
    let mut parts: Vec<Vec<usize>> = Vec::new();
    for (column, own_width) in widths.iter().enumerate().skip(keys) {
        match parts.last_mut() {
            Some(part) if needed(part) + own_width <= most => part.push(column),
            _ => parts.push([&own[..], &[column]].concat()),
        }
    }
    let written = |part: &Vec<usize>| {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| part.iter().filter_map(|&at| row.get(at).cloned()).collect()).collect();
        columns(&rows, &part.iter().map(|&at| right[at]).collect::<Vec<_>>())
    };
    parts.iter().map(written).collect::<Vec<_>>().join("\n\n")
}

/// A sentence, with line breaks between words where it is wider than the terminal that results go to.
pub(super) fn sentence(text: &str) -> String {
    match terminal_columns() {
        Some(most) if text.chars().count() > most => broken(text, most).join("\n"),
        _ => text.to_owned(),
    }
}

/// The rows with the titles broken at blanks into several rows, none wider than it must be.
fn with_folded_titles(rows: &[Vec<String>], count: usize) -> Vec<Vec<String>> {
    let Some((titles, body)) = rows.split_first() else { return Vec::new() };
    let below = widths(body, count);
    let folded: Vec<Vec<String>> =
        titles.iter().zip(below).map(|(title, least)| broken(title, least)).collect();
    let lines = folded.iter().map(Vec::len).max().unwrap_or(0);
    // The last lines stand in one row, above the numbers.
    let line = |of: &Vec<String>, at: usize| {
        (at + of.len()).checked_sub(lines).map_or_else(String::new, |at| of[at].clone())
    };
    let titles = (0..lines).map(|at| folded.iter().map(|of| line(of, at)).collect());
    titles.chain(body.iter().cloned()).collect()
}

/// A title in lines of whole words, as many in each as `least` columns or the longest word have room for.
fn broken(title: &str, least: usize) -> Vec<String> {
    let count = |text: &str| text.chars().count();
    let words = || title.split_whitespace();
    let indent = " ".repeat(count(title) - count(title.trim_start()));
    let most = words().map(count).max().unwrap_or(0).max(least.saturating_sub(indent.len()));
    let mut lines: Vec<String> = Vec::new();
    for word in words() {
        match lines.last_mut() {
            Some(line) if count(line) + 1 + count(word) <= most => *line = format!("{line} {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{indent}{line}")).collect()
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

    fn rows(cells: &[&[&str]]) -> Vec<Vec<String>> {
        cells.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect()
    }

    #[test]
    fn a_narrow_terminal_breaks_no_cell() {
        let heads = rows(&[
            &["layer", "head", "head entropy", "largest logit", "recency"],
            &["0", "0", "3.8782", "-0.2622", "0.3815"],
            &["11", "3", "12.0000", "nan", "1.0000"],
        ]);
        let right = [true; 5];
        let of = |most| fitted(&heads, &right, 2, most);
        let whole = columns(&heads, &right);
        assert_eq!(of(None), whole);
        assert_eq!(of(Some(49)), whole);
        let folded = [
            "                head  largest",
            "layer  head  entropy    logit  recency",
            "    0     0   3.8782  -0.2622   0.3815",
            "   11     3  12.0000      nan   1.0000",
        ];
        assert_eq!(of(Some(48)), folded.join("\n"));
        let narrow = of(Some(30));
        assert_eq!(narrow.matches("layer  head").count(), 2, "{narrow}");
        for most in 1..60 {
            let text = of(Some(most));
            for number in ["3.8782", "-0.2622", "0.3815", "12.0000"] {
                assert!(text.contains(number), "{number} at {most} in\n{text}");
            }
            // The keys and one column need 22.
            assert!(most < 22 || text.lines().all(|line| line.chars().count() <= most), "{most}:\n{text}");
        }
    }

    #[test]
    fn titles_keep_their_indent() {
        let plan = rows(&[&["  pool", "tensors in them over time"], &["  buffer", "7"]]);
        assert_eq!(
            fitted(&plan, &[false, true], 1, Some(20)),
            "          tensors\n          in them\n             over\n  pool       time\n  buffer        7"
        );
    }
}
