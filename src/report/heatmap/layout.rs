//! What a heatmap shows, and where on the page: the panels side by side, their titles, notes and caption.

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
pub(super) const LABEL: f64 = 14.0;
pub(super) const TICK: f64 = 12.0;
/// Sizes of titles: the first, or in print the first with which most panels stand side by side.
pub(super) const TITLES: [f64; 4] = [18.0, 16.0, 14.0, 12.0];
pub(super) const NOTE: f64 = 12.5;
/// Space left of a matrix (layer numbers, "Layer") and below it (head numbers, "Head").
pub(super) const LEFT: f64 = 52.0;
const BELOW: f64 = 48.0;
/// The space for a colour bar with its ticks and label, and the bar's own width.
const BAR_ROOM: f64 = 96.0;
pub(super) const BAR: f64 = 18.0;
pub(super) const MARGIN: f64 = 18.0;
const GAP: f64 = 26.0;
/// The smallest size of a panel's matrix area, so that the bar's label fits beside a single cell.
const LEAST: (f64, f64) = (120.0, 170.0);
/// Height of a line of notes.
pub(super) const LINE: f64 = 18.0;

/// A panel whose notes are broken at their dots, and whose title has no folder: in print, columns are narrow. The
/// folder, which tells the run from others, comes first among the notes.
pub(super) fn narrowed(panel: &Panel) -> Panel {
    let (title, more) = panel
        .title
        .split_once(" (")
        .map_or((panel.title.as_str(), None), |(title, folder)| (title, Some(format!("({folder}"))));
    let notes = panel.notes.iter().flat_map(|note| note.split(" · ")).map(str::to_owned);
    Panel { title: title.to_owned(), notes: more.into_iter().chain(notes).collect(), ..panel.clone() }
}

/// The lines of a caption. On one line if it fits; otherwise each sentence has its own, which is broken between words where a
/// room is given.
fn lines(caption: &str, width: f64, room: Option<f64>, needed: impl Fn(&str) -> f64) -> Vec<String> {
    if caption.is_empty() {
        return Vec::new();
    }
    if needed(caption) <= width {
        return vec![caption.to_owned()];
    }
    let mut lines = Vec::new();
    for sentence in caption.split_inclusive(". ").map(str::trim_end) {
        let mut line = String::new();
        for word in sentence.split(' ') {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if !line.is_empty() && room.is_some_and(|room| needed(&longer) > room) {
                lines.push(std::mem::replace(&mut line, word.to_owned()));
            } else {
                line = longer;
            }
        }
        lines.push(line);
    }
    lines
}

/// The heads of a layer.
pub(super) fn heads(panel: &Panel) -> usize {
    panel.values.iter().map(Vec::len).max().unwrap_or(0)
}

/// The layout of the panels: each gets the space of the largest.
pub(super) struct Page {
    /// One entry per line.
    pub caption: Vec<String>,
    pub width: f64,
    /// The width without the caption, which has more lines on a narrower page.
    pub grid: f64,
    pub height: f64,
    pub columns: usize,
    /// The size of the panels' titles.
    pub title: f64,
    pub cell: (f64, f64),
    /// Size of a matrix.
    pub matrix: (f64, f64),
    /// Size of a panel, including its titles and labels.
    pub panel: (f64, f64),
    pub above: f64,
    /// Distance from the left edge of a row's last matrix to a shared bar.
    pub bar: f64,
}

impl Page {
    /// In a `room`, cells are as wide as it allows, if that is not too narrow for their numbers.
    pub fn new(
        (columns, title): (usize, f64),
        panels: &[Panel],
        caption: &str,
        scale: Scale,
        room: Option<f64>,
    ) -> Self {
        let rows = panels.len().div_ceil(columns);
        let most = |size: &dyn Fn(&Panel) -> f64| panels.iter().map(size).fold(0.0, f64::max);
        let (across, down) = (most(&|panel| heads(panel) as f64), most(&|panel| panel.values.len() as f64));
        let wide = match room {
            None => MATRIX.0,
            Some(room) => {
                let bars = if scale == Scale::Own { columns as f64 } else { 1.0 } * (BAR_ROOM + 16.0);
                (room - 2.0 * MARGIN - bars + GAP) / columns as f64 - GAP - LEFT
            }
        };
        let cell = (
            (wide / across).clamp(CELL_LEAST.0, CELL_MOST.0).floor(),
            (MATRIX.1 / down).clamp(CELL_LEAST.1, CELL_MOST.1).floor(),
        );
        // Pictures for print have their font in them.
        let slack = if room.is_some() { 1.0 } else { text::SLACK };
        let matrix = ((across * cell.0).max(LEAST.0), (down * cell.1).max(LEAST.1));
        let titles = most(&|panel| {
            let notes = panel.notes.iter().map(|note| text::width(note, NOTE));
            notes.fold(text::width(&panel.title, title), f64::max)
        });
        let above = 34.0 + LINE * most(&|panel| panel.notes.len() as f64);
        let own_bar = if scale == Scale::Own { BAR_ROOM } else { 0.0 };
        let panel = (LEFT + (matrix.0 + own_bar).max(titles * slack), above + matrix.1 + BELOW);
        let spread = |count: usize, size: f64| count as f64 * (size + GAP) - GAP;
        // A shared bar stands beside the last matrix. If there is one row, the title may reach over it.
        let beside = if rows == 1 { matrix.0 } else { matrix.0.max(titles * slack) };
        let bar = beside + 16.0;
        let last = if scale == Scale::Own { panel.0 } else { panel.0.max(LEFT + beside + BAR_ROOM) };
        let width = 2.0 * MARGIN + spread(columns, panel.0) - panel.0 + last;
        let needed = |line: &str| text::width(line, NOTE) * slack + 2.0 * MARGIN + LEFT;
        let caption = lines(caption, width, room, needed);
        let foot = if caption.is_empty() { 0.0 } else { 8.0 + LINE * caption.len() as f64 };
        Self {
            width: caption.iter().map(|line| needed(line)).fold(width, f64::max),
            grid: width,
            caption,
            height: 2.0 * MARGIN + spread(rows, panel.1) + foot,
            columns,
            title,
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
