//! Attention on matrix units: how subgroups share a workgroup's rows and columns, and the kernels' text.

use super::Layout;
use super::text::Pass;
use crate::ops::unroll::unroll;
use crate::ops::{Binding, Dispatch, Kernel, Traits, axis, element};
use std::fmt;

/// How a workgroup's subgroups share its blocks; see `shaders/attention/units.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Units {
    /// Of a fragment.
    side: usize,
    /// Of a subgroup.
    lanes: usize,
    /// Subgroups below one another, and beside one another.
    down: usize,
    across: usize,
    /// Fragments of a subgroup's rows, of its columns, and of the other side's rows in a block.
    high: usize,
    each: usize,
    keys: usize,
}

/// Columns of a subgroup, at most: what it holds of them, and sums in them, fills half of the registers of AMD's lanes.
const COLUMNS: usize = 64;
/// Lanes of a row, at most.
const TEAM: usize = 8;
/// Elements that a row in workgroup memory is longer than it need be: `GAP` of the shader.
const GAP: usize = 8;

impl Units {
    /// The variants of a device; the first is the default. None where it has no matrix units, where rows are not what they
    /// take, and where a head's fragments would be half as wide again as the head.
    pub fn all(layout: &Layout, device: &Traits) -> Vec<Self> {
        let (side, lanes) = (device.cooperative as usize, device.lanes as usize);
        if side == 0 || lanes == 0 || !layout.half {
            return Vec::new();
        }
        let fragments = layout.width.div_ceil(side);
        if 2 * fragments * side > 3 * layout.width {
            return Vec::new();
        }
        let across = (fragments * side).div_ceil(COLUMNS);
        // Fragments of a subgroup's rows, subgroups, rows of a block.
        let shapes = [(1, 4, 32), (1, 2, 32), (1, 8, 32), (1, 4, 64), (2, 2, 32)];
        let of = |(high, subgroups, keys): (usize, usize, usize)| Self {
            side,
            lanes,
            down: (subgroups / across).max(1),
            across,
            high,
            each: fragments.div_ceil(across),
            keys: keys / side,
        };
        let mut all: Vec<Self> = shapes.into_iter().map(of).filter(|units| units.fits(device)).collect();
        all.dedup();
        all
    }

    fn fits(&self, device: &Traits) -> bool {
        let shared = self.rows() * self.team();
        self.threads() <= device.max_invocations as usize
            && self.bytes() <= device.workgroup_memory as usize
            && shared.is_multiple_of(self.threads())
            && self.team() <= self.lanes
    }

    fn threads(&self) -> usize {
        self.lanes * self.down * self.across
    }

    /// Rows of a workgroup, and of the other side's block.
    fn rows(&self) -> usize {
        self.side * self.high * self.down
    }

    fn keys(&self) -> usize {
        self.side * self.keys
    }

    /// Columns that a workgroup has fragments for.
    fn wide(&self) -> usize {
        self.side * self.each * self.across
    }

    /// Lanes that share a row: each has four of its scores, or more.
    fn team(&self) -> usize {
        (self.keys() / 4).min(TEAM)
    }

    /// vec4s of a block of the other side.
    fn vectors(&self) -> usize {
        self.keys() * self.wide() / 4
    }

    /// Of workgroup memory, as the text has it.
    fn bytes(&self) -> usize {
        let (rows, row) = (self.rows(), self.keys() + GAP);
        let other = (self.keys() * (self.wide() + GAP)).max(rows * self.across * self.side);
        let (shown, weights) = (self.across * rows * row, rows * row);
        // Each variable begins at a multiple of 16.
        [2 * other, 4 * shown, 2 * weights, 4 * rows, 4 * self.down * self.across]
            .map(|bytes| bytes.next_multiple_of(16))
            .iter()
            .sum()
    }

    /// Turns of the loops of one lane, at most: over blocks, in them over subgroups and over what a lane has of sums that
    /// are multiplied; before and after them over fragments.
    pub fn iterations(&self, layout: &Layout) -> usize {
        let fragments = self.high * self.each;
        let turns = (self.side * self.side).div_ceil(self.lanes);
        let block = 1 + self.down * self.across + fragments * turns;
        layout.sequence.div_ceil(self.keys()) * block + 4 * fragments * turns + layout.width
    }

    /// The dispatch over all rows of all heads.
    pub fn dispatch(&self, pass: Pass, layout: &Layout, bindings: Vec<Binding>) -> Dispatch {
        let constants = [
            ("HEADS", layout.n_head as f64),
            ("SEQUENCE", layout.sequence as f64),
            ("SCALE", layout.scale()),
        ];
        let text = self.wgsl(pass, layout.width / 4, false);
        let kernel = Kernel::new(element::fragments(true), &text, pass.entry(), &constants);
        let groups = [layout.sequence.div_ceil(self.rows()), layout.n_head, layout.batch];
        Dispatch { kernel, bindings, groups: groups.map(axis) }
    }

    fn wgsl(&self, pass: Pass, columns: usize, sized: bool) -> String {
        let (team, threads, vectors) = (self.team(), self.threads(), self.vectors());
        let numbers = [
            ("columns", columns),
            ("side", self.side),
            ("lanes", self.lanes),
            ("down", self.down),
            ("across", self.across),
            ("high", self.high),
            ("each", self.each),
            ("keys", self.keys),
            ("team", team),
            ("turns", team.ilog2() as usize),
            ("subgroups", self.down * self.across),
            ("rows", self.rows() * team / threads),
            ("cells", self.keys() / 4 / team),
            ("refill", vectors.div_ceil(threads)),
            ("four", 4),
        ];
        let part = |template: &str, texts: &[(&'static str, &str)]| {
            let texts: Vec<_> = texts.iter().map(|&(name, text)| (name, text.to_owned())).collect();
            unroll(template, &numbers, &[], &texts)
        };
        let products =
            |mine: &str| part(include_str!("../../../shaders/attention/units/products.wgsl"), &[("mine", mine)]);
        let totals =
            |sum: &str| part(include_str!("../../../shaders/attention/units/sums.wgsl"), &[("sum", sum)]);
        let stores = |sum: &str, factor: &str, target: &str, parts: &str, place: &str| {
            let texts =
                [("sum", sum), ("factor", factor), ("target", target), ("parts", parts), ("place", place)];
            part(include_str!("../../../shaders/attention/units/stores.wgsl"), &texts)
        };
        let (target, parts, place) = match pass {
            Pass::Forward { .. } => ("output", "1", "0"),
            Pass::QueryGradient { .. } => ("d_qkv", "3", "0"),
            Pass::KeyGradient { .. } => ("d_qkv", "3", "1"),
        };
        let texts = [
            ("scores", products("a")),
            ("slopes", products("b")),
            ("totals_x", totals("x")),
            ("totals_y", totals("y")),
            ("stores_x", stores("x", "factors[row]", target, parts, place)),
            ("stores_y", stores("y", "(1.0 / PROBABILITY)", "d_qkv", "3", "2")),
        ];
        let entries = ["forward", "query_gradient", "key_gradient"];
        let mut flags = entries.map(|entry| (entry, entry == pass.entry())).to_vec();
        flags.extend([
            ("entropy", pass == Pass::Forward { entropy: true }),
            ("guided", pass.guided()),
            ("whole", 4 * columns == self.wide()),
            ("even", vectors.is_multiple_of(threads)),
            ("sized", sized),
        ]);
        unroll(include_str!("../../../shaders/attention/units.wgsl"), &numbers, &flags, &texts)
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, keys, high) = (self.rows(), self.keys(), self.side * self.high);
        write!(f, "matrix units {rows} rows by {keys}, {high} in {}x{}", self.down, self.across)
    }
}
