//! What the kernels of norms share: how they read rows, how a team of lanes divides one, and the blocks of rows over which the
//! learned vectors' gradients are summed.

use super::team::{RowBlocks, Team, Vectors};
use super::{Binding, Operand, Traits, element, fits_image};
use crate::tape::DType;

/// The most vectors of a row that one lane holds; more would not fit the registers.
const MOST_KEPT: usize = 24;

/// The tuning key of a kernel on rows of that shape.
pub(super) fn key(entry: &str, (rows, columns): (usize, usize)) -> String {
    format!("{entry} {rows}x{columns}")
}

/// How a team of lanes shares a row.
pub(super) struct Shared {
    pub team: Team,
    pub vectors: Vectors,
    /// The vectors of a row that a lane holds in registers.
    pub keep: usize,
}

impl Shared {
    /// With the team chosen for the kernel `entry`.
    pub fn of(entry: &str, (rows, columns): (usize, usize), device: &Traits) -> Self {
        let team = Team::chosen(&key(entry, (rows, columns)), device);
        let vectors = Vectors::of(columns);
        let keep = vectors.width.div_ceil(team.size).min(MOST_KEPT);
        Self { team, vectors, keep }
    }

    /// The constants of a kernel on `rows` rows of `columns` elements.
    pub fn constants(&self, (rows, columns): (usize, usize)) -> Vec<(&'static str, f64)> {
        let fits = self.keep * self.team.size == self.vectors.width;
        vec![
            ("ROWS", rows as f64),
            ("WIDTH", self.vectors.width as f64),
            ("COLUMNS", columns as f64),
            ("LANES", self.team.lanes as f64),
            ("TEAM", self.team.size as f64),
            ("FITS", f64::from(u8::from(fits))),
        ]
    }
}

/// The block sizes to try for the parameters' gradients, in rows. The default makes enough blocks to keep a GPU busy, but
/// few enough for one lane to add up.
pub(super) fn parameter_variants(rows: usize) -> Vec<RowBlocks> {
    RowBlocks::variants(rows.div_ceil(128).max(32), rows)
}

/// Whether a kernel reads its rows and vectors as images, which is many times faster on a CPU. If f16 rows fit, f32 rows fit
/// too.
pub(super) fn by_images((rows, columns): (usize, usize), half: bool, device: &Traits) -> bool {
    device.software && fits_image(rows, columns, if half { DType::F16 } else { DType::F32 })
}

/// The bindings, as images if the text reads images.
pub(super) fn read_as(images: bool, bindings: &[Binding]) -> Vec<Binding> {
    let as_image = |&(name, operand): &Binding| match operand {
        Operand::Input(i) if images && ["x", "dy", "gamma", "beta", "addend"].contains(&name) => {
            (name, Operand::InputImage(i))
        }
        _ => (name, operand),
    };
    bindings.iter().map(as_image).collect()
}

/// What a shader is told of how y and dy are stored.
pub(super) fn stored(half: bool, vectors: &Vectors) -> [(&'static str, String); 3] {
    [
        ("stored", element::vector(half, vectors.size)),
        ("narrow", element::narrow(half, vectors.size)),
        ("texel", element::texel(half)),
    ]
}
