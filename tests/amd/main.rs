//! AMD's compiler compiles every kernel for GPUs, in every variant that the tuner may try, and must not spill a register.
//! Mesa offers the compiler without a card.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

#[path = "../mesa/mod.rs"]
mod mesa;
#[path = "../subjects.rs"]
#[allow(dead_code)]
mod subjects;

use mesa::{Driver, Figures, compiled, gpus, measured, take_attention};
use normfree::ops::{Traits, Vendor};
use std::fmt::Write;
use subjects::{Subjects, configs, devices, gpt2};

/// GPU families of five generations.
const FAMILIES: [&str; 5] = ["polaris10", "vega10", "navi10", "navi23", "gfx1100"];
/// The committed figures.
const TABLE: &str = "benches/amd.md";
/// The command that updates them.
const RENEW: &str = "NORMFREE_RENEW=1 cargo test --all-features --test amd";

/// The drivers of families, opened one at a time.
fn drivers<'a>(families: impl IntoIterator<Item = &'a str>) -> Vec<Driver> {
    let open = |family| {
        // SAFETY: no thread has been started yet, and nothing else here reads the environment meanwhile.
        unsafe { std::env::set_var("RADV_FORCE_FAMILY", family) };
        Driver::open(ash::vk::DriverId::MESA_RADV).unwrap_or_else(|error| {
            panic!(
                "AMD's compiler is missing ({family}): {error}. It is part of Mesa up to 25: install Debian's or \
                 Fedora's mesa-vulkan-drivers, Arch's vulkan-radeon, openSUSE's libvulkan_radeon"
            )
        })
    };
    families.into_iter().map(open).collect()
}

/// The number of spilled registers.
fn spills(figures: &Figures) -> u64 {
    figures.get("Spilled VGPRs") + figures.get("Spilled SGPRs")
}

/// The head of a table of kernels.
const HEAD: &str = "| kernel | VGPRs | SGPRs | spilled | LDS | waves | latency | inverse throughput |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |\n";

/// A kernel's row in that table.
fn row(kernel: &str, f: &Figures) -> String {
    let figures = [
        f.get("VGPRs"),
        f.get("SGPRs"),
        spills(f),
        f.get("LDS size"),
        f.get("Subgroups per SIMD"),
        f.get("Latency"),
        f.get("Inverse Throughput"),
    ];
    format!("| {kernel} | {} |\n", figures.map(|figure| figure.to_string()).join(" | "))
}

/// The committed table of GPT-2's kernels.
fn table(drivers: &[Driver], looked_at: usize) -> String {
    let (name, device) = gpus(Vendor::Amd).pop().expect("a GPU");
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
        write!(text, "\n## {family}\n\n{HEAD}").unwrap();
        let mut rows: Vec<String> = Vec::new();
        for ((_, kernel), figures) in figures.iter().filter(|((family, _), _)| *family == at) {
            let f = figures.as_ref().unwrap_or_else(|e| panic!("{}: {e}", kernels[*kernel].who));
            let precision = if kernels[*kernel].f16 { "f16" } else { "f32" };
            let who = kernels[*kernel].who.split(" in ").next().unwrap_or_default();
            let row = row(&format!("{who}, {precision}"), f);
            // All windows of an arena have the same row, and so do all pieces of the vocabulary.
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        rows.iter().for_each(|row| text.push_str(row));
    }
    text
}

#[test]
fn no_kernel_spills_and_the_table_is_as_committed() {
    if std::env::var_os("NORMFREE_SKIP_AMD").is_some_and(|value| value == "1") {
        println!("NORMFREE_SKIP_AMD=1: the kernels are NOT compiled for AMD's GPUs");
        return;
    }
    let drivers = drivers(FAMILIES);
    let began = std::time::Instant::now();
    let mut subjects = Subjects::of(&gpus(Vendor::Amd), &configs(), false);
    let (name, device) = gpus(Vendor::Amd).pop().expect("a GPU");
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
            Ok(figures) if spills(&figures) > 0 => complaints.push(format!("{who}: {figures:?}")),
            Ok(_) => {}
        }
    }
    println!("compiled for {} families after {:.0} s", FAMILIES.len(), began.elapsed().as_secs_f64());
    assert!(complaints.is_empty(), "{} kernels:\n{}", complaints.len(), complaints.join("\n"));

    mesa::hold(TABLE, RENEW, &drivers[0].version, &table(&drivers, kernels.len()));
}

/// A newer Mesa's compiler on the kernels that use matrix units, variants included; the system's is too old for them.
#[test]
#[ignore = "needs RADV of Mesa 25, named by VK_DRIVER_FILES"]
fn matrix_units_do_not_spill() {
    let families = std::env::var("NORMFREE_AMD_FAMILIES").unwrap_or_else(|_| "navi31".to_owned());
    let families: Vec<&str> = families.split(',').collect();
    let drivers = drivers(families.iter().copied());
    let with_units = || devices().into_iter().filter(|(_, device)| device.cooperative == 16);
    let mut subjects = Subjects::default();
    // This driver runs everything that uses matrix units at 64 lanes.
    for (_, device) in with_units() {
        let (name, device) = ("64 lanes", Traits { lanes: 64, vendor: Vendor::Amd, ..device });
        gpt2().iter().for_each(|config| subjects.take_model(config, name, &device, true));
        take_attention(&mut subjects, name, &device);
    }
    let mut kernels = compiled(&subjects.list);
    let named = std::env::var("NORMFREE_AMD_ONLY").unwrap_or_default();
    kernels.retain(|kernel| kernel.units && kernel.who.contains(&named));
    let figures = measured(&drivers, &kernels);
    assert_eq!(figures.len(), kernels.len() * drivers.len(), "a driver has no matrix units");
    let mut complaints = Vec::new();
    for (at, family) in families.iter().enumerate() {
        println!("\n## {family}, {}\n\n{HEAD}", drivers[at].version);
        for ((_, kernel), figures) in figures.iter().filter(|((family, _), _)| *family == at) {
            let who = &kernels[*kernel].who;
            match figures {
                Err(error) => complaints.push(format!("{family}: {who}: {error}")),
                Ok(figures) => {
                    print!("{}", row(&format!("{who}, subgroups of {}", figures.lanes), figures));
                    if spills(figures) > 0 {
                        complaints.push(format!("{family}: {who}: {figures:?}"));
                    }
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{} kernels:\n{}", complaints.len(), complaints.join("\n"));
}
