//! Mesa's compilers for GPUs that are not present: shared by `tests/amd` and `tests/intel`.

mod driver;

use crate::subjects::{Subject, Subjects, devices, parse, specialized, uses_f16, uses_matrix_units};
pub use driver::{Driver, Figures};
use naga::back::spv;
use naga::{AddressSpace, ShaderStage};
use normfree::ops::{Traits, Vendor};
use normfree::tape::{DType, Tape};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A kernel as SPIR-V.
pub struct Compiled {
    pub who: String,
    words: Vec<u32>,
    entry: &'static str,
    slots: Vec<u32>,
    pub f16: bool,
    pub units: bool,
    /// Whether some device uses it before anything is measured.
    pub default: bool,
}

/// A vendor's GPUs without matrix units.
pub fn gpus(vendor: Vendor) -> Vec<(&'static str, Traits)> {
    let gpus = devices().into_iter().filter(|(_, device)| !device.software && device.cooperative == 0);
    gpus.map(|(name, device)| (name, Traits { vendor, ..device })).collect()
}

/// Attention's kernels at all kinds of head widths, in every variant, for short and long sequences.
pub fn take_attention(subjects: &mut Subjects, name: &str, device: &Traits) {
    for width in [16, 20, 32, 48, 64, 72, 80, 96, 128, 160, 192, 224, 256] {
        for (dtype, sequence) in [(DType::F32, 16), (DType::F32, 2048), (DType::F16, 2048)] {
            if dtype == DType::F16 && !device.f16 {
                continue;
            }
            for guided in [false, true] {
                let mut tape = Tape::new();
                let qkv = tape.tracked_input("qkv", &[sequence, 3 * width], dtype);
                // Evaluation needs no entropy.
                tape.attention(qkv, 1, sequence, false);
                let attended = tape.attention(qkv, 1, sequence, true);
                let entropy = attended.entropy.filter(|_| guided);
                let mut seeds = Vec::new();
                for (tensor, columns) in [(Some(attended.output), width), (entropy, 1)] {
                    let Some(tensor) = tensor else { continue };
                    let dims = if columns == 1 { vec![1, 1, sequence] } else { vec![sequence, columns] };
                    seeds.push((tensor, tape.input("seed", &dims, tape.info(tensor).gradient)));
                }
                tape.backward_from(&seeds);
                let label = format!("attention, width {width}, T {sequence}, {dtype:?}, guided {guided}");
                // Variants only for the kernels that keep the most in registers.
                subjects.take(&label, &tape, name, device, guided && sequence > 16);
            }
        }
    }
}

/// The input for a driver's compiler, with each distinct kernel once.
pub fn compiled(subjects: &[Subject]) -> Vec<Compiled> {
    let mut modules = HashMap::new();
    let mut seen = HashMap::new();
    let mut all: Vec<Compiled> = Vec::new();
    for Subject { kernel, who, default, .. } in subjects {
        let checked = modules.entry(kernel.text.clone()).or_insert_with(|| parse(&kernel.text).unwrap());
        let module = specialized(checked, kernel).unwrap_or_else(|error| panic!("{who}: {error}"));
        let (module, info) = &*module;
        let uses = info.get_entry_point(0);
        let bound = module.global_variables.iter().filter(|(handle, variable)| {
            !uses[*handle].is_empty() && matches!(variable.space, AddressSpace::Storage { .. })
        });
        let slots = bound.filter_map(|(_, variable)| Some(variable.binding.as_ref()?.binding)).collect();
        // As the program requests it from wgpu.
        let options = spv::Options {
            lang_version: (1, 6),
            flags: spv::WriterFlags::empty(),
            bounds_check_policies: naga::proc::BoundsCheckPolicies::default(),
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            force_loop_bounding: false,
            emit_int_div_checks: false,
            ..spv::Options::default()
        };
        let pipeline =
            spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: kernel.entry.to_owned() };
        let words = spv::write_vec(module, info, &options, Some(&pipeline)).unwrap();
        let at = *seen.entry(words.clone()).or_insert_with(|| {
            let (f16, units) = (uses_f16(module), uses_matrix_units(module));
            all.push(Compiled {
                who: who.clone(),
                words,
                entry: kernel.entry,
                slots,
                f16,
                units,
                default: false,
            });
            all.len() - 1
        });
        all[at].default |= default;
    }
    all
}

/// Every driver's figures for every kernel it can have, by the indices of both; on all cores.
pub fn measured(
    drivers: &[Driver],
    kernels: &[Compiled],
) -> BTreeMap<(usize, usize), Result<Figures, String>> {
    let next = AtomicUsize::new(0);
    let one = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let place = (at % drivers.len(), at / drivers.len());
            let Some(kernel) = kernels.get(place.1) else { return done };
            let driver = &drivers[place.0];
            if (driver.f16 || !kernel.f16) && (driver.units || !kernel.units) {
                done.push((place, driver.compile(&kernel.words, kernel.entry, &kernel.slots)));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Compares a table with the committed one of the same Mesa, or updates that.
pub fn hold(file: &str, renew: &str, version: &str, table: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("NORMFREE_RENEW").is_some_and(|value| value == "1") {
        std::fs::write(path, table).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    if !committed.is_empty() && !committed.contains(version) {
        println!("{file} is of another Mesa than {version}: it is NOT compared");
        return;
    }
    let differs = table.lines().zip(committed.lines()).find(|(now, before)| now != before);
    assert!(
        table == committed,
        "{file} is not what the compiler says now; `{renew}` makes it anew. The first difference: {differs:?}"
    );
}
