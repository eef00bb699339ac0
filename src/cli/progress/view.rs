//! The picture of a training in progress, for a terminal of any size.

use super::board::Board;
use super::colours::{Depth, in_colour};
use super::curves::curves;
use super::heads::{CELL, heatmap};
use super::tabs::{Tab, layers, messages, quiet, texts};
use crate::draw::colormap::OKABE_ITO;
use crate::numbers::{duration, thousands};
use crate::observe::quantities::{ALL, HEAD_ENTROPY, Live};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

/// A smaller terminal gets only the first lines.
const LEAST: (u16, u16) = (36, 12);
/// Minimum and maximum number of lines for notes.
const NOTES: (u16, u16) = (3, 10);

/// From this height on there is a line with the tabs.
const WITH_TABS: u16 = 16;

/// Draws the part of the board that `tab` says. `stopping`: the training was asked to stop.
pub(super) fn draw(frame: &mut Frame, board: &Board, depth: Depth, stopping: bool, tab: Tab) {
    let mut area = frame.area();
    let width = area.width as usize;
    if area.height >= WITH_TABS && area.width >= LEAST.0 {
        area.height -= 1;
        frame.render_widget(Paragraph::new(tab.line(width)), Rect { y: area.height, height: 1, ..area });
    }
    let mut head = vec![title(board, stopping, width)];
    if !board.label.is_empty() {
        head.push(bar("all runs", board.part, board.left, width, depth));
    }
    let part = if board.steps > 0 { board.step as f64 / board.steps as f64 } else { 1.0 };
    let steps = format!("step {}/{}", thousands(board.step), thousands(board.steps));
    let left = board.left.filter(|_| board.label.is_empty());
    head.push(bar(&steps, part, left, width, depth));
    head.extend(wrapped(&numbers(board), width));
    if area.width < LEAST.0 || area.height < LEAST.1 {
        frame.render_widget(Paragraph::new(head), area);
        return;
    }
    if tab != Tab::All {
        let [above, part] =
            Layout::vertical([Constraint::Length(head.len() as u16), Constraint::Min(5)]).areas(area);
        frame.render_widget(Paragraph::new(head), above);
        match tab {
            Tab::All | Tab::Curves => curves(frame, part, board, depth),
            Tab::Heads => heatmap(frame, part, board, depth),
            Tab::Layers => layers(frame, part, board),
            Tab::Texts => texts(frame, part, board),
            Tab::Messages => messages(frame, part, board),
        }
        return;
    }
    let of_layers = wrapped(&of_layers(board), width);
    let (notes_least, notes_most) = NOTES;
    let notes = (area.height / 5).clamp(notes_least, notes_most);
    let [above, middle, between, below] = Layout::vertical([
        Constraint::Length(head.len() as u16),
        Constraint::Min(5),
        Constraint::Length((of_layers.len() as u16).min(4)),
        Constraint::Length(notes),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head), above);
    let entropy = board.measured.heads(&HEAD_ENTROPY);
    let (heads, layers) = (entropy.iter().map(Vec::len).max().unwrap_or(0), entropy.len());
    if heads == 0 || layers == 0 {
        curves(frame, middle, board, depth);
    } else {
        // At most three fifths of the width, so that the heads of a wide model leave room for the curve.
        let most = area.width * 3 / 5;
        let cell = (most.saturating_sub(6) / heads as u16).clamp(1, CELL);
        let wide = (heads as u16 * cell + 6).clamp(26, most.max(26));
        let [left, right] = Layout::horizontal([Constraint::Min(10), Constraint::Length(wide)]).areas(middle);
        curves(frame, left, board, depth);
        heatmap(frame, right, board, depth);
    }
    frame.render_widget(Paragraph::new(of_layers), between);
    messages(frame, below, board);
}

/// What is being trained, and what the keys do.
fn title(board: &Board, stopping: bool, width: usize) -> Line<'static> {
    let name = [board.title.as_str(), &board.label].join("  ");
    let name = Span::styled(format!(" {} ", name.trim_end()), Style::new().add_modifier(Modifier::BOLD));
    let told = match stopping {
        false => Span::styled("q: stop, with a checkpoint ", quiet()),
        true => Span::styled(
            " stopping: finishing this step and writing a checkpoint; Ctrl-C: exit at once, without one ",
            Style::new().add_modifier(Modifier::REVERSED),
        ),
    };
    let gap = width.saturating_sub(name.width() + told.width());
    // If both do not fit, the stopping message takes precedence.
    if gap == 0 && stopping {
        Line::from(told)
    } else {
        Line::from(vec![name, Span::raw(" ".repeat(gap)), told])
    }
}

/// A name, a progress bar, and the progress.
fn bar(name: &str, part: f64, left: Option<f64>, width: usize, depth: Depth) -> Line<'static> {
    let left = left.map_or(String::new(), |seconds| format!("   {} left", duration(seconds)));
    let told = format!(" {:>3.0}%{left} ", (part * 100.0).floor());
    let name = format!(" {name}  ");
    let room = width.saturating_sub(name.chars().count() + told.chars().count());
    let full = (part.clamp(0.0, 1.0) * room as f64) as usize;
    Line::from(vec![
        Span::raw(name),
        Span::styled("━".repeat(full), in_colour(depth, OKABE_ITO[4])),
        Span::styled("─".repeat(room - full), quiet()),
        Span::raw(told),
    ])
}

/// Names and values of the newest step.
fn numbers(board: &Board) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut put = |name, value: Option<String>| found.extend(value.map(|value| (name, value)));
    put("loss", board.loss.map(|loss| format!("{loss:.4}")));
    let held_out = board.held_out.last();
    put("held out", held_out.map(|(_, loss, ppl)| format!("{loss:.4} (perplexity {ppl:.2})")));
    for row in ALL {
        if let Some(Live::Number(name, written)) = &row.live {
            put(*name, board.measured.number(row).map(written));
        }
    }
    put("tokens/s", board.tokens_per_s.map(|speed| thousands(speed as u64)));
    found
}

/// Quantities of layers, layer by layer; a value that all layers share appears once.
fn of_layers(board: &Board) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for row in ALL {
        let Some(Live::Layers(of_all, of_each)) = &row.live else { continue };
        let layers = board.measured.layers(row);
        let shared = layers.len() > 1 && layers.iter().all(|value| value.to_bits() == layers[0].to_bits());
        let shown = if shared { &layers[..1] } else { layers };
        let name = |layer| match (layer, shared) {
            (0, true) => *of_all,
            (0, false) => *of_each,
            _ => "",
        };
        found.extend(shown.iter().enumerate().map(|(layer, value)| (name(layer), format!("{value:.4}"))));
    }
    found
}

/// Names and values in lines no wider than `width`; pairs are never split.
fn wrapped(pairs: &[(&'static str, String)], width: usize) -> Vec<Line<'static>> {
    let mut lines: Vec<Line> = Vec::new();
    for (name, value) in pairs {
        let name = if name.is_empty() { String::new() } else { format!("{name} ") };
        let gap = if name.is_empty() { " " } else { "   " };
        let pair = [Span::styled(name, quiet()), Span::raw(value.clone())];
        let needed = pair.iter().map(Span::width).sum::<usize>();
        match lines.last_mut() {
            Some(line) if line.width() + gap.len() + needed <= width => {
                line.push_span(Span::raw(gap));
                line.spans.extend(pair);
            }
            _ => {
                let [name, value] = pair;
                lines.push(Line::from(vec![Span::raw(" "), name, value]));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::colormap::Rgb;
    use crate::observe::quantities::{GRAD_NORM, LEARNING_RATE, LOSS_SCALE, SLOPES};
    use crate::observe::record::{Sample, Values};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;
    use ratatui::style::Color;

    /// In the middle of the second of three runs.
    fn board(layers: usize, heads: usize) -> Board {
        let mut board = Board { title: "runs/study".to_owned(), ..Board::default() };
        board.begin("2/3 sm_g-seed2", (0, 2600), 2.0);
        (board.part, board.step, board.left) = (0.5, 1234, Some(3723.0));
        (board.loss, board.tokens_per_s) = (Some(4.1234), Some(3049.0));
        for (row, number) in [(&LEARNING_RATE, 9.2e-4), (&GRAD_NORM, 0.831), (&LOSS_SCALE, 65536.0)] {
            board.measured.set(row, Values::Step(number));
        }
        let slopes = (0..layers).map(|layer| 0.01 * layer as f32).collect();
        board.measured.set(&SLOPES, Values::Layers(slopes));
        (0..1234).for_each(|step| board.curve.push(f64::from(step), 8.0 / f64::from(step + 1) + 4.0));
        board.held_out = vec![(100, f64::NAN, f64::NAN), (500, 5.0, 5f64.exp()), (1000, 4.2, 4.2f64.exp())];
        let of = |layer, head| 2.0 * (layer * heads + head) as f32 / (layers * heads) as f32;
        let entropy = (0..layers).map(|layer| (0..heads).map(|head| of(layer, head)).collect()).collect();
        board.measured.set(&HEAD_ENTROPY, Values::Heads(entropy));
        (0..30).for_each(|note| board.note(format!("note {note}")));
        board
    }

    fn drawn(board: &Board, size: (u16, u16), depth: Depth, stopping: bool) -> (Buffer, String) {
        shown(board, size, depth, stopping, Tab::All)
    }

    fn shown(
        board: &Board,
        (width, height): (u16, u16),
        depth: Depth,
        stopping: bool,
        tab: Tab,
    ) -> (Buffer, String) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, board, depth, stopping, tab)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>() + "\n";
        let text = (0..height).map(line).collect();
        (buffer, text)
    }

    #[test]
    fn everything_is_on_a_small_terminal() {
        for depth in [Depth::True, Depth::Indexed, Depth::None] {
            let (_, text) = drawn(&board(4, 4), (80, 24), depth, false);
            for part in [
                "runs/study  2/3 sm_g-seed2",
                "q: stop",
                "all runs  ━",
                "50%   1 h 02 min left",
                "step 1,234/2,600  ━",
                "47%",
                "loss 4.1234",
                "held out 4.2000 (perplexity 66.69)",
                "learning rate 9.200e-4",
                "gradient 0.831",
                "loss scale 65536",
                "tokens/s 3,049",
                "loss, nats per token",
                "training, smoothed",
                "● held out",
                "step 1,233",
                "entropy of heads",
                "2.00 nats",
                "slopes, layer by layer 0.0000 0.0100",
                "note 29",
            ] {
                assert!(text.contains(part), "`{part}` is missing in\n{text}");
            }
        }
    }

    #[test]
    fn a_head_has_the_report_s_colour() {
        let mut board = board(2, 2);
        board.measured.set(&HEAD_ENTROPY, Values::Heads(vec![vec![0.0, 2.0], vec![1.0, f32::NAN]]));
        let (buffer, text) = drawn(&board, (80, 24), Depth::True, false);
        let found = |rgb: Rgb| buffer.content().iter().any(|cell| cell.bg == Color::Rgb(rgb.0, rgb.1, rgb.2));
        for rgb in [Rgb::hex(0x440154), Rgb::hex(0xfde725), Rgb::hex(0xd4d4d4)] {
            assert!(found(rgb), "{rgb:?} is missing in\n{text}");
        }
        let (buffer, text) = drawn(&board, (80, 24), Depth::None, false);
        let plain = |cell: &ratatui::buffer::Cell| cell.bg == Color::Reset && cell.fg == Color::Reset;
        assert!(buffer.content().iter().all(plain), "there is colour in\n{text}");
        for row in ["0 0.00 2.00", "1 1.00 !"] {
            let has = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ").contains(row);
            assert!(text.lines().any(has), "`{row}` is missing in\n{text}");
        }
    }

    #[test]
    fn a_part_takes_the_whole_screen() {
        let board = board(12, 12);
        let of = |tab| shown(&board, (120, 40), Depth::Indexed, false, tab).1;
        let all = of(Tab::All);
        assert!(all.contains("1 all") && all.contains("6 messages"), "{all}");
        let heads = of(Tab::Heads);
        // 144 heads with their numbers.
        let numbers = heads.split_whitespace().filter(|word| word.len() == 4 && word.contains('.')).count();
        assert!(numbers >= 144 && !heads.contains("training, smoothed"), "{numbers} in\n{heads}");
        let layers = of(Tab::Layers);
        for part in ["layers, as last measured", "slopes", "head_entropy", "0.1100"] {
            assert!(layers.contains(part), "`{part}` is missing in\n{layers}");
        }
        assert!(of(Tab::Curves).contains("training, smoothed") && !of(Tab::Curves).contains("note 29"));
        assert!(of(Tab::Texts).contains("observe.sample_prompt"), "{}", of(Tab::Texts));
        assert!(of(Tab::Messages).contains("note 0 ") && of(Tab::Messages).contains("note 29"));
    }

    /// The newest text first, with its lines; a long line goes on below, and an escape sequence stays text.
    #[test]
    fn texts_have_a_tab() {
        let mut board = board(2, 2);
        for step in 1..=40 {
            let text = format!("x{step}):\n\treturn \u{1b}[2J{}", "y".repeat(90));
            board.text(Sample { step, prompt: "def f(".to_owned(), text, tokens: 64 });
        }
        let (_, text) = shown(&board, (80, 30), Depth::Indexed, false, Tab::Texts);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let at = |what: &str| lines.iter().position(|line| line.contains(what));
        assert!(at("step 40").unwrap() < at("step 39").unwrap(), "{text}");
        assert!(lines[at("step 40").unwrap() + 1].contains("def f(▏x40):"), "{text}");
        assert!(lines[at("step 40").unwrap() + 2].contains("    return "), "{text}");
        assert!(text.matches('y').count() >= 180, "{text}");
        assert_eq!(board.texts.len(), 32);
    }

    /// The axis of steps names them with whole numbers, or has none.
    #[test]
    fn steps_are_not_cut() {
        for width in 36..120 {
            let (_, text) = drawn(&board(4, 4), (width, 24), Depth::None, false);
            if let Some(axis) = text.lines().find(|line| line.contains("233")) {
                let whole = if axis.contains("tep") { "step 1,233" } else { "1,233" };
                assert!(axis.contains(whole), "{width} in\n{text}");
            }
            // Nor is a height, or the ceiling.
            assert!(!text.contains(".│") && text.contains("2.00 nats"), "{width} in\n{text}");
        }
    }

    #[test]
    fn a_requested_stop_is_reported() {
        for width in [80, 120] {
            let (_, text) = drawn(&board(2, 2), (width, 24), Depth::None, true);
            assert!(text.contains("stopping: finishing this step"), "{text}");
        }
    }

    #[test]
    fn one_run_has_one_bar_and_shared_slopes_are_one() {
        let mut board = board(3, 2);
        board.label.clear();
        board.measured.set(&SLOPES, Values::Layers(vec![0.25; 3]));
        let (_, text) = drawn(&board, (100, 30), Depth::Indexed, false);
        assert!(!text.contains("all runs") && text.contains("1 h 02 min left"), "{text}");
        assert!(text.contains("slope of every layer 0.2500 "), "{text}");
    }

    /// Includes the time before the first step, and more layers and heads than lines and columns.
    #[test]
    fn no_size_is_too_small() {
        let mut empty = Board::default();
        empty.begin("", (0, 0), 1.0);
        for board in [board(1, 1), board(18, 12), board(200, 64), board(2, 300), empty] {
            for size in [(1, 1), (7, 3), (20, 40), (36, 12), (37, 13), (80, 24), (200, 50), (400, 8)] {
                for depth in [Depth::True, Depth::Indexed, Depth::None] {
                    drawn(&board, size, depth, size.0 % 2 == 0);
                }
            }
        }
        let (_, text) = drawn(&board(200, 64), (80, 24), Depth::True, false);
        assert!(text.contains("more layers"), "{text}");
        // Two layers share a line.
        let (_, text) = drawn(&board(18, 12), (80, 30), Depth::True, false);
        assert!(text.contains('▀') && !text.contains("more layers"), "{text}");
    }
}
