//! Products that test whether a device's matrix units compute correctly.

use super::product::{Layout, MatMul, Sizes};
use super::text::text_that_shows;
use super::units::candidates;
use super::variant::{LADDER, Variant};
use crate::ops::{Kernel, Traits};
use crate::tape::DType;

/// A product that tests whether matrix units compute correctly. It runs an actual product kernel on matrices that end within
/// a tile; the kernel also writes the subgroup width at which each invocation ran.
pub struct UnitProbe {
    /// Variables: `a` and `b` in f16, `c` in f32, and `widths`, one u32 per invocation.
    pub kernel: Kernel,
    pub groups: [u32; 3],
    pub layout: Layout,
    pub sizes: Sizes,
    pub invocations: usize,
}

/// The probes of `side` x `side` fragments on a device: in every layout, the largest and the smallest workgroup among
/// the defaults.
pub fn unit_probes(side: u32, device: &Traits) -> Vec<UnitProbe> {
    let device = Traits { cooperative: side, ..device.clone() };
    let sizes = |layout, m, n, k| {
        let (a_rows, a_columns) = if layout == Layout::TN { (k, m) } else { (m, k) };
        let (b_rows, b_columns) = if layout == Layout::NT { (n, k) } else { (k, n) };
        let (operands, result) = (DType::F16, DType::F32);
        Sizes { m, n, k, a_rows, a_columns, b_rows, b_columns, bias_columns: 0, operands, result }
    };
    let mut probes = Vec::new();
    for layout in [Layout::NN, Layout::NT, Layout::TN] {
        let fitting = candidates(layout, &sizes(layout, 1, 1, 1), &device);
        let ladder = &fitting[..fitting.len().min(LADDER)];
        let mut ends: Vec<Variant> = ladder.first().into_iter().chain(ladder.last()).copied().collect();
        ends.dedup();
        for variant in ends {
            let Variant::Cooperative { lanes, down, across, depth, .. } = variant else { continue };
            let (rows, columns) = variant.tile();
            // Two by two workgroups, and three iterations over K, the last of them partial.
            let sizes = sizes(layout, rows as usize + 12, columns as usize + 20, 2 * depth as usize + 4);
            let op = MatMul::new(layout);
            let recipe = op.recipe_of(&sizes, variant);
            let text = text_that_shows(&op, &sizes, variant, true);
            let dispatch = &recipe.dispatches[0];
            let groups = dispatch.groups;
            probes.push(UnitProbe {
                kernel: Kernel { text, ..dispatch.kernel.clone() },
                groups,
                layout,
                sizes,
                invocations: (groups.iter().product::<u32>() * lanes * down * across) as usize,
            });
        }
    }
    probes
}
