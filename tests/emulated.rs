//! Attention's text for fragments of 16x16, which no software driver has. Here a fragment is an array, shared among the lanes
//! of a subgroup, so that any driver runs the rest of the text, with all its offsets.

use crate::ops::check::{applies, check_case};
use crate::support::{open, seed};
use normfree::gpu::OpenOptions;
use normfree::ops::attention::{Attention, AttentionBackward};
use normfree::ops::{Kernel, Op, Recipe, Shapes, Traits};
use normfree::tape::{DType, Io};
use normfree::verify::{CaseBuilder, Fill, HALF_BOUND};

const SIDE: u32 = 16;

/// The replacement for matrix units. A product goes through workgroup memory, so that each lane finds all of both factors. The
/// compiler knows no loop's length; otherwise it would unroll it for minutes.
const FRAGMENTS: &str = "
alias Fragment = array<f32, SIDE * SIDE / LANES>;
var<private> my_lane: u32;
var<private> my_subgroup: u32;
var<workgroup> left: array<f32, DOWN * ACROSS * SIDE * SIDE>;
var<workgroup> right: array<f32, DOWN * ACROSS * SIDE * SIDE>;
fn side() -> u32 {
    return min(SIDE, arrayLength(&qkv));
}
fn multiply_add(a: Fragment, b: Fragment, c: Fragment) -> Fragment {
    var factors = array(a, b);
    var sum = c;
    let home = my_subgroup * SIDE * SIDE;
    workgroupBarrier();
    for (var k = 0u; k < side() * SIDE / LANES; k += 1u) {
        left[home + my_lane + k * LANES] = factors[0][k];
        right[home + my_lane + k * LANES] = factors[1][k];
    }
    workgroupBarrier();
    for (var k = 0u; k < side() * SIDE / LANES; k += 1u) {
        let e = my_lane + k * LANES;
        for (var t = 0u; t < side(); t += 1u) {
            sum[k] += left[home + e / SIDE * SIDE + t] * right[home + t * SIDE + e % SIDE];
        }
    }
    return sum;
}
fn keep(a: Fragment, at: u32, stride: u32) {
    var fragment = a;
    for (var k = 0u; k < side() * SIDE / LANES; k += 1u) {
        let e = my_lane + k * LANES;
        shown[at + e / SIDE * stride + e % SIDE] = fragment[k];
    }
}
";

/// A function that reads a fragment from one of the text's arrays, by rows or by columns.
fn load(array: &str) -> String {
    format!(
        "fn load_{array}(by_rows: bool, at: u32, stride: u32) -> Fragment {{
            var fragment: Fragment;
            for (var k = 0u; k < side() * SIDE / LANES; k += 1u) {{
                let e = my_lane + k * LANES;
                let place = select(e % SIDE * stride + e / SIDE, e / SIDE * stride + e % SIDE, by_rows);
                fragment[k] = f32({array}[at + place]);
            }}
            return fragment;
        }}\n"
    )
}

/// A line without matrix units.
fn line_of(line: &str) -> String {
    if line.starts_with("enable wgpu_cooperative_matrix") {
        return String::new();
    }
    let mut line = line.to_owned();
    for array in ["other", "weights", "shown"] {
        for role in ["f16, A", "f16, B", "f32, C"] {
            for (load, by_rows) in [("coopLoadT", true), ("coopLoad", false)] {
                let from = format!("{load}<coop_mat16x16<{role}>>(&{array}[");
                if line.contains(&from) {
                    let to = format!("load_{array}({by_rows}, ");
                    line = line.replace(&from, &to).replacen("], ", ", ", 1);
                }
            }
        }
    }
    if line.starts_with("coopStoreT(") {
        line = line.replacen("coopStoreT(", "keep(", 1).replacen("&shown[", "", 1).replacen("], ", ", ", 1);
    }
    if line.starts_with("let at = vec2(") {
        line.insert_str(0, "my_lane = lane;\nmy_subgroup = subgroup_of(invocation);\n");
    }
    line.replace("coop_mat16x16<f32, C>()", "Fragment()").replace("coopMultiplyAdd(", "multiply_add(")
}

fn emulated(kernel: &Kernel) -> Kernel {
    let mut text: String = kernel.text.lines().map(|line| line_of(line) + "\n").collect();
    assert!(!text.contains("coop"), "{text}");
    text.push_str(FRAGMENTS);
    text.push_str("fn subgroup_of(invocation: u32) -> u32 { return invocation / LANES; }\n");
    ["other", "weights", "shown"].iter().for_each(|array| text.push_str(&load(array)));
    Kernel { text: text.into(), ..kernel.clone() }
}

/// An op as a device with matrix units computes it, run on one that has none.
#[derive(Debug)]
struct Emulated<T>(T);

impl<T: Op> Op for Emulated<T> {
    fn stem(&self) -> &'static str {
        self.0.stem()
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn reference(&self, io: &mut Io<'_>) {
        self.0.reference(io);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let device = Traits { software: false, cooperative: SIDE, attention_units: true, ..device.clone() };
        let mut recipe = self.0.recipe(shapes, &device);
        for dispatch in &mut recipe.dispatches {
            assert!(dispatch.kernel.text.contains("coop_mat16x16"), "{:?} has no matrix units", self.0);
            dispatch.kernel = emulated(&dispatch.kernel);
        }
        recipe
    }
}

/// Two heads whose width is not a whole number of fragments, over a sequence that ends within a block.
#[test]
fn fragments_of_16_agree_with_reference_as_arrays() {
    let gpu = open(&OpenOptions::default());
    if gpu.traits().lanes < 8 {
        println!("NOT run: no variant fits subgroups of {} lanes", gpu.traits().lanes);
        return;
    }
    let (batch, heads, sequence, width) = (1, 2, 73, 28);
    let label = format!("fragments of 16, B={batch} H={heads} T={sequence} d={width}");
    let mut case = CaseBuilder::new("attention", label, seed());
    let rows = batch * sequence;
    let per_row = [batch, heads, sequence];
    let qkv = case.input_of("qkv", &[rows, 3 * heads * width], DType::F16, Fill::Normal(1.5));
    let d_output = case.input_of("d_output", &[rows, heads * width], DType::F16, Fill::Normal(1.0));
    let d_entropy = case.input("d_entropy", &per_row, Fill::Normal(1.0));
    let tape = &mut case.tape;
    let output = tape.intermediate_of("output", &[rows, heads * width], DType::F16);
    let [lse, entropy] = ["lse", "entropy"].map(|name| tape.intermediate(name, &per_row));
    let d_qkv = tape.intermediate_of("d_qkv", &[rows, 3 * heads * width], DType::F16);
    let forward = Attention { n_head: heads, sequence, entropy: true, cap: None };
    tape.record(Emulated(forward), &[qkv], &[output, lse, entropy]);
    let backward = AttentionBackward { n_head: heads, sequence, guided: true, cap: None };
    tape.record(Emulated(backward), &[qkv, output, lse, d_output, entropy, d_entropy], &[d_qkv]);
    let case = case.finish(&[], &[output, lse, entropy, d_qkv], HALF_BOUND);
    if applies(&gpu, &case) {
        check_case(&gpu, &case);
    }
}
