//! Weight files, and the state that a run resumes from.

use crate::layouts::gpt2;
use crate::runner::run;
use normfree::config::Optimizer;
use normfree::fault::Kind;
use normfree::train::checkpoint::{
    Checkpoint, NamedTensor, Snapshot, Spec, TrainerState, WeightFile, export, import,
};
use normfree::train::run_folder::RunFolder;
use std::fs;

const D: usize = 4;

/// The parameters of a tiny model of one layer.
fn specs() -> Vec<Spec> {
    let spec = |name: &str, shape: &[usize]| Spec::new(format!("transformer.{name}"), shape);
    vec![
        spec("wte.weight", &[7, D]),
        spec("wpe.weight", &[5, D]),
        spec("h.0.attn.c_attn.weight", &[D, 3 * D]),
        spec("h.0.attn.c_attn.bias", &[2 * D]),
        spec("h.0.attn.c_proj.weight", &[D, D]),
        spec("h.0.mlp.c_fc.weight", &[D, 4 * D]),
        spec("h.0.mlp.c_proj.weight", &[4 * D, D]),
        spec("h.0.mlp.act.slopes", &[1]),
        spec("ln_f.weight", &[D]),
        spec("ln_f.bias", &[D]),
    ]
}

fn tensors() -> Vec<NamedTensor> {
    let values = |spec: &Spec| (0..spec.elements()).map(|i| (i as f32 - 3.0) / 16.0).collect();
    let tensor = |spec: Spec| NamedTensor { data: values(&spec), name: spec.name, shape: spec.shape };
    specs().into_iter().map(tensor).collect()
}

#[test]
fn weight_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let layout = gpt2(&specs());
    export(&path, &layout, &mut tensors().as_slice()).unwrap();
    let whole = fs::read(&path).unwrap();
    // Header and values also on their own, so that edits hit both.
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let inputs = [whole.clone(), whole[..header].to_vec()];
    run("weights", &inputs, |input| {
        fs::write(&path, input).unwrap();
        match import(&path, &layout) {
            Err(fault) if fault.kind != Kind::Checkpoint => return Err(format!("{:?}: {fault}", fault.kind)),
            Err(_) => {}
            Ok(read) => {
                let fits = read.iter().map(NamedTensor::spec).eq(layout.held());
                if !fits || read.iter().any(|tensor| tensor.data.len() != tensor.spec().elements()) {
                    return Err("it was taken, and does not fit".to_owned());
                }
            }
        }
        match WeightFile::open_to_start(&path, &layout) {
            Err(fault) if ![Kind::Checkpoint, Kind::NonFinite].contains(&fault.kind) => {
                Err(format!("{:?}: {fault}", fault.kind))
            }
            _ => Ok(()),
        }
    });
}

/// Whatever happens to the state's file: a checkpoint that opens holds what was written.
#[test]
fn trainer_states() {
    let folder = tempfile::tempdir().unwrap();
    let run_folder = RunFolder::create(&folder.path().join("run")).unwrap();
    let layout = gpt2(&specs());
    let state = TrainerState {
        step: 12,
        data_cursor: 48,
        seed: 7,
        optimizer_steps: 11,
        metrics_bytes: 3349,
        metrics_sha256: Some("5ea1".repeat(16)),
        recording: false,
        owes_evaluation: true,
        data_fingerprint: 12_637_772_839_918_255_648,
        data: None,
        config: Some(serde_json::json!({ "train": { "learning_rate": 1e-4 } })),
        kernels: None,
        loss_scale: None,
        active_units: vec!["0f3".to_owned()],
    };
    let (mut model, mut first, mut second) = (&*tensors(), &*tensors(), &*tensors());
    let described = serde_json::json!({ "model_type": "gpt2" });
    let snapshot = Snapshot {
        state: state.clone(),
        layout: &layout,
        described: &described,
        model: &mut model,
        states: Optimizer::ADAMW.states.iter().copied().zip([&mut first as _, &mut second as _]).collect(),
    };
    let path = Checkpoint::write(&run_folder, snapshot, 1).unwrap();
    let file = path.join("trainer_state.json");
    let inputs = [fs::read(&file).unwrap()];
    run("states", &inputs, |input| {
        fs::write(&file, input).unwrap();
        match Checkpoint::open(&path) {
            Err(fault) if fault.kind != Kind::Checkpoint => Err(format!("{:?}: {fault}", fault.kind)),
            Ok(checkpoint) if *checkpoint.state() != state => {
                Err(format!("another state than was written: {:?}", checkpoint.state()))
            }
            _ => Ok(()),
        }
    });
}
