//! The CPU as a device: every case of every op, and whole runs, with the same bits on any number of threads.

use crate::cli::{Place, assert_same};
use crate::support::seed;
use normfree::device::Device;
use normfree::host::Host;
use normfree::ops::cross_entropy::{Logits, Targets};
use normfree::tape::DType;
use normfree::verify::{CaseBuilder, Fill, all_cases, check, on_device};

/// How many threads compute.
const THREADS: [usize; 5] = [1, 2, 4, 5, 8];

#[test]
fn every_case_agrees_with_f64_on_any_number_of_threads() {
    let devices = THREADS.map(|threads| Device::from(Host::open(threads).unwrap()));
    let mut failures = Vec::new();
    for case in all_cases(seed()).iter().filter(|case| !case.needs_f16()) {
        let outcome = check(&devices[0], case).unwrap();
        if !outcome.passed() {
            let worst = (outcome.worst, outcome.bound);
            failures.push(format!("{} {}: {}, {worst:?}", case.stem, case.label, outcome.place));
        }
        let [alone, others @ ..] = devices.each_ref().map(|device| on_device(device, case).unwrap());
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        for other in &others {
            let differ = alone.iter().find(|(tensor, values)| bits(values) != bits(&other[tensor]));
            failures.extend(differ.map(|(tensor, _)| {
                format!("{} {}: {} has other bits", case.stem, case.label, case.tape.info(*tensor).name)
            }));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Training, evaluation and checkpoints on the CPU, without a driver. Each run says how many threads it had.
#[test]
fn a_run_has_the_same_bytes_on_any_number_of_threads() {
    let place = Place::with_data();
    for threads in THREADS {
        let (run, number) = (format!("r{threads}"), threads.to_string());
        place.succeeds(&["train", "tiny.toml", "--run", &run, "--device", "cpu", "--threads", &number]);
        let environment = std::fs::read(place.path(&run).join("env.json")).unwrap();
        let environment: serde_json::Value = serde_json::from_slice(&environment).unwrap();
        assert_eq!(environment["threads"], threads);
        assert_same(&place.path("r1"), &place.path(&run));
    }
}

/// Logits that are kept make the bits of those that are computed again.
#[test]
fn kept_logits_change_no_bit() {
    let seed = seed();
    let gradients = |kept_bytes| {
        let mut case = CaseBuilder::new("cross_entropy", "several pieces", seed);
        let x = case.input("x", &[33, 64], Fill::Normal(1.0));
        let table = case.parameter("table", &[516, 64], Fill::Normal(1.0));
        let picks: Vec<u32> = (0..33).map(|i| i * 15).collect();
        let targets = case.indices("targets", &[33], &picks);
        let scale = case.constant("scale", &[1], DType::F32, vec![1.0 / 33.0]);
        let loss = case.observation("loss", &[1], 0.0);
        let memory = Logits { piece_bytes: 33 * 128 * 4, kept_bytes };
        case.tape.head_cross_entropy(x, table, Targets { targets, scale, loss, scaling: None }, memory);
        let case = case.finish_loss(loss, 2e-5);
        let values = on_device(&Host::open(2).unwrap().into(), &case).unwrap();
        let bits = |tensor| values[&tensor].iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        case.compared.iter().map(|&tensor| bits(tensor)).collect::<Vec<_>>()
    };
    let none = gradients(0);
    assert!(none.len() >= 3, "the loss and two gradients");
    assert!(gradients(33 * 256 * 4) == none && gradients(1 << 20) == none);
}

#[test]
fn one_product_is_timed_and_compared_with_f64() {
    let place = Place::new();
    let bench = ["bench", "--product", "70x48x33", "--rounds", "3", "--device", "cpu"];
    let told = place.succeeds(&[&bench[..], &["--json"]].concat());
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let layouts = told["ways"].as_array().unwrap();
    assert_eq!(layouts.len(), 3);
    assert!(layouts.iter().all(|way| way["way"] == "gemm" && way["agrees"] == true), "{told}");
    for option in ["--half", "--every-way"] {
        place.fails(&[&bench[..], &[option]].concat(), 2, &[option, "one way, in f32"]);
    }
}

/// The CPU has no largest buffer, so a plan has no row of it.
#[test]
fn a_plan_names_no_limits_of_an_adapter() {
    let place = Place::with_data();
    let told = place.succeeds(&["train", "tiny.toml", "--dry-run", "--memory", "--device", "cpu"]);
    assert!(told.contains("available to it") && !told.contains("largest b"), "{told}");
}

#[test]
fn options_that_could_do_nothing_are_refused() {
    let place = Place::new();
    place.fails(&["card", "--device", "cpu"], 2, &["--device cpu", "choose an adapter"]);
    assert!(!place.path("card").exists(), "a card was begun");
    place.fails(&["verify", "--device", "cpu", "--backend", "vulkan"], 2, &["--backend", "omit it"]);
    place.on_driver().fails(&["verify", "--threads", "2"], 2, &["--threads", "--device cpu"]);
}
