//! A table of text in several formats: Markdown, LaTeX, aligned columns.

use crate::draw::escape;
use crate::visible;

/// Rows of text under a header; all columns but the first are right-aligned.
#[derive(Clone, Debug)]
pub struct Table {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// The meaning of the columns, and the reference M of the shares.
    pub notes: Vec<String>,
}

/// A share as a percentage, without decimals: models have few heads.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// A number, or a symbol if it is not finite.
pub(crate) fn decimal(value: f64, places: usize) -> String {
    if value.is_nan() {
        "NaN".to_string()
    } else if value.is_infinite() {
        if value > 0.0 { "∞".to_string() } else { "−∞".to_string() }
    } else if value.abs() >= 1e6 {
        format!("{value:.2e}")
    } else {
        format!("{value:.places$}").replace('-', "−")
    }
}

/// A relative change in percent, with a typographic minus, and without a sign if it rounds to zero.
pub(super) fn signed_percent(change: f64) -> String {
    let text = format!("{:.1}%", change.abs() * 100.0);
    match text.as_str() {
        "0.0%" => text,
        _ if change < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

impl Table {
    /// A Markdown table and its notes.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| escape::markdown(cell)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut out = line(&self.header);
        out.push_str("| --- |");
        out.push_str(&" ---: |".repeat(self.header.len().saturating_sub(1)));
        out.push('\n');
        out.extend(self.rows.iter().map(|row| line(row)));
        for note in &self.notes {
            out.push_str(&format!("\n{}\n", escape::markdown(note)));
        }
        out
    }

    /// A LaTeX tabular with rules from the package booktabs, and its notes.
    pub fn latex(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| escape::latex(cell)).collect();
            format!("{} \\\\\n", cells.join(" & "))
        };
        let mut out = String::from("% Needs \\usepackage{booktabs}.\n");
        let columns = "r".repeat(self.header.len().saturating_sub(1));
        out.push_str(&format!("\\begin{{tabular}}{{l{columns}}}\n\\toprule\n"));
        out.push_str(&line(&self.header));
        out.push_str("\\midrule\n");
        out.extend(self.rows.iter().map(|row| line(row)));
        out.push_str("\\bottomrule\n\\end{tabular}\n");
        for note in &self.notes {
            out.push_str(&format!("\n\\par\\footnotesize {}\n", escape::latex(note)));
        }
        out
    }

    /// Columns aligned by spaces, and the notes, for a terminal.
    pub fn plain(&self) -> String {
        let shown = |line: &Vec<String>| line.iter().map(|cell| visible::line(cell).into_owned()).collect();
        let lines: Vec<Vec<String>> = std::iter::once(&self.header).chain(&self.rows).map(shown).collect();
        let wide = |cell: &String| cell.chars().count();
        let widths: Vec<usize> = (0..self.header.len())
            .map(|column| lines.iter().map(|line| wide(&line[column])).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        for line in &lines {
            for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
                let fill = " ".repeat(width - wide(cell));
                let text = if column == 0 { format!("{cell}{fill}") } else { format!("  {fill}{cell}") };
                out.push_str(&text);
            }
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        }
        for note in &self.notes {
            out.push_str(&visible::line(note));
            out.push('\n');
        }
        out
    }
}
