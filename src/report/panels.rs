//! Panels of heads on a page: their sizes and places, and the text around them.

use super::shade::Shade;
use crate::draw::picture::is_narrow;
use crate::draw::text;

/// One model's matrix.
#[derive(Clone, Debug)]
pub struct Panel {
    pub title: String,
    /// Unobtrusive lines under the title.
    pub notes: Vec<String>,
    /// Mean entropies in nats, `[layer][head]`, layer 0 first. Non-finite values are shown as such.
    pub values: Vec<Vec<f64>>,
    /// M in nats, if heads are binned relative to one.
    pub reference: Option<f64>,
}

/// The range of entropies that the colours span. It always begins at 0, so a dark cell is a collapsed head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scale {
    /// One range for all panels, up to the largest value of any: colours are comparable across panels.
    #[default]
    Shared,
    /// Each panel up to its own largest value, with its own colour bar.
    Own,
}

/// The smallest and the largest cell. Between these sizes, cells fill the area of `MATRIX`.
const CELL_LEAST: (f64, f64) = (34.0, 28.0);
const CELL_MOST: (f64, f64) = (64.0, 46.0);
const MATRIX: (f64, f64) = (400.0, 330.0);
/// The narrowest cell without a number.
const BARE: f64 = 3.0;
const TITLE: f64 = 18.0;
pub(super) const NOTE: f64 = 12.5;
/// Space left of a matrix (layer numbers, "Layer") and below it (head numbers, "Head").
pub(super) const LEFT: f64 = 52.0;
const BELOW: f64 = 48.0;
/// The space for a colour bar with its ticks and label.
const BAR_ROOM: f64 = 96.0;
pub(super) const MARGIN: f64 = 18.0;
const GAP: f64 = 26.0;
/// The space for a bar below the panels, and the size of a panel's title in a column of text.
const FOOT_BAR: f64 = 62.0;
const NARROW_TITLE: f64 = 15.0;
/// The smallest size of a panel's matrix area, so that the bar's label fits beside a single cell.
const LEAST: (f64, f64) = (120.0, 170.0);
/// Height of a line of notes.
pub(super) const LINE: f64 = 18.0;

/// Columns of a figure with `count` panels: up to three side by side, four as two by two, eight as four by two. Uses one
/// column more than in a square if that leaves no gap.
pub(super) fn columns(count: usize) -> usize {
    let square = (count as f64).sqrt().ceil() as usize;
    let full = (square..=square + 1).find(|&columns| columns > 0 && count.is_multiple_of(columns));
    if count <= 3 { count.max(1) } else { full.unwrap_or(square) }
}

/// The layout of the panels: each gets the space of the largest.
pub(super) struct Page {
    /// The panels, with their notes in lines that fit.
    pub panels: Vec<Panel>,
    /// The lines of each title, and their size.
    pub titles: Vec<Vec<String>>,
    pub title: f64,
    /// Whether cells have numbers.
    pub numbers: bool,
    /// One entry per line, and where they begin.
    pub caption: Vec<String>,
    pub caption_left: f64,
    /// The upper edge of a bar below the panels, which a column of text has in place of one beside them.
    pub bar_below: Option<f64>,
    pub width: f64,
    pub height: f64,
    pub columns: usize,
    pub cell: (f64, f64),
    /// Size of a matrix.
    pub matrix: (f64, f64),
    /// Size of a panel, including its titles and labels.
    panel: (f64, f64),
    above: f64,
    /// Distance from the left edge of a row's last matrix to a shared bar.
    pub bar: f64,
}

impl Page {
    /// In a `room`, cells are as wide as it allows, if that is not too narrow for `numbers`.
    pub fn new(
        (columns, room): (usize, Option<f64>),
        panels: &[Panel],
        caption: &str,
        scale: Scale,
        (shade, numbers): (Shade, bool),
    ) -> Self {
        let rows = panels.len().div_ceil(columns);
        let narrow = is_narrow(room);
        let below = narrow && scale == Scale::Shared;
        let most = |size: fn(&Panel) -> f64| panels.iter().map(size).fold(0.0, f64::max);
        let (across, down) = (most(|panel| heads(panel) as f64), most(|panel| panel.values.len() as f64));
        let (wide, least) = match room {
            None => (MATRIX.0, CELL_LEAST.0),
            Some(room) => {
                let bars = match scale {
                    _ if below => 0.0,
                    Scale::Own => columns as f64 * (BAR_ROOM + 16.0),
                    Scale::Shared => BAR_ROOM + 16.0,
                };
                let wide = (room - 2.0 * MARGIN - bars + GAP) / columns as f64 - GAP - LEFT;
                (wide, if numbers { shade.least() } else { BARE })
            }
        };
        let cell = (
            (wide / across).clamp(least, CELL_MOST.0).floor(),
            (MATRIX.1 / down).clamp(CELL_LEAST.1, CELL_MOST.1).floor(),
        );
        // Pictures for print have their font in them.
        let slack = if room.is_some() { 1.0 } else { text::SLACK };
        let matrix = ((across * cell.0).max(LEAST.0), (down * cell.1).max(LEAST.1));
        let title = if narrow { NARROW_TITLE } else { TITLE };
        // In print, text over a panel is broken where it would make the panel wider than its share of the page.
        // Viewers of a telephone may set a wider font.
        let fits = match room {
            None => f64::INFINITY,
            Some(_) if narrow => wide.max(matrix.0) / 1.15,
            Some(_) => wide.max(matrix.0),
        };
        let panels: Vec<Panel> = panels.iter().map(|panel| panel.in_lines(fits)).collect();
        let titles: Vec<Vec<String>> =
            panels.iter().map(|panel| text::wrapped(&panel.title, title, fits)).collect();
        let most = |size: &dyn Fn(&Panel) -> f64| panels.iter().map(size).fold(0.0, f64::max);
        let widest = titles.iter().flatten().map(|line| text::width(line, title)).fold(0.0, f64::max);
        let texts = most(&|panel| panel.notes.iter().map(|note| text::width(note, NOTE)).fold(0.0, f64::max));
        let texts = texts.max(widest);
        let title_lines = titles.iter().map(Vec::len).max().unwrap_or(1) as f64;
        let above =
            34.0 + (title + 3.0) * (title_lines - 1.0) + LINE * most(&|panel| panel.notes.len() as f64);
        let own_bar = if scale == Scale::Own { BAR_ROOM } else { 0.0 };
        let panel = (LEFT + (matrix.0 + own_bar).max(texts * slack), above + matrix.1 + BELOW);
        let spread = |count: usize, size: f64| count as f64 * (size + GAP) - GAP;
        // A shared bar stands beside the last matrix. If there is one row, the title may reach over it.
        let beside = if rows == 1 { matrix.0 } else { matrix.0.max(texts * slack) };
        let bar = beside + 16.0;
        let last = match scale {
            Scale::Shared if !below => panel.0.max(LEFT + beside + BAR_ROOM),
            _ => panel.0,
        };
        let width = 2.0 * MARGIN + spread(columns, panel.0) - panel.0 + last;
        let width = if below { width.max(room.unwrap_or_default()) } else { width };
        let caption_left = if narrow { MARGIN } else { MARGIN + LEFT };
        let needed = |line: &str| text::width(line, NOTE) * slack + MARGIN + caption_left;
        // On one line if it fits; otherwise each sentence has its own line, in print as many as it needs.
        let line_width = if room.is_some() { width - caption_left - MARGIN } else { f64::INFINITY };
        let caption: Vec<String> = match caption {
            "" => Vec::new(),
            short if needed(short) <= width => vec![short.to_owned()],
            long => long
                .split_inclusive(". ")
                .flat_map(|sentence| text::wrapped(sentence.trim_end(), NOTE, line_width))
                .collect(),
        };
        let foot = if caption.is_empty() { 0.0 } else { 8.0 + LINE * caption.len() as f64 };
        let end = MARGIN + spread(rows, panel.1);
        Self {
            width: caption.iter().map(|line| needed(line)).fold(width, f64::max),
            height: end + MARGIN + foot + if below { FOOT_BAR } else { 0.0 },
            bar_below: below.then_some(end + 8.0),
            panels,
            titles,
            title,
            numbers,
            caption,
            caption_left,
            columns,
            cell,
            matrix,
            panel,
            above,
            bar,
        }
    }

    /// Top left corner of the matrix of panel `index`.
    pub fn corner(&self, index: usize) -> (f64, f64) {
        let (row, column) = ((index / self.columns) as f64, (index % self.columns) as f64);
        (MARGIN + column * (self.panel.0 + GAP) + LEFT, MARGIN + row * (self.panel.1 + GAP) + self.above)
    }
}

impl Panel {
    /// The panel with its notes in lines of at most `most`.
    fn in_lines(&self, most: f64) -> Self {
        let notes = self.notes.iter().flat_map(|note| text::wrapped(note, NOTE, most));
        Self { notes: notes.collect(), ..self.clone() }
    }
}

pub(super) fn heads(panel: &Panel) -> usize {
    panel.values.iter().map(Vec::len).max().unwrap_or(0)
}
