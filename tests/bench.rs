//! `normfree bench`: its counts equal the tape's, its kernels translate, and its numbers are measured.

use normfree::bench::{Bound, Ceilings, Measured, Options, Part, Start, adapter, measure};
use normfree::config::Config;
use normfree::device::Device;
use normfree::fault::{Kind, Result};
use normfree::host::Host;
use normfree::ops::{Choices, parse};
use normfree::train::engine::Blueprint;

fn config() -> Config {
    let changes = ["model.n_layer=2", "model.n_embd=64", "model.vocab_size=300", "train.batch_size=2"];
    let more = ["train.gradient_accumulation_steps=2", "train.sequence_length=32"];
    let guided = ["model.entropy_regularization=0.16"];
    let changes: Vec<String> =
        changes.iter().chain(&more).chain(&guided).map(|&change| change.to_owned()).collect();
    Config::parse(include_str!("../configs/bench/small.toml"), "small.toml", &changes).unwrap()
}

fn measure_all(open: &dyn Fn() -> Result<Device>) -> Measured {
    let parts = vec![Part::Ceilings, Part::Kernels, Part::Steps, Part::Host];
    let options = Options {
        open,
        choices: Choices::default(),
        parts,
        ceilings: None,
        differences: Vec::new(),
        rounds: 3,
    };
    let mut begun = Vec::new();
    let measured =
        measure(&options, &config(), &mut |part| begun.push(part)).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(begun, [Part::Ceilings, Part::Kernels, Part::Host, Part::Steps]);
    measured
}

/// Two threads, so that work is shared.
fn cpu() -> Device {
    Host::open(2).unwrap().into()
}

/// One test, because measuring takes longest: tests that share a measurement wait for one another.
#[test]
fn an_adapter_and_the_cpu_are_measured() {
    let adapter = measure_all(&|| Ok(crate::support::gpu()));
    let host = measure_all(&|| Ok(cpu()));
    for measured in [&adapter, &host] {
        ceilings_are_those_of_a_computer(measured.ceilings.as_ref().unwrap());
        both_halves_exist(measured);
    }
    // What a device does not have is absent rather than zero.
    for (measured, here, absent) in [(&adapter, "dispatch", "tasks"), (&host, "tasks", "dispatch")] {
        let json = serde_json::json!(measured.ceilings);
        assert!(json[here].is_number() && json.get(absent).is_none(), "{json}");
    }
    rows_add_up(&crate::support::gpu(), &adapter);
    rows_add_up(&cpu(), &host);
    let host = adapter.host.as_ref().unwrap();
    assert!(host.record.median > 0.0 && host.record.median < host.step.median, "{host:?}");
    assert!(host.start > host.step.low, "{host:?}");
}

fn ceilings_are_those_of_a_computer(ceilings: &Ceilings) {
    // From a slow emulated driver to more than any card reaches.
    assert!((1e7..1e16).contains(&ceilings.flops()), "{ceilings:?}");
    assert!(ceilings.copies.len() >= 5 && ceilings.copies.is_sorted_by_key(|c| c.bytes), "{ceilings:?}");
    assert!(ceilings.copies.iter().all(|copies| (1e7..1e14).contains(&copies.rate)), "{ceilings:?}");
    let costs = match ceilings.start {
        Start::Commands { dispatch, submit, encode } => vec![dispatch, submit, encode],
        Start::Tasks { tasks } => vec![tasks],
    };
    assert!(costs.iter().all(|seconds| (1e-9..0.1).contains(seconds)), "{ceilings:?}");
}

/// Operations, executions and dispatches add up to those of a step.
fn rows_add_up(device: &Device, measured: &Measured) {
    let config = config();
    let rows = measured.kernels.as_ref().unwrap();
    let blueprint = Blueprint::new(&config, device.traits());
    let flops: u64 = rows.iter().map(|row| row.flops).sum();
    assert_eq!(flops, blueprint.flops());
    let nodes = 2 * blueprint.micro.tape.acting().count() + blueprint.update.acting().count();
    let (copies, kernels): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.op == "image copies");
    assert_eq!(kernels.iter().map(|row| row.times).sum::<usize>(), nodes);
    assert!(kernels.iter().all(|row| row.dispatches >= row.times && row.bytes > 0));
    assert!(copies.iter().all(|row| row.dispatches == 0 && row.bytes > 0 && row.bound == Bound::Memory));
    assert!(rows.iter().all(|row| row.seconds.median > 0.0 && row.floor > 0.0), "{rows:?}");
    assert!(rows.is_sorted_by(|a, b| a.seconds.median >= b.seconds.median));
}

/// Both halves of every comparison exist, the regularizer's too, and a step takes at least as long as its floor.
fn both_halves_exist(measured: &Measured) {
    let steps = measured.steps.as_ref().unwrap();
    let regularized: Vec<bool> = steps.rows.iter().map(|row| row.regularizer).collect();
    assert_eq!(regularized, [true, true, true, true, false]);
    for row in &steps.rows {
        let tokens = row.tokens_per_second * row.seconds.median;
        assert!((tokens - measured.tokens as f64).abs() < 1e-6 * tokens, "{row:?}");
        assert!(row.floor.unwrap() > 0.0 && row.seconds.low <= row.seconds.high, "{row:?}");
    }
    assert_eq!(steps.pairs.len(), 4);
    assert!(steps.pairs.iter().all(|pair| (0.05..20.0).contains(&pair.ratio.median)), "{steps:?}");
}

/// The measuring kernels are as portable as those of the ops.
#[test]
fn measuring_kernels_parse() {
    for half in [false, true] {
        let (kernel, flops) = adapter::arithmetic_kernel(half, 4, 16);
        assert_eq!(kernel.text.contains("enable f16"), half);
        assert_eq!(kernel.text.matches("fma(").count() * 8, flops, "a vec4 of multiply-adds each");
        parse(&kernel.text).unwrap();
    }
    let (kernel, flops) = adapter::cooperative_kernel(16, 32, 4, 16);
    assert_eq!(kernel.text.matches("= coopMultiplyAdd(").count() * 2 * 16 * 16 * 16, flops);
    parse(&kernel.text).unwrap_or_else(|error| panic!("{error}"));
    let (kernel, groups) = adapter::copy_kernel(1000, 4);
    parse(&kernel.text).unwrap();
    assert_eq!(groups, 4);
}

#[test]
fn ceilings_are_read_from_what_bench_printed_and_from_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ceilings.json");
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Ceilings::load(&path, "a card")
    };
    let printed = |name: &str, flops: &str, copies: &str| {
        format!(
            r#"{{"adapter": {{"name": "{name}", "kind": "discrete"}}, "ceilings": {{"arithmetic":
            [{{"number": "f32", "flops": {flops}}}], "copies": [{copies}], "dispatch": 1e-5, "submit": 1e-4, "encode": 1e-6}}}}"#
        )
    };
    let copies = r#"{"bytes": 1024, "rate": 1e9}, {"bytes": 4096, "rate": 2e9}"#;
    let ceilings = load(&printed("a card", "1e12", copies)).unwrap();
    assert_eq!((ceilings.flops(), ceilings.bandwidth(4096)), (1e12, 2e9));
    assert_eq!(ceilings.start, Start::Commands { dispatch: 1e-5, submit: 1e-4, encode: 1e-6 });
    let turned = r#"{"bytes": 4096, "rate": 1e9}, {"bytes": 1024, "rate": 2e9}"#;
    for (text, told) in [
        (printed("another", "1e12", copies), "these are the ceilings of another device"),
        (printed("a card", "0.0", copies), "no rates"),
        (printed("a card", "1e12", ""), "no rates"),
        (printed("a card", "1e12", turned), "out of order"),
        ("{}".to_owned(), "found no `adapter`"),
    ] {
        let fault = load(&text).unwrap_err();
        assert_eq!(fault.kind, Kind::Data);
        assert!(fault.to_string().contains(told), "{fault}");
    }
}
