//! Attention on matrix units: how subgroups divide a workgroup's rows and columns, and the kernels' text.

use super::heads::Heads;
use super::pass::Pass;
use crate::ops::unroll::unroll;
use crate::ops::{Binding, Dispatch, Kernel, Operand, Traits, axis};
use crate::tape::{DType, Tape, TensorId, shapes};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How a workgroup's subgroups divide its blocks; see `shaders/attention/units.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Units {
    /// The side of a fragment.
    side: usize,
    /// Lanes of a subgroup.
    lanes: usize,
    /// Rows and columns of the grid of subgroups.
    down: usize,
    across: usize,
    /// Fragments of a subgroup's rows, of its columns, and of the other side's rows in a block.
    high: usize,
    each: usize,
    keys: usize,
}

/// The most columns of a subgroup: its values and sums in them fill half of the registers of AMD's lanes.
const COLUMNS: usize = 64;
/// The most lanes per row.
const TEAM: usize = 8;
/// Elements between rows in workgroup memory: `GAP` of the shader.
const GAP: usize = 8;

impl Units {
    /// The variants of a device; the first is the default. There are none if the device has no matrix units, if rows
    /// are not f16, or if a head's fragments would be half as wide again as the head.
    pub fn all(layout: &Heads, device: &Traits) -> Vec<Self> {
        let (side, lanes) = (device.cooperative as usize, device.lanes as usize);
        if side == 0 || lanes == 0 || !device.attention_units || !layout.half {
            return Vec::new();
        }
        let fragments = layout.width.div_ceil(side);
        if 2 * fragments * side > 3 * layout.width {
            return Vec::new();
        }
        let across = (fragments * side).div_ceil(COLUMNS);
        // Fragments of a subgroup's rows, subgroups, columns of their grid, rows of a block.
        let shapes =
            [(1, 4, 1, 32), (1, 2, 1, 32), (1, 8, 1, 32), (1, 4, 1, 64), (2, 4, 2, 32), (1, 4, 1, 16)];
        let of = |&(high, subgroups, beside, keys): &(usize, usize, usize, usize)| {
            let across = across.max(beside).min(fragments);
            let down = (subgroups / across).max(1);
            Self { side, lanes, down, across, high, each: fragments.div_ceil(across), keys: keys / side }
        };
        // With fewer than four subgroups, a lane would have to load too much of a wide head.
        let shared = shapes.iter().filter(|&&(_, subgroups, ..)| across == 1 || subgroups >= 4);
        let mut all: Vec<Self> = Vec::new();
        for units in shared.map(of).filter(|units| units.fits(device)) {
            if !all.contains(&units) {
                all.push(units);
            }
        }
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

    /// Rows of a workgroup, and rows of the other side's block.
    fn rows(&self) -> usize {
        self.side * self.high * self.down
    }

    fn keys(&self) -> usize {
        self.side * self.keys
    }

    /// Columns covered by a workgroup's fragments.
    fn wide(&self) -> usize {
        self.side * self.each * self.across
    }

    /// Lanes that share a row: each has at least four of its scores.
    fn team(&self) -> usize {
        (self.keys() / 4).min(TEAM)
    }

    /// vec4s of a block of the other side.
    fn vectors(&self) -> usize {
        self.keys() * self.wide() / 4
    }

    /// Elements of `other` in the text.
    fn other(&self) -> usize {
        let turned = self.wide() * (self.keys() + GAP);
        let own = self.rows() * self.across * self.side;
        turned.max(self.keys() * (self.wide() + GAP)).max(own)
    }

    /// Bytes of workgroup memory that the text uses.
    fn bytes(&self) -> usize {
        let (rows, row) = (self.rows(), self.keys() + GAP);
        let (shown, weights) = (self.across * rows * row, rows * row);
        // Each variable starts at a multiple of 16.
        [2 * self.other(), 4 * shown, 2 * weights, 4 * rows, 4 * self.down * self.across]
            .map(|bytes| bytes.next_multiple_of(16))
            .iter()
            .sum()
    }

    /// The most loop iterations of one lane: over blocks; within each, over subgroups and over the lane's part of the sums
    /// that are multiplied; before and after the blocks, over fragments.
    pub fn iterations(&self, layout: &Heads) -> usize {
        let fragments = self.high * self.each;
        let turns = (self.side * self.side).div_ceil(self.lanes);
        let block = 1 + self.down * self.across + fragments * turns;
        layout.sequence.div_ceil(self.keys()) * block + 4 * fragments * turns + layout.width
    }

    /// The dispatch over all rows of all heads.
    pub fn dispatch(&self, pass: Pass, layout: &Heads, bindings: Vec<Binding>) -> Dispatch {
        self.dispatch_of(&self.wgsl(pass, layout, false), pass, layout, bindings)
    }

    fn dispatch_of(&self, text: &str, pass: Pass, layout: &Heads, bindings: Vec<Binding>) -> Dispatch {
        let constants = layout.constants();
        let kernel = Kernel::new(text, pass.entry(), &constants);
        let groups = [layout.sequence.div_ceil(self.rows()), layout.n_head, layout.batch];
        Dispatch { kernel, bindings, groups: groups.map(axis) }
    }

    /// Loads fragments of this side's rows from a subgroup's place, which holds only these columns.
    fn own_loads(&self, name: &str, columns: Range<usize>) -> String {
        let (side, line) = (self.side, columns.len() * self.side);
        let load = |high: usize, d: usize| {
            let from = high * side * line + (d - columns.start) * side;
            let at = format!("subgroup * HIGH * {line}u + {from}u");
            format!(
                "let {name}_{high}_{d} = coopLoadT<coop_mat{side}x{side}<f16, A>>(&other[{at}], {line}u);\n"
            )
        };
        self.each_fragment(columns.clone(), load)
    }

    /// Stores fragments of sums in `shown`, from the first column of a subgroup's part on.
    fn shows(&self, sum: &str, columns: Range<usize>) -> String {
        let show = |high: usize, d: usize| {
            let at = self.shown(high, d - columns.start);
            format!("coopStoreT({sum}_{high}_{d}, &shown[{at}], SHOWN);\n")
        };
        self.each_fragment(columns.clone(), show)
    }

    /// Loads them back.
    fn loads(&self, sum: &str, columns: Range<usize>) -> String {
        let side = self.side;
        let load = |high: usize, d: usize| {
            let at = self.shown(high, d - columns.start);
            format!("{sum}_{high}_{d} = coopLoadT<coop_mat{side}x{side}<f32, C>>(&shown[{at}], SHOWN);\n")
        };
        self.each_fragment(columns.clone(), load)
    }

    /// The position of a fragment of a subgroup's part in `shown`.
    fn shown(&self, high: usize, place: usize) -> String {
        format!("(part + {}u) * SHOWN + {}u", high * self.side, place * self.side)
    }

    fn each_fragment(&self, columns: Range<usize>, line: impl Fn(usize, usize) -> String) -> String {
        let all = (0..self.high).flat_map(|high| columns.clone().map(move |d| (high, d)));
        all.map(|(high, d)| line(high, d)).collect()
    }

    fn wgsl(&self, pass: Pass, layout: &Heads, sized: bool) -> Arc<str> {
        let columns = layout.width / 4;
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
        let entries = ["forward", "query_gradient", "key_gradient"];
        let mut flags = entries.map(|entry| (entry, entry == pass.entry())).to_vec();
        flags.extend([
            ("entropy", pass == Pass::Forward { entropy: true }),
            ("guided", pass.guided()),
            ("capped", layout.cap.is_some()),
            ("whole", 4 * columns == self.wide()),
            ("even", vectors.is_multiple_of(threads)),
            ("sized", sized),
        ]);
        let unrolled =
            |template: &'static str, numbers: &[(&'static str, usize)], texts: &[(&'static str, &str)]| {
                let texts: Vec<_> = texts.iter().map(|&(name, text)| (name, text.to_owned())).collect();
                unroll(template, numbers, &[], &texts).to_string()
            };
        let own = |name: &str, mine: &str| -> String {
            let some = |columns: Range<usize>| {
                let loads = self.own_loads(name, columns.clone());
                let texts = [("mine", mine), ("loads", &*loads)];
                unrolled(
                    include_str!("../../../shaders/attention/units/own.wgsl"),
                    &numbers_of(&columns),
                    &texts,
                )
            };
            let at_once = self.other() / (self.rows() * self.across * self.side);
            groups(self.each, at_once).map(some).collect()
        };
        let rescale = |columns: Range<usize>| {
            let (shows, loads) = (self.shows("x", columns.clone()), self.loads("x", columns.clone()));
            let texts = [("shows", &*shows), ("loads", &*loads)];
            unrolled(
                include_str!("../../../shaders/attention/units/rescale.wgsl"),
                &[("count", columns.len())],
                &texts,
            )
        };
        let stores = |sum: &str, factor: &str, [target, parts, place]: [&str; 3]| -> String {
            let some = |columns: Range<usize>| {
                let shows = self.shows(sum, columns.clone());
                let texts = [
                    ("shows", &*shows),
                    ("factor", factor),
                    ("target", target),
                    ("parts", parts),
                    ("place", place),
                ];
                unrolled(
                    include_str!("../../../shaders/attention/units/stores.wgsl"),
                    &numbers_of(&columns),
                    &texts,
                )
            };
            groups(self.each, self.keys).map(some).collect()
        };
        let target = match pass {
            Pass::Forward { .. } => ["output", "1", "0"],
            Pass::QueryGradient { .. } => ["d_qkv", "3", "0"],
            Pass::KeyGradient { .. } => ["d_qkv", "3", "1"],
        };
        let texts = [
            ("own_left", own("a", "own_left_at")),
            ("own_right", own("b", "own_right_at")),
            ("rescale", groups(self.each, self.keys).map(rescale).collect()),
            ("stores_x", stores("x", "factors[down + row]", target)),
            ("stores_y", stores("y", "(1.0 / PROBABILITY)", ["d_qkv", "3", "2"])),
        ];
        unroll(include_str!("../../../shaders/attention/units.wgsl"), &numbers, &flags, &texts)
    }
}

/// A test of attention on a device's matrix units. It runs the actual kernels, which here also write to `widths` the
/// subgroup width of each invocation.
pub struct UnitProbe {
    /// The op and its adjoint, with gradients at output and entropy.
    pub tape: Tape,
    /// The packed rows, and the gradients at output and entropy.
    pub inputs: [TensorId; 3],
    /// Each dispatch's node, the dispatch, and its number of invocations.
    pub dispatches: Vec<(usize, Dispatch, usize)>,
}

/// The probe of `side` x `side` fragments on a device, in the default variant. The heads' fragments are wider than the
/// heads, and the rows end within the second workgroup.
pub fn unit_probe(side: u32, device: &Traits) -> Option<UnitProbe> {
    let device = Traits { cooperative: side, attention_units: true, ..device.clone() };
    let (batch, n_head, width) = (2, 2, 2 * side as usize + 4);
    let of = |sequence| Heads { batch, n_head, sequence, width, half: true, cap: None };
    let units = *Units::all(&of(1), &device).first()?;
    let layout = of(units.rows() + 9);
    let mut tape = Tape::new();
    let rows = batch * layout.sequence;
    let qkv = tape.tracked_input("qkv", &[rows, 3 * n_head * width], DType::F16);
    let attended = tape.attention(qkv, n_head, layout.sequence, true);
    let entropy = attended.entropy.expect("it was asked for");
    let d_output = tape.input("d_output", &[rows, n_head * width], tape.info(attended.output).gradient);
    let d_entropy = tape.input("d_entropy", &[batch, n_head, layout.sequence], DType::F32);
    tape.backward_from(&[(attended.output, d_output), (entropy, d_entropy)]);
    let mut dispatches = Vec::new();
    let passes = [
        Pass::Forward { entropy: true },
        Pass::QueryGradient { guided: true },
        Pass::KeyGradient { guided: true },
    ];
    let recipes = tape.nodes().iter().enumerate().flat_map(|(at, node)| {
        let recipe = node.op.recipe(&shapes(&tape, node), &device);
        recipe.dispatches.into_iter().map(move |dispatch| (at, dispatch.bindings))
    });
    for ((at, mut bindings), pass) in recipes.zip(passes) {
        bindings.push(("widths", Operand::Output(WIDTHS)));
        let text = units.wgsl(pass, &layout, true);
        let dispatch = units.dispatch_of(&text, pass, &layout, bindings);
        let invocations = dispatch.groups.iter().product::<u32>() as usize * units.threads();
        dispatches.push((at, dispatch, invocations));
    }
    Some(UnitProbe { tape, inputs: [qkv, d_output, d_entropy], dispatches })
}

/// The output index that stands for a probe's subgroup widths; no op has such an output.
pub const WIDTHS: usize = usize::MAX;

/// Splits `fragments` into groups of at most `at_once`.
fn groups(fragments: usize, at_once: usize) -> impl Iterator<Item = Range<usize>> {
    (0..fragments).step_by(at_once).map(move |from| from..fragments.min(from + at_once))
}

/// The numbers that describe such a group to a shader.
fn numbers_of(columns: &Range<usize>) -> [(&'static str, usize); 2] {
    [("from", columns.start), ("count", columns.len())]
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, keys, high) = (self.rows(), self.keys(), self.side * self.high);
        write!(f, "matrix units {rows} rows by {keys}, {high} in {}x{}", self.down, self.across)
    }
}
