//! Finds out which features of a device can be used, by running kernels as demanding as those that rely on them: drivers
//! do not always do what they report, and some behave differently for another kernel.

use super::Gpu;
use crate::fault::Result;
use crate::ops::Kernel;
use crate::ops::attention::unit_probe;
use crate::ops::matmul::{Layout, UnitProbe, unit_probes};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Vectors of four that a lane holds, as many as the largest tile of a product in registers.
const SUMS: usize = 32;
const TURNS: u32 = 4;
/// The seed of the matrices.
const SEED: u64 = 13;
/// The largest error of an f16 product summed in f32, relative to the largest element. Some matrix units cut off what is
/// far below the largest of a few products; a tile read from the wrong place is off by its whole size.
const BOUND: f64 = 1e-3;

impl Gpu {
    /// Checks the subgroups, unless the device was opened without them.
    pub(super) fn look_at_subgroups(&mut self) -> Result<()> {
        if self.device.features().contains(wgpu::Features::SUBGROUP) {
            match self.lanes()? {
                Ok(lanes) => self.traits.lanes = lanes,
                Err(why) => self.remarks.push(format!("subgroups are not used: {why}")),
            }
        }
        self.description.lanes = Some(self.traits.lanes);
        Ok(())
    }

    /// Checks whether the matrix units multiply fragments of one of these sides. Check the subgroups first.
    pub(super) fn look_at_matrix_units(&mut self, sides: &[u32]) {
        if self.traits.lanes > 0 {
            for &side in sides {
                let probes = unit_probes(side, &self.traits);
                // No kernel with matrix units fits the device.
                if probes.is_empty() {
                    continue;
                }
                match probes.iter().try_for_each(|probe| self.multiplies(probe)) {
                    Ok(()) => {
                        self.traits.cooperative = side;
                        self.look_at_attention(side);
                        break;
                    }
                    Err(why) => {
                        self.remarks.push(format!("matrix units of {side}x{side} are not used: {why}"))
                    }
                }
            }
        }
        self.description.cooperative = self.traits.cooperative;
    }

    /// Checks whether they also compute attention, whose kernels are more demanding.
    fn look_at_attention(&mut self, side: u32) {
        let Some(probe) = unit_probe(side, &self.traits) else { return };
        match self.attends(&probe) {
            Ok(()) => self.traits.attention_units = true,
            Err(why) => self.remarks.push(format!("attention does not use matrix units: {why}")),
        }
    }

    /// How many lanes a subgroup really has, since some drivers run other widths than they report; or why subgroups cannot
    /// be relied on.
    fn lanes(&self) -> Result<std::result::Result<u32, String>> {
        let look = |kernel: &Kernel, width: u32| -> Result<Vec<Lane>> {
            let bytes = self.run_once(kernel, [1; 3], &[("seen", Operand::Out(u64::from(width) * 16))])?;
            Ok(bytemuck::pod_collect_to_vec::<u8, [u32; 4]>(&bytes[0]).into_iter().map(Lane::of).collect())
        };
        const WIDE: u32 = 128;
        let lanes = match width_of(&look(&light_probe(WIDE), WIDE)?) {
            Ok(lanes) => lanes,
            Err(why) => return Ok(Err(why)),
        };
        for kernel in [light_probe(lanes), heavy_probe(lanes)] {
            if let Err(why) = check_lanes(&look(&kernel, lanes)?, lanes, kernel.constants.len() > 1) {
                return Ok(Err(why));
            }
        }
        Ok(Ok(lanes))
    }

    /// Whether matrix units compute one product. A driver that refuses or gets it wrong counts as having none.
    fn multiplies(&self, probe: &UnitProbe) -> std::result::Result<(), String> {
        let (a, b) = matrices(probe);
        let bytes = |halves: &[half::f16]| halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        let elements = (probe.sizes.m * probe.sizes.n) as u64;
        let operands = [
            ("a", Operand::In(bytes(&a))),
            ("b", Operand::In(bytes(&b))),
            ("c", Operand::Out(elements * 4)),
            ("widths", Operand::Out(probe.invocations as u64 * 4)),
        ];
        let read =
            self.run_once(&probe.kernel, probe.groups, &operands).map_err(|fault| fault.to_string())?;
        let (product, widths) =
            (bytemuck::pod_collect_to_vec(&read[0]), bytemuck::pod_collect_to_vec(&read[1]));
        check_product(probe, &product)?;
        check_widths(&widths, self.traits.lanes)
    }

    /// Runs a kernel once on its own buffers, and reads back those it writes.
    fn run_once(
        &self,
        kernel: &Kernel,
        [x, y, z]: [u32; 3],
        operands: &[(&str, Operand)],
    ) -> Result<Vec<Vec<u8>>> {
        let pipeline = self.pipeline(kernel)?;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let mut entries = Vec::new();
        let mut written = Vec::new();
        let mut buffers = Vec::new();
        for (name, operand) in operands {
            let bytes = match operand {
                Operand::In(bytes) => bytes.len() as u64,
                Operand::Out(bytes) => *bytes,
            };
            let buffer = self.buffer("probe", bytes, usage)?;
            match operand {
                Operand::In(bytes) => self.queue.write_buffer(&buffer, 0, bytes),
                Operand::Out(bytes) => {
                    // NaN as a number and no valid subgroup width, so unwritten elements show.
                    self.queue.write_buffer(&buffer, 0, &vec![0xff; *bytes as usize]);
                    written.push((buffer.clone(), *bytes));
                }
            }
            let variable = pipeline.variables.iter().find(|variable| variable.name == *name);
            buffers.push((variable.expect("the probe has a variable of that name").slot, buffer));
        }
        for (slot, buffer) in &buffers {
            entries.push(wgpu::BindGroupEntry { binding: *slot, resource: buffer.as_entire_binding() });
        }
        let group = self.bind_group(&pipeline.layout, &entries);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(x, y, z);
        drop(pass);
        self.submit(encoder.finish(), 0.0);
        written.iter().map(|(buffer, bytes)| self.read(buffer, 0, *bytes)).collect()
    }
}

/// A buffer of a probe.
enum Operand {
    /// Holds these bytes.
    In(Vec<u8>),
    /// Has this many bytes, which are read afterwards.
    Out(u64),
}

const TEXT: &str = include_str!("../../shaders/shared/probe.wgsl");

fn light_probe(width: u32) -> Kernel {
    let text = crate::ops::unrolled(TEXT, &[("sums", 0), ("lanes", 1)], &[("heavy", false)]);
    Kernel::new(text, "probe", &[("WIDTH", f64::from(width))])
}

fn heavy_probe(lanes: u32) -> Kernel {
    let text = crate::ops::unrolled(TEXT, &[("sums", SUMS), ("lanes", lanes as usize)], &[("heavy", true)]);
    let constants = [("WIDTH", f64::from(lanes)), ("TURNS", f64::from(TURNS))];
    Kernel::new(text, "probe", &constants)
}

/// Every kernel that `device` is probed with, for the tests.
pub fn probes(side: u32, device: &crate::ops::Traits) -> Vec<Kernel> {
    let units = unit_probes(side, device).into_iter().map(|probe| probe.kernel);
    let attention = unit_probe(side, device).into_iter().flat_map(|probe| probe.dispatches);
    let attention = attention.map(|(_, dispatch, _)| dispatch.kernel);
    [light_probe(128), heavy_probe(device.lanes)].into_iter().chain(units).chain(attention).collect()
}

/// What one invocation saw of its subgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lane {
    size: u32,
    lane: u32,
    ones: u32,
    checksum: u32,
}

impl Lane {
    fn of([size, lane, ones, checksum]: [u32; 4]) -> Self {
        Self { size, lane, ones, checksum }
    }
}

/// The width of a workgroup's subgroups, if it is the same for all and kernels are written for it.
fn width_of(seen: &[Lane]) -> std::result::Result<u32, String> {
    let first = seen[0].size;
    if let Some(other) = seen.iter().find(|lane| lane.size != first) {
        return Err(format!("one workgroup has subgroups of {first} lanes and subgroups of {}", other.size));
    }
    if ![4, 8, 16, 32, 64].contains(&first) {
        return Err(format!("no kernel is written for {first} lanes"));
    }
    Ok(first)
}

/// Checks that a workgroup of `lanes` invocations is one subgroup whose lanes hand each other what they hold.
fn check_lanes(seen: &[Lane], lanes: u32, heavy: bool) -> std::result::Result<(), String> {
    if let Some(other) = seen.iter().find(|lane| lane.size != lanes) {
        return Err(format!("a subgroup has {lanes} lanes in one kernel and {} in another", other.size));
    }
    let mut places = vec![None; lanes as usize];
    for (at, lane) in seen.iter().enumerate() {
        match places.get_mut(lane.lane as usize) {
            Some(place @ None) => *place = Some(at as u32),
            _ => return Err("two lanes of a subgroup have the same number".to_owned()),
        }
    }
    let places: Vec<u32> = places.into_iter().flatten().collect();
    let wrong = |(at, lane): (usize, &Lane)| {
        lane.ones != lanes || heavy && lane.checksum != checksum(at as u32, &places)
    };
    match seen.iter().enumerate().any(wrong) {
        true => Err("the lanes of a subgroup do not exchange their values correctly".to_owned()),
        false => Ok(()),
    }
}

/// The checksum of invocation `at`, where `places` gives the invocation of each lane.
fn checksum(at: u32, places: &[u32]) -> u32 {
    let mut sums = [[0_u32; 4]; SUMS];
    let start = |at: u32| at.wrapping_mul(2_654_435_761).wrapping_add(1);
    let step = |x: u32| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let mut all: Vec<u32> = places.iter().map(|&at| start(at)).collect();
    let mut own = start(at);
    for _ in 0..TURNS {
        for (j, sum) in sums.iter_mut().enumerate() {
            let handed = all[j % places.len()];
            for (add, element) in (0..).zip(sum) {
                *element = element.wrapping_add(handed.wrapping_mul(own.wrapping_add(add)));
            }
        }
        all.iter_mut().for_each(|x| *x = step(*x));
        own = step(own);
    }
    let weigh = |sum: &[u32; 4]| {
        sum.iter()
            .zip([1_u32, 3, 5, 7])
            .fold(0_u32, |all, (&s, weight)| all.wrapping_add(weight.wrapping_mul(s)))
    };
    sums.iter().fold(0_u32, |total, sum| total.wrapping_mul(31).wrapping_add(weigh(sum)))
}

/// A and B of a probe as they are stored, with both signs.
fn matrices(probe: &UnitProbe) -> (Vec<half::f16>, Vec<half::f16>) {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut draw = |elements: usize| {
        (0..elements).map(|_| half::f16::from_f32(random.random_range(-1.0..1.0))).collect()
    };
    let sizes = &probe.sizes;
    (draw(sizes.a_rows * sizes.a_columns), draw(sizes.b_rows * sizes.b_columns))
}

/// Compares a product with the same product in f64.
fn check_product(probe: &UnitProbe, product: &[f32]) -> std::result::Result<(), String> {
    let (a, b) = matrices(probe);
    let sizes = &probe.sizes;
    let a = |row: usize, k: usize| match probe.layout {
        Layout::TN => a[k * sizes.m + row].to_f64(),
        Layout::NN | Layout::NT => a[row * sizes.k + k].to_f64(),
    };
    let b = |k: usize, column: usize| match probe.layout {
        Layout::NT => b[column * sizes.k + k].to_f64(),
        Layout::NN | Layout::TN => b[k * sizes.n + column].to_f64(),
    };
    let wanted: Vec<f64> = (0..sizes.m * sizes.n)
        .map(|i| (0..sizes.k).map(|k| a(i / sizes.n, k) * b(k, i % sizes.n)).sum())
        .collect();
    let largest = wanted.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    // Unwritten elements are NaN, which is near nothing.
    let near = |(&got, &wanted): (&f32, &f64)| (f64::from(got) - wanted).abs() <= BOUND * largest;
    match product.iter().zip(&wanted).position(|pair| !near(pair)) {
        None => Ok(()),
        Some(i) => Err(format!(
            "element {}, {} of a product of {}x{}x{} is {} instead of {:.4}",
            i / sizes.n,
            i % sizes.n,
            sizes.m,
            sizes.n,
            sizes.k,
            product[i],
            wanted[i]
        )),
    }
}

/// Checks that a kernel ran at the width it was written for.
fn check_widths(widths: &[u32], lanes: u32) -> std::result::Result<(), String> {
    match widths.iter().find(|&&width| width != lanes) {
        None => Ok(()),
        Some(width) => Err(format!("subgroups of {lanes} lanes have {width} lanes in a kernel for them")),
    }
}

mod attention;
#[cfg(test)]
mod tests;
