//! What a row of the table of quantities says, and the shortest ways to write one.

/// A kind of record in the log: its `kind`, and how often one is written.
#[derive(Debug)]
pub struct Kind {
    /// The value of `kind` in the log.
    pub word: &'static str,
    /// The stem of its Parquet table. Rows of an extent other than `extent` have their own table.
    pub table: &'static str,
    pub extent: Extent,
    pub cadence: Cadence,
}

/// How often a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cadence {
    EveryStep,
    /// Every `observe.entropy_every` steps.
    Entropy,
    /// Every `observe.slopes_every` steps.
    Slopes,
    /// Every `observe.layers_every` steps, among the observed ones.
    Layers,
    /// At each evaluation; the record counts the steps done.
    Evaluation,
}

/// What each number of a quantity belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Step,
    /// Each layer, `[n_layer]`.
    Layer,
    /// Each head of each layer, `[n_layer][n_head]`.
    Head,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    F64,
    /// As the shortest decimal that reads back to the same f32.
    F32,
    Whole,
    /// `true`; omitted otherwise.
    Flag,
}

/// Which records contain a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// In every record of its kind; there is no record without it.
    Always,
    /// In every record, as an empty list if the model has nothing to measure.
    MayBeEmpty,
    /// In some records. This includes every quantity that older logs lack.
    Sometimes,
}

/// The vertical axis of a quantity's curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    Linear,
    /// Zero is a dashed line.
    Signed,
    /// From zero up.
    Share,
    /// From zero up, with the causal ceiling of an entropy as a dashed line.
    Entropy,
    /// For values that differ by orders of magnitude.
    Logarithmic,
    /// The range within reach of the runs' initial losses.
    Loss,
    /// The same range for e^loss.
    Perplexity,
}

/// How a quantity is drawn: with one number per layer or head, as a figure and as curves in the report page; with one per
/// step, only as curves in the page.
#[derive(Debug)]
pub struct Drawn {
    /// Its position among the drawn quantities of its extent.
    pub place: u8,
    /// The stem of the figure's file, and the key in the report page.
    pub stem: &'static str,
    pub title: &'static str,
    /// The label of the axis, with the unit.
    pub label: &'static str,
    pub axis: Axis,
    /// The approximate number of points of a run's per-step curve in the report page.
    pub points: usize,
    /// A configuration where this is zero throughout is not drawn if it is non-zero in others.
    pub unless_zero: Option<&'static Quantity>,
    /// The key of `[model]` and the value for which all layers have the same number, so that one line is drawn.
    pub shared: Option<(&'static str, &'static str)>,
}

/// How the live view shows a quantity.
#[derive(Debug)]
pub enum Live {
    /// The newest number of a step, after its name.
    Number(&'static str, fn(f64) -> String),
    /// The newest numbers of the layers, on one line. The line starts with the first text if all are the same, otherwise
    /// with the second.
    Layers(&'static str, &'static str),
}

/// A quantity.
#[derive(Debug)]
pub struct Quantity {
    pub kind: &'static Kind,
    /// Its key in the log's record.
    pub name: &'static str,
    pub extent: Extent,
    pub stored: Stored,
    pub presence: Presence,
    /// Its tag in TensorBoard; `None` if it is not sent there.
    pub tag: Option<&'static str>,
    /// Its column in the Parquet table.
    pub column: &'static str,
    pub drawn: Option<Drawn>,
    pub live: Option<Live>,
}

/// A row with the common settings: f32, under its own name in TensorBoard and Parquet, in some records, not drawn.
pub(super) const fn row(kind: &'static Kind, name: &'static str, extent: Extent) -> Quantity {
    Quantity {
        kind,
        name,
        extent,
        stored: Stored::F32,
        presence: Presence::Sometimes,
        tag: Some(name),
        column: name,
        drawn: None,
        live: None,
    }
}

pub(super) const fn drawn_as(
    place: u8,
    stem: &'static str,
    axis: Axis,
    label: &'static str,
    title: &'static str,
) -> Drawn {
    Drawn { place, stem, title, label, axis, points: 0, unless_zero: None, shared: None }
}

pub(super) const fn figure(
    place: u8,
    stem: &'static str,
    axis: Axis,
    label: &'static str,
    title: &'static str,
) -> Option<Drawn> {
    Some(drawn_as(place, stem, axis, label, title))
}

pub(super) const fn curve(
    place: u8,
    stem: &'static str,
    axis: Axis,
    points: usize,
    title: &'static str,
) -> Option<Drawn> {
    Some(Drawn { points, ..drawn_as(place, stem, axis, title, title) })
}

pub(super) const fn kind(word: &'static str, table: &'static str, extent: Extent, cadence: Cadence) -> Kind {
    Kind { word, table, extent, cadence }
}

/// Quantities are the rows of the table and nothing else.
impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Quantity {}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Kind {}

/// Declares each row as a static, and a list of all of them.
macro_rules! rows {
    ($vis:vis $all:ident: $type:ty; $($(#[$doc:meta])* $name:ident = $row:expr;)*) => {
        $($(#[$doc])* pub static $name: $type = $row;)*
        /// Every row, in order.
        $vis const $all: &[&$type] = &[$(&$name),*];
    };
}

pub(super) use rows;
