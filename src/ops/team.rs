//! How lanes share a row, and how a kernel cuts a row into vectors: choices that several ops make alike.

use super::{Traits, Tuning};
use std::fmt;

/// The lanes that add up one value together, and how.
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
    /// The simplest kind, for kernels that add up over no lanes in a file with others that do.
    pub const ALONE: &'static str = "alone";

    /// A CPU driver pays for workgroup memory and barriers, so there a team is a subgroup, or one lane where
    /// subgroups cannot be used. On a GPU it is a workgroup, which is right for every subgroup width, also
    /// where the compiler picks another one for each kernel.
    pub fn of(device: &Traits) -> Self {
        Self::variants(device)[0]
    }

    /// Every kind of team that a device has; the first is the default.
    pub fn variants(device: &Traits) -> Vec<Self> {
        let alone = Self { name: "lanes alone", kind: Self::ALONE, size: 1, lanes: 64 };
        let lanes = device.lanes as usize;
        let subgroup = Self { name: "subgroups", kind: "subgroup", size: lanes, lanes };
        match (device.software, lanes) {
            (true, 0) => vec![alone],
            (true, _) => vec![subgroup, alone],
            (false, 0) => vec![Self::workgroup(64), Self::workgroup(128), Self::workgroup(256)],
            // A workgroup of one subgroup. Where a driver runs another width than it showed, the tuner sees that.
            (false, _) => vec![Self::workgroup(64), Self::workgroup(128), Self::workgroup(256), subgroup],
        }
    }

    /// The team that was chosen under that key.
    pub fn chosen(key: &str, device: &Traits) -> Self {
        Tuning::chosen(key, &Self::variants(device), device)
    }

    /// The team of a kernel in which a single team walks everything: never one lane alone, whose loop would be too long.
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

    /// Workgroups that hold `teams` teams.
    pub fn workgroups(&self, teams: usize) -> usize {
        teams.div_ceil(self.lanes / self.size)
    }
}

impl fmt::Display for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Rows of a block: one lane adds up a block of a column, before another adds up the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowBlocks(pub usize);

impl RowBlocks {
    /// Every size of a block worth trying on a matrix of `rows`; the first is the default, the others make four times as
    /// many workgroups, or a fourth.
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

/// The element a kernel reads of a row: a vec4 where every row starts at one, else a scalar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vectors {
    /// Elements of a vector, 4 or 1: `shaders/shared/vector4.wgsl` or `vector1.wgsl` has its type `Vector`.
    pub size: usize,
    /// Vectors of a row.
    pub width: usize,
}

impl Vectors {
    /// For rows of `columns` elements.
    pub fn of(columns: usize) -> Self {
        let size = if columns.is_multiple_of(4) { 4 } else { 1 };
        Self { size, width: columns / size }
    }
}
