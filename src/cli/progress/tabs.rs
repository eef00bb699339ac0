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

    /// The line with all tabs, this one marked; where not all names have room in `width`, only this one's is there.
    pub fn line(self, width: usize) -> Line<'static> {
        let of = |all_named: bool| {
            let mut spans = vec![Span::raw(" ")];
            for (number, (tab, name)) in (1..).zip(Self::ALL) {
                let style = match tab == self {
                    true => Style::new().add_modifier(Modifier::REVERSED),
                    false => quiet(),
                };
                let name = if all_named || tab == self { format!(" {name}") } else { String::new() };
                spans.extend([Span::styled(format!(" {number}{name} "), style), Span::raw(" ")]);
            }
            Line::from(spans)
        };
        let whole = of(true);
        // The last blank need not be there.
        if whole.width() <= width + 1 { whole } else { of(false) }
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

/// The newest notes that fit, in lines of whole words.
pub(super) fn messages(frame: &mut Frame, area: Rect, board: &Board) {
    let (width, height) = (area.width as usize, area.height as usize);
    let recent = board.notes.iter().skip(board.notes.len().saturating_sub(height));
    let lines: Vec<Line> = recent.flat_map(|note| folded(note, width)).map(Line::from).collect();
    let last = lines.len().saturating_sub(height);
    frame.render_widget(Paragraph::new(lines[last..].to_vec()).style(quiet()), area);
}

/// A note in lines of at most `width`, which begin with a blank, and from the second on with three.
fn folded(note: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::from(" ")];
    for word in note.split(' ') {
        let line = lines.last_mut().expect("there is one");
        let begun = !line.trim_start().is_empty();
        if begun && Span::raw(line.as_str()).width() + 1 + Span::raw(word).width() > width {
            lines.push(format!("   {word}"));
        } else {
            line.push_str(if begun { " " } else { "" });
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_broken_between_words() {
        assert_eq!(folded("step 50: loss 6.0117", 80), [" step 50: loss 6.0117"]);
        assert_eq!(folded("step 50: loss 6.0117", 15), [" step 50: loss", "   6.0117"]);
        assert_eq!(folded("", 15), [" "]);
    }

    #[test]
    fn a_narrow_line_names_the_part_that_is_shown() {
        let text =
            |width| Tab::Heads.line(width).spans.iter().map(|span| span.content.as_ref()).collect::<String>();
        assert!(
            text(70).contains(" 2 curves ") && text(70).trim_end().ends_with("6 messages"),
            "{}",
            text(70)
        );
        assert_eq!(text(40).split_whitespace().collect::<Vec<_>>(), ["1", "2", "3", "heads", "4", "5", "6"]);
    }

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
