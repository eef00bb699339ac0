//! The L2 norm, the largest and the median of a tensor's magnitudes; or the norm and the largest over ranges of an arena.
//!
//! Shapes: x of any shape, in f32; out `[3]` = (norm, largest, median), where the median is exactly the element of rank
//! ⌊(n − 1)/2⌋ of the n magnitudes in ascending order. For ranges, out `[2]` = (norm, largest) over all of them together.
//! NaN counts as larger than any magnitude. An observation: no adjoint.

mod host;

use super::gradient_norm::arena_windows;
use super::unroll::unrolled;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, WINDOW_TEXELS, axis, element};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{Io, Tape, TensorId};
use std::sync::Arc;

/// The op; see the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Magnitudes {
    /// First elements and lengths of the ranges, multiples of 64; `None` for all of x, with the median.
    stretches: Option<Vec<(usize, usize)>>,
}

/// Elements of `out` with the median.
pub const WITH_MEDIAN: usize = 3;
/// Elements of `out` without it.
pub const WITHOUT_MEDIAN: usize = 2;

impl Tape {
    /// Records the norm, the largest and the median magnitude of `x` into `out` `[3]`.
    pub fn magnitudes(&mut self, x: TensorId, out: TensorId) {
        assert_eq!(self.shape(out).elements(), WITH_MEDIAN, "magnitudes: {}", self.info(out).name);
        self.record(Magnitudes { stretches: None }, &[x], &[out]);
    }

    /// Records the norm and the largest magnitude of ranges of `arena`, given by their first elements and lengths, into
    /// `out` `[2]`.
    pub fn magnitudes_of(&mut self, arena: TensorId, stretches: Vec<(usize, usize)>, out: TensorId) {
        assert_eq!(self.shape(out).elements(), WITHOUT_MEDIAN, "magnitudes: {}", self.info(out).name);
        self.record(Magnitudes { stretches: Some(stretches) }, &[arena], &[out]);
    }
}

/// Lanes of a workgroup.
const LANES: usize = element::LANES;
/// Hexadecimal digits of 32 bits, and values of a digit.
const DIGITS: usize = 8;
const BINS: usize = 16;
/// The most workgroups that share x, and so the most partial results to combine.
const MOST_PARTS: usize = 256;
/// The fewest vectors per lane that justify a workgroup.
const FEWEST_VECTORS: usize = 16;

impl Op for Magnitudes {
    fn stem(&self) -> &'static str {
        "magnitudes"
    }

    fn name(&self) -> &'static str {
        "magnitudes"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let mut ascending: Vec<f64> = match &self.stretches {
            None => inputs[0].to_vec(),
            Some(stretches) => stretches
                .iter()
                .flat_map(|&(first, length)| &inputs[0][first..first + length])
                .copied()
                .collect(),
        };
        ascending.iter_mut().for_each(|value| *value = value.abs());
        let squares: f64 = ascending.iter().map(|value| value * value).sum();
        ascending.sort_by(f64::total_cmp);
        let found = [squares.sqrt(), ascending[ascending.len() - 1], ascending[(ascending.len() - 1) / 2]];
        let wanted = outputs[0].len();
        outputs[0].copy_from_slice(&found[..wanted]);
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let x = inputs[0];
        match &self.stretches {
            None => {
                let [norm, largest] = host::norm_and_largest(&[x]);
                outputs[0].copy_from_slice(&[norm, largest, host::median(x)]);
            }
            Some(stretches) => {
                let parts: Vec<&[f32]> =
                    stretches.iter().map(|&(first, length)| &x[first..][..length]).collect();
                outputs[0].copy_from_slice(&host::norm_and_largest(&parts));
            }
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        match &self.stretches {
            None => of_tensor(shapes, device),
            Some(stretches) => of_stretches(stretches, device),
        }
    }
}

/// How the kernels divide a number of elements.
struct Walk {
    elements: usize,
    /// Vectors per lane.
    each: usize,
    /// Workgroups.
    parts: usize,
}

impl Walk {
    /// Divides `elements` among at most `most_parts` workgroups.
    fn over(elements: usize, most_parts: usize) -> Self {
        let vectors = elements.div_ceil(4);
        let each = vectors.div_ceil(LANES * most_parts).max(FEWEST_VECTORS);
        Self { elements, each, parts: vectors.div_ceil(LANES * each) }
    }

    /// The constants of a kernel that reads x. If x is an image, `texels` is the number of vectors per row.
    fn constants(&self, texels: Option<usize>) -> Vec<(&'static str, f64)> {
        let mut constants = vec![("ELEMENTS", self.elements as f64), ("EACH", self.each as f64)];
        constants.extend(texels.map(|texels| ("TEXELS", texels as f64)));
        constants
    }
}

/// The WGSL text, for x as an image or a buffer.
fn text(image: bool) -> Arc<str> {
    unrolled(
        include_str!("../../shaders/magnitudes.wgsl"),
        &[("lanes", LANES), ("digits", DIGITS), ("bins", BINS)],
        &[("images", image)],
    )
}

fn of_tensor(shapes: &Shapes<'_>, device: &Traits) -> Recipe {
    let elements = shapes.input_elements(0);
    let walk = Walk::over(elements, MOST_PARTS);
    // Software drivers read images many times faster than buffers.
    let texels = (device.software && shapes.fits_image(0)).then(|| shapes.inputs[0].as_matrix().1 / 4);
    let text = text(texels.is_some());
    let kernel = |entry, constants| Kernel { text: text.clone(), entry, constants };
    let x = ("x", if texels.is_some() { Operand::InputImage(0) } else { Operand::Input(0) });
    let (shares, counts, known) =
        (("shares", Operand::Scratch(0)), ("counts", Operand::Scratch(1)), ("known", Operand::Scratch(2)));
    let groups = [axis(walk.parts), 1, 1];
    let mut constants = walk.constants(texels);
    let mut survey = constants.clone();
    survey.push(("PART", 0.0));
    let mut dispatches =
        vec![Dispatch { kernel: kernel("survey", survey), bindings: vec![x, shares], groups }];
    let search = [("PARTS", walk.parts as f64), ("RANK", ((elements - 1) / 2) as f64)];
    constants.extend(search);
    for digit in 0..DIGITS {
        let constants = [&constants[..], &[("DIGIT", digit as f64)]].concat();
        let bindings = vec![x, counts, known];
        dispatches.push(Dispatch { kernel: kernel("count", constants), bindings, groups });
    }
    let bindings = vec![shares, counts, known, ("out", Operand::Output(0))];
    let finish = kernel("finish_with_median", search.to_vec());
    dispatches.push(Dispatch { kernel: finish, bindings, groups: [1, 1, 1] });
    Recipe {
        dispatches,
        scratch: vec![2 * walk.parts, DIGITS * walk.parts * BINS, 2 * DIGITS],
        iterations: walk.each + walk.parts + 2 * LANES,
    }
}

fn of_stretches(stretches: &[(usize, usize)], device: &Traits) -> Recipe {
    let text = text(device.software);
    let kernel = |entry, constants| Kernel { text: text.clone(), entry, constants };
    let shares = ("shares", Operand::Scratch(0));
    let mut dispatches = Vec::new();
    // Software drivers have many windows.
    let most_parts = if device.software { MOST_PARTS / 8 } else { MOST_PARTS };
    let (mut parts, mut each) = (0, 0);
    for &(first, length) in stretches {
        for (offset, length) in arena_windows(length, device) {
            let walk = Walk::over(length, most_parts);
            let (offset, texels) = (first + offset, device.software.then_some(WINDOW_TEXELS));
            let x = match device.software {
                true => Operand::InputWindowImage { input: 0, offset, length },
                false => Operand::InputWindow { input: 0, offset, length },
            };
            let mut constants = walk.constants(texels);
            constants.push(("PART", parts as f64));
            dispatches.push(Dispatch {
                kernel: kernel("survey", constants),
                bindings: vec![("x", x), shares],
                groups: [axis(walk.parts), 1, 1],
            });
            parts += walk.parts;
            each = each.max(walk.each);
        }
    }
    dispatches.push(Dispatch {
        kernel: kernel("finish", vec![("PARTS", parts as f64)]),
        bindings: vec![shares, ("out", Operand::Output(0))],
        groups: [1, 1, 1],
    });
    Recipe { dispatches, scratch: vec![2 * parts], iterations: each + parts + 2 * LANES }
}

/// One element, less than a vector, rows that are not whole vectors, several workgroups; equal magnitudes, zeros, and
/// numbers that are not finite. Ranges of an arena, separate and adjacent.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, width, odd) in [(1, 1, false), (1, 3, false), (37, 131, false), (1, 64, true), (67, 256, true)]
    {
        let label = format!("{rows}x{width}, zeros and broken {odd}");
        let mut case = CaseBuilder::new("magnitudes", label, seed);
        let x = case.input("x", &[rows, width], Fill::Normal(1.0));
        if odd {
            let values = case.values(x).iter().enumerate();
            let changed = values.map(|(i, &value)| match i % 16 {
                0..=7 => 0.25_f32.copysign(value),
                8 => 0.0_f32.copysign(value),
                9 if i > 100 => f32::NAN,
                _ => value,
            });
            let changed = changed.collect();
            case.set(x, changed);
        }
        let out = case.observation("out", &[WITH_MEDIAN], 0.5);
        case.tape.magnitudes(x, out);
        cases.push(case.finish(&[], &[], BOUND));
    }
    for (elements, stretches) in [
        (64, vec![(0, 64)]),
        (1024, vec![(128, 64), (640, 128)]),
        (200_000 / 64 * 64, vec![(0, 64), (64, 131_072), (199_936, 64)]),
    ] {
        let mut case = CaseBuilder::new("magnitudes", format!("{stretches:?} of {elements}"), seed);
        let x = case.input("x", &[elements], Fill::Normal(1.0));
        let out = case.observation("out", &[WITHOUT_MEDIAN], 0.5);
        case.tape.magnitudes_of(x, stretches, out);
        cases.push(case.finish(&[], &[], BOUND));
    }
    cases
}

/// The norm has half the relative error of a sum of squares over at most 64 vectors and partial sums at a time; the other
/// results are elements of x.
const BOUND: f64 = 2e-6;
