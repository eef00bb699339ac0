//! What of a training is shown: everything at once, or one part of it on the whole screen.

use super::board::Board;
use crate::numbers::{counted, thousands};
use crate::observe::quantities::{ALL, Extent};
use crate::visible;
use ratatui::Frame;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, Wrap};

/// A part of the view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tab {
    #[default]
    All,
    Curves,
    Heads,
    Layers,
    Texts,
    Messages,
}

impl Tab {
    const ALL: [(Self, &'static str); 6] = [
        (Self::All, "all"),
        (Self::Curves, "curves"),
        (Self::Heads, "heads"),
        (Self::Layers, "layers"),
        (Self::Texts, "texts"),
        (Self::Messages, "messages"),
    ];

    /// The tab that a key leads to: its number, the next, or the one before.
    pub fn after(self, key: KeyCode) -> Option<Self> {
        let (at, count) = (Self::ALL.iter().position(|(tab, _)| *tab == self).unwrap_or(0), Self::ALL.len());
        let to = match key {
            KeyCode::Tab | KeyCode::Right => (at + 1) % count,
            KeyCode::BackTab | KeyCode::Left => (at + count - 1) % count,
            KeyCode::Char(digit) => digit.to_digit(10)?.checked_sub(1)? as usize,
            _ => return None,
        };
        Self::ALL.get(to).map(|(tab, _)| *tab)
    }

    /// The line with all tabs, this one marked.
    pub fn line(self) -> Line<'static> {
        let mut spans = vec![Span::raw(" ")];
        for (number, (tab, name)) in (1..).zip(Self::ALL) {
            let style = match tab == self {
                true => Style::new().add_modifier(Modifier::REVERSED),
                false => quiet(),
            };
            spans.extend([Span::styled(format!(" {number} {name} "), style), Span::raw(" ")]);
        }
        Line::from(spans)
    }
}

pub(super) fn quiet() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// The newest number of every quantity of layers, a row for each layer; of quantities of heads the mean. Columns that do not
/// fit are left out.
pub(super) fn layers(frame: &mut Frame, area: Rect, board: &Board) {
    let columns: Vec<(&'static str, Vec<f64>)> = ALL
        .iter()
        .filter(|row| row.extent != Extent::Step)
        .filter_map(|row| {
            let mean = |heads: &Vec<f32>| {
                heads.iter().map(|&n| f64::from(n)).sum::<f64>() / heads.len().max(1) as f64
            };
            let numbers: Vec<f64> = (board.measured.layers(row).iter().map(|&n| f64::from(n)))
                .chain(board.measured.counts(row).iter().map(|&n| n as f64))
                .chain(board.measured.heads(row).iter().map(mean))
                .collect();
            (!numbers.is_empty()).then_some((row.name, numbers))
        })
        .collect();
    let block = Block::bordered().border_style(quiet()).title(" layers, as last measured ");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let width = |name: &str| name.chars().count().max(9) as u16;
    let mut room = inner.width.saturating_sub(6);
    let fitting: Vec<&(&str, Vec<f64>)> = columns
        .iter()
        .take_while(|(name, _)| {
            let needed = width(name) + 2;
            let fits = needed <= room;
            room = room.saturating_sub(needed);
            fits
        })
        .collect();
    if fitting.is_empty() {
        frame.render_widget(Paragraph::new(Line::styled(" no layer has been measured yet", quiet())), inner);
        return;
    }
    let depth = fitting.iter().map(|(_, numbers)| numbers.len()).max().unwrap_or(0);
    let text = |number: Option<&f64>| match number {
        None => String::new(),
        Some(number) if *number != 0.0 && !(1e-3..1e5).contains(&number.abs()) => format!("{number:>9.2e}"),
        Some(number) => format!("{number:>9.4}"),
    };
    let row = |layer: usize| {
        let name = Cell::from(Span::styled(format!("{layer:>4}"), quiet()));
        let numbers = fitting.iter().map(|(_, numbers)| Cell::from(text(numbers.get(layer))));
        Row::new(std::iter::once(name).chain(numbers).collect::<Vec<_>>())
    };
    let header = std::iter::once("layer").chain(fitting.iter().map(|(name, _)| *name)).map(Cell::from);
    let widths =
        std::iter::once(5).chain(fitting.iter().map(|(name, _)| width(name))).map(Constraint::Length);
    let table = Table::new((0..depth).map(row).collect::<Vec<_>>(), widths.collect::<Vec<_>>())
        .header(Row::new(header.collect::<Vec<_>>()).style(quiet()))
        .column_spacing(2);
    frame.render_widget(table, inner);
    let left_out = columns.len() - fitting.len();
    if left_out > 0 && inner.height > 2 {
        let line = Rect { y: inner.y + inner.height - 1, height: 1, ..inner };
        let told = format!(" {} on a wider terminal", counted(left_out as u64, "more column"));
        frame.render_widget(Paragraph::new(Line::styled(told, quiet())), line);
    }
}

/// What the model wrote at its latest evaluations, the newest first.
pub(super) fn texts(frame: &mut Frame, area: Rect, board: &Board) {
    let block = Block::bordered().border_style(quiet()).title(" the prompt, continued at each evaluation ");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let mut lines = Vec::new();
    // A tab is no character of a terminal's picture.
    let plain = |text: &str| visible::line(&text.replace('\t', "    ")).to_string();
    for sample in board.texts.iter().rev() {
        lines.push(Line::styled(format!("step {}", thousands(sample.step)), quiet()));
        let (prompt, text) = (sample.prompt.split('\n'), sample.text.split('\n'));
        let mut of_sample: Vec<Line> = prompt.map(|line| Line::styled(plain(line), quiet())).collect();
        for (index, line) in text.enumerate() {
            match of_sample.last_mut().filter(|_| index == 0) {
                Some(last) => last.spans.extend([Span::styled("▏", quiet()), Span::raw(plain(line))]),
                None => of_sample.push(Line::raw(plain(line))),
            }
        }
        lines.extend(of_sample);
        lines.push(Line::default());
    }
    if lines.is_empty() {
        lines.push(Line::styled(
            "no text yet: observe.sample_prompt is what an evaluation continues",
            quiet(),
        ));
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), inner);
}

/// The newest notes that fit.
pub(super) fn messages(frame: &mut Frame, area: Rect, board: &Board) {
    let last = board.notes.len().saturating_sub(area.height as usize);
    let line = |note: &String| Line::from(format!(" {note}")).style(quiet());
    frame.render_widget(Paragraph::new(board.notes.iter().skip(last).map(line).collect::<Vec<_>>()), area);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_from_tab_to_tab() {
        let mut tab = Tab::All;
        for _ in Tab::ALL {
            tab = tab.after(KeyCode::Tab).unwrap();
        }
        assert_eq!(tab, Tab::All);
        assert_eq!(tab.after(KeyCode::Left), Some(Tab::Messages));
        assert_eq!(tab.after(KeyCode::Char('3')), Some(Tab::Heads));
        for key in [KeyCode::Char('0'), KeyCode::Char('7'), KeyCode::Char('x'), KeyCode::Enter] {
            assert_eq!(tab.after(key), None);
        }
    }
}
