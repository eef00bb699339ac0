//! Intel's compiler in Mesa compiles every kernel for GPUs: no default variant and no variant of attention spills a
//! register. A stub of the kernel driver pretends to be the GPUs.
#![cfg(target_os = "linux")]

#[path = "../mesa/mod.rs"]
mod mesa;
#[path = "../subjects.rs"]
#[allow(dead_code)]
mod subjects;

use mesa::{Driver, Figures, compiled, gpus, measured, take_attention};
use normfree::ops::{Traits, Vendor};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use subjects::{Subjects, configs, gpt2};

/// Intel's discrete GPUs of the first generation, and those within processors of the second.
const PLATFORMS: [&str; 2] = ["dg2", "lnl"];
/// The committed figures.
const TABLE: &str = "benches/intel.md";
/// The command that updates them.
const RENEW: &str = "NORMFREE_RENEW=1 make intel";
/// Compiles only the kernels whose name contains this; by default all.
const ONLY: &str = "NORMFREE_INTEL_ONLY";
/// Where the process that compiles for one platform writes its results.
const ANSWER: &str = "NORMFREE_INTEL_ANSWER";

/// The compiler's results for one platform.
#[derive(Serialize, Deserialize)]
struct Answer {
    version: String,
    kernels: Vec<Said>,
}

/// Its results for one kernel.
#[derive(Serialize, Deserialize)]
struct Said {
    who: String,
    precision: String,
    /// Whether a device uses it before anything is measured.
    default: bool,
    /// Whether it is in the table.
    listed: bool,
    figures: Result<Figures, String>,
}

/// Intel's GPUs: a kernel has 8, 16 or 32 lanes, as the compiler chooses.
fn devices() -> Vec<(String, Traits)> {
    let gpus = gpus(Vendor::Intel).into_iter().filter(|(_, device)| device.lanes != 64);
    let narrower = |(name, device): (&str, Traits)| {
        let lanes: &[u32] = if device.lanes == 32 { &[8, 16, 32] } else { &[device.lanes] };
        let named =
            |&lanes: &u32| (format!("{name}, {lanes} in a subgroup"), Traits { lanes, ..device.clone() });
        lanes.iter().map(named).collect::<Vec<_>>()
    };
    gpus.flat_map(narrower).collect()
}

/// Compiles for the platform for which this process was started.
fn answer() -> Answer {
    let driver = Driver::open(ash::vk::DriverId::INTEL_OPEN_SOURCE_MESA).unwrap();
    let devices = devices();
    let named: Vec<(&str, Traits)> =
        devices.iter().map(|(name, device)| (name.as_str(), device.clone())).collect();
    let (name, device) = named.last().expect("a GPU");
    let mut subjects = Subjects::default();
    for config in gpt2() {
        subjects.take_model(&config, name, device, false);
    }
    let listed = compiled(&subjects.list).len();
    subjects.take_all(&named, &configs(), false);
    for config in gpt2() {
        subjects.take_model(&config, name, device, true);
    }
    take_attention(&mut subjects, name, device);
    let mut kernels = compiled(&subjects.list);
    let only = std::env::var(ONLY).unwrap_or_default();
    kernels.retain(|kernel| kernel.who.contains(&only));
    let version = driver.version.clone();
    let found = measured(&[driver], &kernels);
    let said = found.into_iter().map(|((_, at), figures)| Said {
        who: kernels[at].who.clone(),
        precision: if kernels[at].f16 { "f16" } else { "f32" }.to_owned(),
        default: kernels[at].default,
        listed: at < listed,
        figures,
    });
    Answer { version, kernels: said.collect() }
}

/// The results of a process of this program for a platform.
fn asked(platform: &str, folder: &Path) -> Answer {
    let path = folder.join(platform);
    let status = Command::new(root().join(".ci/on-intel"))
        .arg(platform)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "neither_defaults_nor_attention_spill_and_the_table_is_as_committed",
            "--ignored",
            "--nocapture",
        ])
        .env(ANSWER, &path)
        .status();
    assert!(status.unwrap().success(), "{platform}: `make intel` brings Intel's compiler");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn spills(figures: &Figures) -> u64 {
    figures.get("Spills")
}

/// The committed table of GPT-2's kernels, and a summary of all others.
fn table(answers: &[Answer]) -> String {
    let mut text = format!(
        "# GPT-2's kernels through Intel's compiler\n\n\
         The defaults at GPT-2's smallest size, T = 1,024, in f32 and mixed precision, compiled by {} without a card. \
         `{RENEW}` makes this table; `make intel` fails where it differs.\n\n\
         A register is 32 bytes on DG2 and 64 on LNL, of which a lane has 128: a number each where it is one of 8 lanes, or \
         of 16. Cycles are the compiler's estimate, which takes every loop for equally long.\n",
        answers[0].version
    );
    for (platform, answer) in PLATFORMS.iter().zip(answers) {
        let (defaults, variants): (Vec<&Said>, Vec<&Said>) =
            answer.kernels.iter().partition(|said| said.default);
        let spilling = |said: &&&Said| said.figures.as_ref().is_ok_and(|figures| spills(figures) > 0);
        write!(
            text,
            "\n## {platform}\n\nNone of {} defaults of all models and cases spills a register, and no variant of attention; of {} \
             other variants of GPT-2 and of attention {} do, all of products.\n\n\
             | kernel | lanes | live registers | spilled | instructions | sends | cycles | workgroup memory |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |\n",
            defaults.len(),
            variants.len(),
            variants.iter().filter(spilling).count()
        )
        .unwrap();
        let mut rows: Vec<String> = Vec::new();
        for said in answer.kernels.iter().filter(|said| said.listed) {
            let f = said.figures.as_ref().unwrap_or_else(|error| panic!("{}: {error}", said.who));
            let figures = [
                u64::from(f.lanes),
                f.get("Max live registers"),
                spills(f),
                f.get("Instructions"),
                f.get("SENDs"),
                f.get("Cycles"),
                f.get("Workgroup Memory Size"),
            ];
            let who = said.who.split(" in ").next().unwrap_or_default();
            let figures = figures.map(|figure| figure.to_string()).join(" | ");
            let row = format!("| {who}, {} | {figures} |\n", said.precision);
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        rows.iter().for_each(|row| text.push_str(row));
    }
    text
}

#[test]
#[ignore = "takes minutes, and what `make intel` brings"]
fn neither_defaults_nor_attention_spill_and_the_table_is_as_committed() {
    if let Some(path) = std::env::var_os(ANSWER) {
        std::fs::write(path, serde_json::to_vec(&answer()).unwrap()).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let answers = PLATFORMS.map(|platform| asked(platform, folder.path()));
    let mut complaints = Vec::new();
    for (platform, answer) in PLATFORMS.iter().zip(&answers) {
        for said in &answer.kernels {
            match &said.figures {
                Err(error) => complaints.push(format!("{platform}: {}: {error}", said.who)),
                // Some products lose less to a spilled register than to smaller tiles: the tuner's clock decides.
                Ok(figures)
                    if spills(figures) > 0 && (said.default || said.who.contains("of `attention")) =>
                {
                    complaints.push(format!("{platform}: {}: {figures:?}", said.who));
                }
                Ok(figures) if spills(figures) > 0 => {
                    println!("a variant spills on {platform}: {}: {} registers", said.who, spills(figures));
                }
                Ok(_) => {}
            }
        }
    }
    assert!(complaints.is_empty(), "{} kernels:\n{}", complaints.len(), complaints.join("\n"));
    if std::env::var_os(ONLY).is_some() {
        println!("{ONLY} is set: {TABLE} is NOT compared");
        return;
    }
    mesa::hold(TABLE, RENEW, &answers[0].version, &table(&answers));
}
