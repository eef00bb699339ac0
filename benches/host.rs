//! What the host does beside the device: `cargo bench`. Once a run tapes are recorded and memory is planned; at every
//! step batches are filled. What a whole step costs the host, `normfree bench --only host` says.

use criterion::{Criterion, criterion_group, criterion_main};
use normfree::config::Config;
use normfree::data::{Batch, Batches, Corpus};
use normfree::ops::Traits;
use normfree::train::engine::Blueprint;
use std::hint::black_box;
use std::path::Path;

fn config(name: &str) -> Config {
    Config::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name), &[])
        .expect("a configuration")
}

/// A discrete GPU's, and a software driver's, whose arenas are read through many small windows.
fn devices() -> [(&'static str, Traits); 2] {
    let gpu = Traits { lanes: 32, f16: true, max_binding: 2 << 30, max_invocations: 1024, ..Traits::floor() };
    [("a GPU", gpu.clone()), ("software", Traits { lanes: 8, software: true, ..gpu })]
}

fn tapes_and_plan(c: &mut Criterion) {
    for (device, traits) in devices() {
        for name in ["small/sm_ln_g.toml", "paper/sm_ln_g.toml"] {
            let config = config(name);
            c.bench_function(&format!("tapes of {name} for {device}"), |b| {
                b.iter(|| Blueprint::new(black_box(&config), &traits));
            });
            let blueprint = Blueprint::new(&config, &traits);
            c.bench_function(&format!("memory plan of {name} for {device}"), |b| {
                b.iter(|| black_box(&blueprint).demand(&traits));
            });
        }
    }
}

fn batches(c: &mut Criterion) {
    let config = config("paper/sm_ln_g.toml");
    let (rows, sequence) = (config.train.batch_size, config.train.sequence_length);
    // nanoGPT's two files, with tokens that repeat as text does: some often, most seldom.
    let folder = tempfile::tempdir().expect("a folder");
    let vocabulary = config.model.vocab_size as u64;
    let token = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).pow(2) % vocabulary;
    let tokens: Vec<u8> = (0..4_000_000).flat_map(|i| (token(i) as u16).to_le_bytes()).collect();
    for name in ["train.bin", "val.bin"] {
        std::fs::write(folder.path().join(name), &tokens).expect("a file");
    }
    let corpus = Corpus::open(folder.path(), sequence, config.model.vocab_size).expect("a corpus");
    let mut batches = Batches::new(corpus.train, config.data.order, 1, None);
    let mut batch = Batch::new(rows, sequence);
    c.bench_function(&format!("a micro-batch of {rows}x{sequence} tokens"), |b| {
        b.iter(|| batches.fill(black_box(&mut batch)));
    });
}

criterion_group!(host, tapes_and_plan, batches);
criterion_main!(host);
