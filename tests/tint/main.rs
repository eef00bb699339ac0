//! Chrome's compiler, Tint, accepts every kernel that a WebGPU device can have. It comes with Dawn, Chrome's WebGPU, as a
//! package for Node, with a device that computes nothing.

#[path = "../subjects.rs"]
#[allow(dead_code)]
mod subjects;

use normfree::bench::adapter;
use normfree::ops::{Kernel, Traits};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use subjects::{Subjects, configs, devices, gpt2, parse, uses_subgroups};

/// Tint's complaint about a kernel: which one, the line of its text (0 for the whole), and why.
#[derive(serde::Deserialize)]
struct Complaint {
    kernel: usize,
    line: usize,
    message: String,
}

/// Compiles kernels in one process of Node.
fn complaints(kernels: &[Kernel]) -> Vec<Complaint> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = root.join("target/tint");
    assert!(
        package.join("node_modules/webgpu/package.json").is_file(),
        "Chrome's compiler is missing; .ci/bring-tint brings it"
    );
    let mut places: HashMap<Arc<str>, usize> = HashMap::new();
    let mut texts = Vec::new();
    let mut described = Vec::new();
    for kernel in kernels {
        let place = *places.entry(kernel.text.clone()).or_insert_with(|| {
            texts.push(&*kernel.text);
            texts.len() - 1
        });
        let constants: HashMap<&str, f64> = kernel.constants.iter().copied().collect();
        described.push(serde_json::json!({"text": place, "entry": kernel.entry, "constants": constants}));
    }
    println!("{} kernels, {} texts", kernels.len(), texts.len());
    let question = serde_json::json!({"texts": texts, "kernels": described}).to_string();
    let mut node = Command::new("node")
        .arg(root.join("tests/tint/compile.mjs"))
        .arg(package)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("Node does not start: {error}; .ci/bring-tint brings it"));
    node.stdin.take().expect("a pipe").write_all(question.as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "Node ended with {}", output.status);
    #[derive(serde::Deserialize)]
    struct Answer {
        complaints: Vec<Complaint>,
    }
    serde_json::from_slice::<Answer>(&output.stdout).expect("an answer").complaints
}

/// Whether the variable skips these tests; prints so.
fn skipped() -> bool {
    let skipped = std::env::var_os("NORMFREE_SKIP_TINT").is_some_and(|value| value == "1");
    if skipped {
        println!("NORMFREE_SKIP_TINT=1: the kernels are NOT compiled by Chrome's compiler");
    }
    skipped
}

/// Devices that a browser may have: WebGPU has no matrix units. Dawn's null device has no more workgroup memory than WebGPU
/// guarantees.
fn browsers() -> Vec<(&'static str, Traits)> {
    let workgroup_memory = Traits::floor().workgroup_memory;
    let plain = devices().into_iter().filter(|(_, device)| device.cooperative == 0);
    plain.map(|(name, device)| (name, Traits { workgroup_memory, ..device })).collect()
}

#[test]
fn chromes_compiler_accepts_every_kernel() {
    if skipped() {
        return;
    }
    let began = std::time::Instant::now();
    let mut subjects = Subjects::of(&browsers(), &configs(), false);
    let (name, device) = browsers().pop().expect("a GPU");
    for config in gpt2() {
        subjects.take_model(&config, name, &device, true);
    }
    let (mut kernels, mut who): (Vec<Kernel>, Vec<String>) =
        subjects.list.into_iter().map(|subject| (subject.kernel, subject.who)).unzip();
    // The kernels that measure a device.
    let subgroups = Traits { lanes: 32, ..Traits::floor() };
    for kernel in normfree::gpu::probes(0, &subgroups) {
        kernels.push(kernel);
        who.push("a probe of subgroups".to_owned());
    }
    let measuring = [
        ("the ceiling of arithmetic in f32", adapter::arithmetic_kernel(false, 4, 16).0),
        ("the ceiling of arithmetic in f16", adapter::arithmetic_kernel(true, 4, 16).0),
        ("the ceiling of memory", adapter::copy_kernel(1000, 4).0),
    ];
    for (name, kernel) in measuring {
        kernels.push(kernel);
        who.push(name.to_owned());
    }
    // Every kind of text is among them.
    let texts: Vec<&str> = kernels.iter().map(|kernel| &*kernel.text).collect();
    for directive in ["enable f16;", "enable subgroups;"] {
        let count = texts.iter().filter(|text| text.contains(directive)).count();
        println!("{count} kernels with `{directive}`");
        assert!(count > 0 && count < texts.len(), "{count} of {} have `{directive}`", texts.len());
    }
    let complaints = complaints(&kernels);
    println!("{:.1} s", began.elapsed().as_secs_f64());
    let tell = |Complaint { kernel, line, message }: &Complaint| {
        let source = line.checked_sub(1).and_then(|line| kernels[*kernel].text.lines().nth(line));
        format!("{}: line {line}: {message}\n    {}", who[*kernel], source.unwrap_or_default())
    };
    let list: Vec<String> = complaints.iter().take(40).map(tell).collect();
    assert!(
        complaints.is_empty(),
        "{} complaints, of which the first:\n{}",
        complaints.len(),
        list.join("\n")
    );
}

/// Texts that naga accepts and Tint does not, and constants that no device supports: each is refused, with its line.
#[test]
fn chromes_compiler_can_refuse() {
    if skipped() {
        return;
    }
    let text = |directive: &str, expression: &str| {
        format!(
            "{directive}\noverride N: u32;\n@group(0) @binding(0) var<storage, read_write> y: array<u32>;\n\
             @compute @workgroup_size(N)\nfn twice(@builtin(local_invocation_index) i: u32) {{\n\
             y[i] = {expression};\n}}"
        )
    };
    let kernel = |directive: &str, expression: &str, lanes: f64| {
        let text = text(directive, expression);
        parse(&text).unwrap_or_else(|error| panic!("{error}"));
        Kernel { text: text.into(), entry: "twice", constants: vec![("N", lanes)] }
    };
    let kernels = [
        kernel("", "2u * y[i]", 64.0),
        kernel("enable subgroups;", "subgroupAdd(y[i])", 64.0),
        kernel("", "y[i] << 1u | y[i]", 64.0),
        kernel("", "subgroupAdd(y[i])", 64.0),
        kernel("", "2u * y[i]", 640_000.0),
    ];
    assert!(uses_subgroups(&parse(&kernels[3].text).unwrap().0));
    let found: Vec<(usize, usize, String)> =
        complaints(&kernels).into_iter().map(|c| (c.kernel, c.line, c.message)).collect();
    let of = |kernel: usize| found.iter().filter(|(of, ..)| *of == kernel).collect::<Vec<_>>();
    assert!(of(0).is_empty() && of(1).is_empty(), "{found:?}");
    for (kernel, line, part) in [(2, 6, "parenthes"), (3, 6, "subgroups"), (4, 0, "workgroup_size(640000")] {
        let found = of(kernel);
        assert!(found.iter().any(|(_, at, message)| *at == line && message.contains(part)), "{found:?}");
    }
}
