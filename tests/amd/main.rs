//! AMD's compiler holds every kernel that a GPU is given, in every variant that the tuner may try, against bounds: no
//! register is spilled. Mesa offers the compiler without a card.
#![cfg(target_os = "linux")]

mod driver;
#[path = "../subjects.rs"]
#[allow(dead_code)]
mod subjects;

use driver::{Driver, Figures};
use naga::back::spv;
use naga::{AddressSpace, ShaderStage};
use normfree::ops::{Traits, Vendor};
use normfree::tape::{DType, Tape};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use subjects::{Subject, Subjects, configs, devices, gpt2, parse, specialized, uses_f16};

/// Families of five generations.
const FAMILIES: [&str; 5] = ["polaris10", "vega10", "navi10", "navi23", "gfx1100"];
/// The committed figures.
const TABLE: &str = "benches/amd.md";
/// What renews them.
const RENEW: &str = "NORMFREE_RENEW=1 cargo test --all-features --test amd";

/// A kernel as SPIR-V.
struct Compiled {
    who: String,
    words: Vec<u32>,
    entry: &'static str,
    slots: Vec<u32>,
    f16: bool,
}

/// AMD's GPUs without matrix units, which this compiler does not know.
fn gpus() -> Vec<(&'static str, Traits)> {
    let gpus = devices().into_iter().filter(|(_, device)| !device.software && device.cooperative == 0);
    gpus.map(|(name, device)| (name, Traits { vendor: Vendor::Amd, ..device })).collect()
}

/// Attention's kernels at widths of a head of all kinds, in every variant, for short and long sequences.
fn take_attention(subjects: &mut Subjects, name: &str, device: &Traits) {
    for width in [16, 20, 32, 48, 64, 72, 80, 96, 128, 160, 192, 224, 256] {
        for (dtype, sequence) in [(DType::F32, 16), (DType::F32, 2048), (DType::F16, 2048)] {
            if dtype == DType::F16 && !device.f16 {
                continue;
            }
            for guided in [false, true] {
                let mut tape = Tape::new();
                let qkv = tape.tracked_input("qkv", &[sequence, 3 * width], dtype);
                // Evaluation asks for no entropy.
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
                // Of the variants, those that hold most.
                subjects.take(&label, &tape, name, device, guided && sequence > 16);
            }
        }
    }
}

fn compiled(subjects: &[Subject]) -> Vec<Compiled> {
    let mut modules = HashMap::new();
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for Subject { kernel, who, .. } in subjects {
        let checked = modules.entry(kernel.text.clone()).or_insert_with(|| parse(&kernel.text).unwrap());
        let module = specialized(checked, kernel).unwrap_or_else(|error| panic!("{who}: {error}"));
        let (module, info) = &*module;
        let uses = info.get_entry_point(0);
        let bound = module.global_variables.iter().filter(|(handle, variable)| {
            !uses[*handle].is_empty() && matches!(variable.space, AddressSpace::Storage { .. })
        });
        let slots = bound.filter_map(|(_, variable)| Some(variable.binding.as_ref()?.binding)).collect();
        // As the program asks wgpu for it.
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
        if seen.insert(words.clone()) {
            let f16 = uses_f16(module);
            all.push(Compiled { who: who.clone(), words, entry: kernel.entry, slots, f16 });
        }
    }
    all
}

/// The drivers of all families, opened one after the other.
fn drivers() -> Vec<Driver> {
    let open = |family| {
        Driver::open(family).unwrap_or_else(|error| {
            panic!(
                "AMD's compiler is missing ({family}): {error}. It is part of Mesa up to 25: install Debian's or \
                 Fedora's mesa-vulkan-drivers, Arch's vulkan-radeon, openSUSE's libvulkan_radeon"
            )
        })
    };
    FAMILIES.map(open).into()
}

/// What every driver says of every kernel it can have, by the places of both; on all cores.
fn measured(drivers: &[Driver], kernels: &[Compiled]) -> BTreeMap<(usize, usize), Result<Figures, String>> {
    let next = AtomicUsize::new(0);
    let one = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let place = (at % drivers.len(), at / drivers.len());
            let Some(kernel) = kernels.get(place.1) else { return done };
            let driver = &drivers[place.0];
            if driver.f16 || !kernel.f16 {
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

/// The committed table of GPT-2's kernels.
fn table(drivers: &[Driver], looked_at: usize) -> String {
    let (name, device) = gpus().pop().expect("a GPU");
    let mut subjects = Subjects::default();
    for config in gpt2() {
        subjects.take_model(&config, name, &device, false);
    }
    let kernels = compiled(&subjects.list);
    let figures = measured(drivers, &kernels);
    let mut text = format!(
        "# GPT-2's kernels through AMD's compiler\n\n\
         The defaults of {name} at GPT-2's smallest size, T = 1,024, in f32 and mixed precision, compiled by {} \
         without a card. `{RENEW}` makes this table; `make test` fails where it differs.\n\n\
         Estimates are the compiler's, in clocks. They take every loop for equally long: only kernels whose loops \
         are equal compare.\n\n\
         None of {looked_at} kernels of all models, cases and variants spills a register on any family.\n",
        drivers[0].version
    );
    for (at, family) in FAMILIES.iter().enumerate() {
        write!(
            text,
            "\n## {family}\n\n| kernel | VGPRs | SGPRs | spilled | LDS | waves | latency | inverse throughput |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        )
        .unwrap();
        let mut rows: Vec<String> = Vec::new();
        for ((_, kernel), figures) in figures.iter().filter(|((family, _), _)| *family == at) {
            let f = figures.as_ref().unwrap_or_else(|e| panic!("{}: {e}", kernels[*kernel].who));
            let precision = if kernels[*kernel].f16 { "f16" } else { "f32" };
            let who = kernels[*kernel].who.split(" in ").next().unwrap_or_default();
            let row = format!(
                "| {who}, {precision} | {} | {} | {} | {} | {} | {} | {} |\n",
                f.vgprs,
                f.sgprs,
                f.spills(),
                f.lds,
                f.waves,
                f.latency,
                f.inverse_throughput
            );
            // The windows of an arena and the vocabulary's pieces are alike.
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        rows.iter().for_each(|row| text.push_str(row));
    }
    text
}

fn kept() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE)
}

#[test]
fn no_kernel_spills_and_the_table_is_as_committed() {
    if std::env::var_os("NORMFREE_SKIP_AMD").is_some_and(|value| value == "1") {
        println!("NORMFREE_SKIP_AMD=1: the kernels are NOT compiled for AMD's GPUs");
        return;
    }
    let drivers = drivers();
    let began = std::time::Instant::now();
    let mut subjects = Subjects::of(&gpus(), &configs(), false);
    let (name, device) = gpus().pop().expect("a GPU");
    for config in gpt2() {
        subjects.take_model(&config, name, &device, true);
    }
    take_attention(&mut subjects, name, &device);
    let kernels = compiled(&subjects.list);
    println!("{} kernels in {:.0} s", kernels.len(), began.elapsed().as_secs_f64());
    let mut complaints = Vec::new();
    for ((family, kernel), figures) in measured(&drivers, &kernels) {
        let kernel = &kernels[kernel];
        let who = format!("{}: {}", FAMILIES[family], kernel.who);
        match figures {
            Err(error) => complaints.push(format!("{who}: {error}")),
            Ok(figures) if figures.spills() > 0 => complaints.push(format!("{who}: {figures:?}")),
            Ok(_) => {}
        }
    }
    println!("compiled for {} families after {:.0} s", FAMILIES.len(), began.elapsed().as_secs_f64());
    assert!(complaints.is_empty(), "{} kernels:\n{}", complaints.len(), complaints.join("\n"));

    let table = table(&drivers, kernels.len());
    if std::env::var_os("NORMFREE_RENEW").is_some_and(|value| value == "1") {
        std::fs::write(kept(), table).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(kept()).unwrap_or_default();
    if !committed.is_empty() && !committed.contains(&drivers[0].version) {
        println!("{TABLE} is of another Mesa than {}: it is NOT compared", drivers[0].version);
        return;
    }
    let differs = table.lines().zip(committed.lines()).find(|(now, before)| now != before);
    assert!(
        table == committed,
        "{TABLE} is not what AMD's compiler says now; `{RENEW}` makes it anew. The first difference: {differs:?}"
    );
}
