//! The vector width of Mesa's software driver, in bits. It uses 256 unless `LP_NATIVE_VECTOR_WIDTH` says otherwise, and
//! could use 512 on a CPU with AVX-512: that is faster with Mesa 22, but twice as slow with Mesa 26. So a matrix product
//! is timed at both widths before the driver is opened for good, once for each version of it. Where possible, processes
//! of this program do the timing, so that a driver that crashes at a width ends only one of them.

use super::canary::{GREETING, Prober};
use super::{Backend, Candidate, Gpu, OpenOptions};
use crate::cache;
use crate::fault::{Fault, Kind, Result};
use crate::ops::matmul::{Layout, MatMul};
use crate::ops::{Op, Operand, Shapes};
use crate::process::run;
use crate::tape::{DType, Shape};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// The driver reads it each time an instance is made.
const VARIABLE: &str = "LP_NATIVE_VECTOR_WIDTH";
const NARROW: u32 = 256;
const WIDE: u32 = 512;
/// The wide lanes are used unless they take more than this many times as long. In 18 probes on two busy cores they took
/// 0.80 to 0.87 times as long as the narrow ones on Mesa 22.3.6, and 2.09 to 2.46 times on 26.1.6 and 26.2.6. So noise
/// decides nothing: the choice, and with it the bits of results, is the same in every run.
const SLOWER: f64 = 1.4;
/// How often each width is timed, in turns: other load on the machine seldom lasts through all turns of one width.
const TURNS: usize = 3;
/// The cache file with the width chosen for each version of the driver.
const FILE: &str = "vector-widths.json";

/// Sets the variable, unless the user did or there is hardware to compute on. `list` makes its own instance and lists the
/// adapters; nothing else may hold one. `prober` is the program that does the timing, if there is one.
///
/// # Safety
/// No other thread may read the environment meanwhile.
#[allow(unsafe_code)]
pub(super) unsafe fn choose(list: impl Fn() -> Vec<Candidate>, prober: Option<&Prober>) {
    if std::env::var_os(VARIABLE).is_some() || !can_be_wide() {
        return;
    }
    // SAFETY: as above.
    let set = |width: u32| unsafe { std::env::set_var(VARIABLE, width.to_string()) };
    set(NARROW);
    let adapters = list();
    let Some(driver) = software(&adapters).filter(|_| adapters.iter().all(Candidate::software)) else {
        return;
    };
    let name = format!("{} {}", driver.info.driver, driver.info.driver_info);
    let path = cache::folder().map(|folder| folder.join(FILE));
    let mut known = path.as_deref().map(read).unwrap_or_default();
    if let Some(&width) = known.get(&name) {
        drop(adapters);
        return set(width);
    }
    drop(adapters);
    let width = faster(|width| {
        if let Some(Ok(seconds)) = prober.map(|prober| asked(prober, width)) {
            return seconds;
        }
        set(width);
        seconds(list())
    });
    set(width);
    known.insert(name, width);
    if let Some(path) = path {
        cache::keep(&path, serde_json::json!(known).to_string().as_bytes());
    }
}

/// The width to use, by the best of several times at each. A width that once gives no time is not tried again.
fn faster(mut seconds: impl FnMut(u32) -> Option<f64>) -> u32 {
    let mut best = [Some(f64::INFINITY); 2];
    for _ in 0..TURNS {
        for (best, width) in best.iter_mut().zip([NARROW, WIDE]) {
            *best = best.and_then(|best| Some(best.min(seconds(width)?)));
        }
    }
    decided(best[0], best[1])
}

/// Seconds that a process of `prober` measures at a width. `None` if the driver does not finish.
///
/// # Errors
/// If the program cannot be started, or is another one.
fn asked(prober: &Prober, width: u32) -> Result<Option<f64>> {
    let mut command = Command::new(&prober.program);
    command.args(["probe", "--product"]).env(VARIABLE, width.to_string());
    let finished = run(&mut command, Instant::now() + prober.limit, &mut || false)?;
    let mut lines = finished.lines.iter().skip_while(|line| *line != GREETING);
    if lines.next().is_none() {
        return Err(Fault::new(
            Kind::Device,
            "the program that was started to time the driver is not this one",
        ));
    }
    let said = lines.find_map(|line| line.parse::<f64>().ok());
    Ok(said.filter(|seconds| *seconds > 0.0 && seconds.is_finite()))
}

/// Times the product on Mesa's software driver, at the width set in the environment. `normfree probe --product` does
/// this after its greeting.
///
/// # Errors
/// [`Kind::Device`] if the driver is missing, or the product does not run or is wrong.
pub fn time_product() -> Result<f64> {
    let adapters =
        super::candidates(&OpenOptions { backend: Some(Backend::Vulkan), ..OpenOptions::default() })?;
    seconds(adapters)
        .ok_or_else(|| Fault::new(Kind::Device, "Mesa's software driver has no right product here"))
}

/// Whether this CPU has 512-bit vectors.
fn can_be_wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Mesa's driver among the adapters.
fn software(adapters: &[Candidate]) -> Option<&Candidate> {
    adapters.iter().find(|adapter| adapter.software() && adapter.info.driver == "llvmpipe")
}

/// Earlier choices. A damaged or foreign file counts as empty.
fn read(path: &Path) -> BTreeMap<String, u32> {
    let text = std::fs::read(path).unwrap_or_default();
    let mut known: BTreeMap<String, u32> = serde_json::from_slice(&text).unwrap_or_default();
    known.retain(|_, width| [NARROW, WIDE].contains(width));
    known
}

/// The width to use, given the seconds of a product at each. A width at which the product is wrong or does not run has
/// no time.
fn decided(narrow: Option<f64>, wide: Option<f64>) -> u32 {
    match (narrow, wide) {
        (Some(narrow), Some(wide)) if wide <= SLOWER * narrow => WIDE,
        (None, Some(_)) => WIDE,
        _ => NARROW,
    }
}

/// Seconds of the product on Mesa's driver at its current width.
fn seconds(adapters: Vec<Candidate>) -> Option<f64> {
    let place = adapters.iter().position(|adapter| software(std::slice::from_ref(adapter)).is_some())?;
    let candidate = adapters.into_iter().nth(place)?;
    product(&Gpu::open_candidate(candidate, &OpenOptions::default()).ok()?).ok()?
}

/// Times C = A · B with whole numbers, in the default variant: the best of several times, if C is right.
fn product(gpu: &Gpu) -> Result<Option<f64>> {
    const ROUNDS: usize = 9;
    const M: usize = 256;
    const N: usize = 256;
    const K: usize = 512;
    let a: Vec<f32> = (0..M * K).map(|i| ((i / K + 3 * (i % K)) % 5) as f32).collect();
    let b: Vec<f32> = (0..K * N).map(|i| ((2 * (i / N) + i % N) % 7) as f32).collect();
    let [left, right, result] = [[M, K], [K, N], [M, N]].map(|dims| Shape::new(&dims));
    let shapes = Shapes {
        inputs: vec![&left, &right],
        outputs: vec![&result],
        input_types: vec![DType::F32; 2],
        output_types: vec![DType::F32],
    };
    let recipe = MatMul::new(Layout::NN).recipe(&shapes, gpu.traits());
    let dispatch = recipe.dispatches.first().expect("a product is a dispatch");
    let pipeline = gpu.pipeline(&dispatch.kernel)?;
    let storage = wgpu::BufferUsages::STORAGE;
    let c = gpu.buffer("c", 4 * (M * N) as u64, storage | wgpu::BufferUsages::COPY_SRC)?;
    let mut buffers = Vec::new();
    let mut views = Vec::new();
    for &(name, operand) in &dispatch.bindings {
        let values = if name == "a" { (&a[..], M, K) } else { (&b[..], K, N) };
        match operand {
            Operand::InputImage(_) => views.push((name, image(gpu, values)?)),
            Operand::Input(_) => {
                let usage = storage | wgpu::BufferUsages::COPY_DST;
                let buffer = gpu.buffer(name, 4 * values.0.len() as u64, usage)?;
                gpu.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(values.0));
                buffers.push((name, buffer));
            }
            _ => buffers.push((name, c.clone())),
        }
    }
    let resource = |name: &str| {
        let buffer = buffers.iter().find(|(bound, _)| *bound == name);
        let view = views.iter().find(|(bound, _)| *bound == name);
        let buffer = buffer.map(|(_, buffer)| buffer.as_entire_binding());
        buffer.or(view.map(|(_, view)| wgpu::BindingResource::TextureView(view))).expect("it is bound")
    };
    let entries: Vec<wgpu::BindGroupEntry<'_>> = (pipeline.variables.iter())
        .map(|variable| wgpu::BindGroupEntry { binding: variable.slot, resource: resource(&variable.name) })
        .collect();
    let group = gpu.bind_group(&pipeline.layout, &entries);
    let mut best = f64::INFINITY;
    // The driver compiles during the first round.
    for round in 0..=ROUNDS {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &group, &[]);
        let [x, y, z] = dispatch.groups;
        pass.dispatch_workgroups(x, y, z);
        drop(pass);
        let buffer = encoder.finish();
        let began = worked();
        gpu.queue.submit([buffer]);
        gpu.wait()?;
        if round > 0 {
            best = best.min(worked() - began);
        }
    }
    let bytes = gpu.read(&c, 0, 4 * (M * N) as u64)?;
    let got: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
    // Sums of such small whole numbers are exact. One row of each tile is enough to show an error.
    let right = (0..M).step_by(7).all(|row| {
        (0..N).all(|column| {
            let sum: f32 = (0..K).map(|k| a[row * K + k] * b[k * N + column]).sum();
            got[row * N + column] == sum
        })
    });
    Ok(right.then_some(best))
}

/// CPU seconds of this process, on all cores together. The driver computes within it, and the load of other processes
/// counts little.
#[allow(unsafe_code)]
fn worked() -> f64 {
    #[cfg(unix)]
    {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid place to write to.
        if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } == 0 {
            return time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64;
        }
    }
    static BEGAN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    BEGAN.get_or_init(std::time::Instant::now).elapsed().as_secs_f64()
}

/// Stores a matrix in an image, from which kernels read it.
fn image(gpu: &Gpu, (values, rows, columns): (&[f32], usize, usize)) -> Result<wgpu::TextureView> {
    let texture = gpu.image(columns as u32 / 4, rows as u32, false)?;
    let layout = wgpu::TexelCopyBufferLayout {
        offset: 0,
        bytes_per_row: Some(4 * columns as u32),
        rows_per_image: None,
    };
    gpu.queue.write_texture(texture.as_image_copy(), bytemuck::cast_slice(values), layout, texture.size());
    Ok(texture.create_view(&Default::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_lanes_are_taken_unless_they_are_slower_or_wrong() {
        assert_eq!(decided(Some(1.0), Some(0.6)), WIDE);
        assert_eq!(decided(Some(1.0), Some(1.2)), WIDE);
        assert_eq!(decided(Some(1.0), Some(1.9)), NARROW);
        assert_eq!(decided(Some(1.0), None), NARROW);
        assert_eq!(decided(None, Some(1.0)), WIDE);
        assert_eq!(decided(None, None), NARROW);
    }

    #[test]
    fn a_width_without_a_time_is_not_tried_again() {
        let mut tried = Vec::new();
        let width = faster(|width| {
            tried.push(width);
            (width == NARROW).then_some(1.0)
        });
        assert_eq!((width, tried), (NARROW, vec![NARROW, WIDE, NARROW, NARROW]));
        // The best of several times at a width counts.
        let mut times = [1.0, 3.0, 1.0, 0.9, 1.0, 2.0].into_iter();
        assert_eq!(faster(|_| times.next()), WIDE);
    }

    #[test]
    fn the_product_is_right_here() {
        let gpu = Gpu::open(&OpenOptions::default()).unwrap();
        let best = product(&gpu).unwrap().expect("a right product");
        assert!(best > 0.0 && best.is_finite(), "{best}");
    }

    #[test]
    fn kept_widths_are_read_and_damaged_files_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert!(read(&path).is_empty());
        std::fs::write(&path, r#"{"one": 512, "two": 256, "three": 1024}"#).unwrap();
        assert_eq!(read(&path), BTreeMap::from([("one".to_owned(), WIDE), ("two".to_owned(), NARROW)]));
        for damaged in ["", "{\"one\": 51", "[512]", "{\"one\": \"512\"}"] {
            std::fs::write(&path, damaged).unwrap();
            assert!(read(&path).is_empty(), "{damaged}");
        }
    }
}
