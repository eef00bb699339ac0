//! How lanes share a row, and how a kernel divides a row into vectors: choices common to several ops.

use super::{Traits, Tuning};
use std::fmt;

/// A group of lanes that sum one value together, and their method.
#[derive(Clone, Copy, Debug)]
pub(super) struct Team {
    name: &'static str,
    /// The file `shaders/shared/team_KIND.wgsl` with `team_sum`, `team_max` and the constant `TEAM`.
    pub kind: &'static str,
    /// Lanes of a team: the constant `TEAM`.
    pub size: usize,
    /// Lanes of a workgroup: the constant `LANES`.
    pub lanes: usize,
}

impl Team {
    /// The simplest kind, for kernels that do not sum over lanes but share a file with kernels that do.
    pub const ALONE: &'static str = "alone";

    /// Workgroup memory and barriers are expensive on a CPU driver, so there a team is a subgroup, or one lane if subgroups
    /// cannot be used. On a GPU it is a workgroup, which is correct for every subgroup width, even if the compiler picks a
    /// different width for each kernel.
    pub fn of(device: &Traits) -> Self {
        Self::variants(device)[0]
    }

    /// Every kind of team that a device supports; the first is the default.
    pub fn variants(device: &Traits) -> Vec<Self> {
        let alone = Self::alone();
        let lanes = device.lanes as usize;
        let subgroup = Self { name: "subgroups", kind: "subgroup", size: lanes, lanes };
        match (device.software, lanes) {
            (true, 0) => vec![alone],
            (true, _) => vec![subgroup, alone],
            (false, 0) => vec![Self::workgroup(64), Self::workgroup(128), Self::workgroup(256)],
            // A workgroup of one subgroup. If a driver runs a width other than the one it reported, the tuner detects it.
            (false, _) => vec![Self::workgroup(64), Self::workgroup(128), Self::workgroup(256), subgroup],
        }
    }

    /// The team chosen for `key`.
    pub fn chosen(key: &str, device: &Traits) -> Self {
        Tuning::chosen(key, &Self::variants(device), device)
    }

    /// The team of a kernel in which a single team does all the work. It is never a lone lane, whose loop would be too long.
    pub fn single(device: &Traits) -> Self {
        let team = Self::of(device);
        if team.size > 1 { team } else { Self::workgroup(64) }
    }

    fn workgroup(lanes: usize) -> Self {
        let name = match lanes {
            64 => "workgroups of 64",
            128 => "workgroups of 128",
            _ => "workgroups of 256",
        };
        Self { name, kind: "workgroup", size: lanes, lanes }
    }

    /// Lanes that each work alone.
    pub fn alone() -> Self {
        Self { name: "lanes alone", kind: Self::ALONE, size: 1, lanes: 64 }
    }

    /// The number of workgroups that hold `teams` teams.
    pub fn workgroups(&self, teams: usize) -> usize {
        teams.div_ceil(self.lanes / self.size)
    }
}

impl fmt::Display for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Rows of a block: one lane sums a block of a column, then another lane sums the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowBlocks(pub usize);

impl RowBlocks {
    /// The block sizes worth trying on a matrix of `rows` rows. The first, `favoured`, is the default; the others are four
    /// times as large, and a fourth.
    pub fn variants(favoured: usize, rows: usize) -> Vec<Self> {
        let others = [4 * favoured, favoured / 4].into_iter().filter(|each| (1..rows).contains(each));
        std::iter::once(favoured).chain(others).map(Self).collect()
    }
}

impl fmt::Display for RowBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocks of {} rows", self.0)
    }
}

/// The unit in which a kernel reads a row: a vec4 if every row starts at one, else a scalar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vectors {
    /// Elements per vector, 4 or 1: `shaders/shared/vector4.wgsl` or `vector1.wgsl` defines the type `Vector`.
    pub size: usize,
    /// Vectors per row.
    pub width: usize,
}

impl Vectors {
    /// For rows of `columns` elements.
    pub fn of(columns: usize) -> Self {
        let size = if columns.is_multiple_of(4) { 4 } else { 1 };
        Self { size, width: columns / size }
    }
}
