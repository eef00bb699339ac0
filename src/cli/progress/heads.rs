//! The live view's heads: the newest entropy of each, as a colour, a number or a digit.

use super::board::Board;
use super::colours::{Depth, digit, shade};
use super::tabs::quiet;
use crate::draw::colormap::Rgb;
use crate::numbers::counted;
use crate::observe::quantities::HEAD_ENTROPY;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

/// The widest cell of a head, and the narrowest one with a number in it.
pub(super) const CELL: u16 = 8;
const NUMBERED: usize = 5;

/// Heads across, layers down, as large as fits. With colours, two layers may share a line.
pub(super) fn heatmap(frame: &mut Frame, area: Rect, board: &Board, depth: Depth) {
    let block = Block::bordered().border_style(quiet()).title(" entropy of heads ");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let entropy = board.measured.heads(&HEAD_ENTROPY);
    let (layers, heads) = (entropy.len(), entropy.iter().map(Vec::len).max().unwrap_or(0));
    // A line for the heads' numbers and one for the scale.
    let rows = inner.height.saturating_sub(2) as usize;
    let columns = inner.width.saturating_sub(4) as usize;
    if rows == 0 || columns == 0 || heads == 0 {
        return;
    }
    let cell = (columns / heads).clamp(1, usize::from(CELL));
    let seen = heads.min(columns / cell);
    let two = layers > rows && depth != Depth::None;
    let numbered = cell >= NUMBERED && !two;
    let in_line = if two { 2 } else { 1 };
    let high = (rows / layers.div_ceil(in_line)).clamp(1, (cell / 2).max(1));
    let mut lines = Vec::new();
    for (index, pair) in entropy.chunks(in_line).enumerate() {
        for part in 0..high {
            let name =
                if part == (high - 1) / 2 { format!("{:>3} ", index * in_line) } else { " ".repeat(4) };
            let mut spans = vec![Span::styled(name, quiet())];
            for head in 0..seen {
                let of = |row: Option<&Vec<f32>>| row.and_then(|row| row.get(head)).copied();
                let number = numbered && part == (high - 1) / 2;
                let (upper, lower) = (of(pair.first()), of(pair.get(1)));
                spans.push(match upper.filter(|_| number) {
                    Some(value) => number_span(value, board.top, depth, cell),
                    None if numbered && depth == Depth::None => Span::raw(" ".repeat(cell)),
                    None => cell_span(upper, lower, board.top, depth, cell, two),
                });
            }
            lines.push(Line::from(spans));
        }
    }
    if lines.len() > rows {
        let hidden = layers - (rows - 1) * in_line;
        lines.truncate(rows - 1);
        lines.push(Line::styled(format!("    … {}", counted(hidden as u64, "more layer")), quiet()));
    }
    let last = (seen - 1).to_string();
    let across = (seen * cell).saturating_sub(1 + last.len());
    let axis = if seen > 1 { format!("    0{}{last}", " ".repeat(across)) } else { "    0".into() };
    let named = format!("{axis} head");
    let axis = if named.len() <= columns + 4 { named } else { axis };
    lines.push(Line::styled(axis, quiet()));
    lines.push(scale(board.top, depth, columns, numbered));
    frame.render_widget(Paragraph::new(lines), inner);
}

/// One head with its entropy.
fn number_span(value: f32, top: f64, depth: Depth, cell: usize) -> Span<'static> {
    let text = if value.is_finite() { format!("{value:.2}") } else { "!".to_owned() };
    let mut style = Style::new();
    style.bg = depth.entropy(value, top);
    style.fg = style.bg.and_then(|_| depth.colour(shade(value, top).ink()));
    Span::styled(format!("{text:^cell$}"), style)
}

/// One head, or the same head of two layers, one above the other.
fn cell_span(
    upper: Option<f32>,
    lower: Option<f32>,
    top: f64,
    depth: Depth,
    cell: usize,
    two: bool,
) -> Span<'static> {
    let colour = |value: Option<f32>| value.and_then(|value| depth.entropy(value, top));
    match (upper, depth) {
        (None, _) => Span::raw(" ".repeat(cell)),
        (Some(value), Depth::None) => Span::raw(format!("{:^cell$}", digit(value, top))),
        _ if two => {
            let mut style = Style::new();
            style.fg = colour(upper);
            style.bg = colour(lower);
            Span::styled("▀".repeat(cell), style)
        }
        (Some(value), _) => {
            let mut style = Style::new();
            style.bg = colour(Some(value));
            // Black is readable on the grey of non-finite values.
            style.fg = depth.colour(Rgb(0, 0, 0)).filter(|_| !value.is_finite());
            let text = if value.is_finite() { " ".repeat(cell) } else { format!("{:^cell$}", '!') };
            Span::styled(text, style)
        }
    }
}

/// The legend of colours or digits.
fn scale(top: f64, depth: Depth, columns: usize, numbered: bool) -> Line<'static> {
    let end = format!(" {top:.2} nats");
    if depth == Depth::None && numbered {
        let long = format!(" nats; the ceiling is{end}");
        let told = if long.chars().count() <= columns + 4 { long } else { format!(" ceiling{end}") };
        return Line::styled(told, quiet());
    }
    if depth == Depth::None {
        return Line::styled(format!(" in tenths of{end}"), quiet());
    }
    let room = columns.saturating_sub(2 + end.len()).min(24);
    let mut spans = vec![Span::styled("    0 ", quiet())];
    for part in 0..room {
        let share = (part as f32 + 0.5) / room as f32;
        let mut style = Style::new();
        style.bg = depth.entropy(share, 1.0);
        spans.push(Span::styled(" ", style));
    }
    spans.push(Span::styled(end, quiet()));
    Line::from(spans)
}
