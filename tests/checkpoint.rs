//! Weight files and checkpoints.

mod full_disk;
mod kept;
mod kill;
mod neox;
pub mod weights;
mod weights_refused;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::layouts::gpt2 as layout;
use normfree::data::{DataSeal, Dtype};
use normfree::fault::Fault;
use normfree::optimizer::State;
use normfree::train::checkpoint::{
    Checkpoint, ModelTensors, NamedTensor, Snapshot, Spec, TensorSource, TrainerState, WeightFile,
};
use normfree::train::engine::LossScale;
use normfree::train::run_folder::RunFolder;

/// SplitMix64: enough randomness for tests, from a seed that can be printed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The bias of a model, as in its configuration.
#[derive(Clone, Copy, PartialEq)]
pub enum Bias {
    All,
    QueryKey,
    None,
}

pub const D: usize = 6;
const VOCAB: usize = 11;
const POSITIONS: usize = 5;

/// The parameters of a tiny two-layer GPT-2 as the model holds them.
pub fn parameters(norm: bool, bias: Bias, slopes: bool) -> Vec<Spec> {
    let mut all = vec![
        Spec::new("transformer.wte.weight", [VOCAB, D]),
        Spec::new("transformer.wpe.weight", [POSITIONS, D]),
    ];
    let mut add = |name: String, shape: &[usize]| all.push(Spec::new(name, shape));
    for layer in 0..2 {
        let h = format!("transformer.h.{layer}");
        if norm {
            add(format!("{h}.ln_1.weight"), &[D]);
            add(format!("{h}.ln_1.bias"), &[D]);
        }
        add(format!("{h}.attn.c_attn.weight"), &[D, 3 * D]);
        match bias {
            Bias::All => add(format!("{h}.attn.c_attn.bias"), &[3 * D]),
            Bias::QueryKey => add(format!("{h}.attn.c_attn.bias"), &[2 * D]),
            Bias::None => {}
        }
        add(format!("{h}.attn.c_proj.weight"), &[D, D]);
        if bias == Bias::All {
            add(format!("{h}.attn.c_proj.bias"), &[D]);
        }
        if norm {
            add(format!("{h}.ln_2.weight"), &[D]);
            add(format!("{h}.ln_2.bias"), &[D]);
        }
        add(format!("{h}.mlp.c_fc.weight"), &[D, 4 * D]);
        if bias == Bias::All {
            add(format!("{h}.mlp.c_fc.bias"), &[4 * D]);
        }
        add(format!("{h}.mlp.c_proj.weight"), &[4 * D, D]);
        if bias == Bias::All {
            add(format!("{h}.mlp.c_proj.bias"), &[D]);
        }
        if slopes {
            add(format!("{h}.mlp.act.slopes"), &[2]);
        }
    }
    add("transformer.ln_f.weight".to_owned(), &[D]);
    add("transformer.ln_f.bias".to_owned(), &[D]);
    all
}

/// Tensors of those shapes with any bits, including every kind of NaN, zero and denormal.
pub fn any_bits(specs: &[Spec], seed: u64) -> Vec<NamedTensor> {
    const ODD: [u32; 8] = [
        0x8000_0000, // -0.0
        0x0000_0001, // the smallest denormal
        0x807f_ffff, // the largest negative one
        0x7fc0_1234, // a quiet NaN with a payload
        0xff80_0001, // a signalling NaN
        0x7f80_0000, // infinity
        0xff80_0000,
        0x7f7f_ffff, // the largest number
    ];
    let mut random = Random(seed);
    let mut value = || match random.next() {
        r if r % 4 == 0 => f32::from_bits(ODD[(r >> 32) as usize % ODD.len()]),
        r => f32::from_bits((r >> 32) as u32),
    };
    specs
        .iter()
        .map(|spec| NamedTensor {
            name: spec.name.clone(),
            shape: spec.shape.clone(),
            data: (0..spec.elements()).map(|_| value()).collect(),
        })
        .collect()
}

/// Fails if `a` and `b` differ in a name, a shape, the order or one bit.
#[track_caller]
pub fn assert_same_bits(a: &[NamedTensor], b: &[NamedTensor]) {
    let specs = |tensors: &[NamedTensor]| tensors.iter().map(NamedTensor::spec).collect::<Vec<_>>();
    assert_eq!(specs(a), specs(b));
    for (a, b) in a.iter().zip(b) {
        let bits = |t: &NamedTensor| t.data.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(bits(a) == bits(b), "{} differs", a.name);
    }
}

/// AdamW's state.
pub const STATES: &[State] =
    &[State { arena: "first moments", prefix: "m" }, State { arena: "second moments", prefix: "v" }];

/// Everything in a checkpoint that a test writes, derived from its step alone.
pub struct Sample {
    pub layout: ModelTensors,
    pub state: TrainerState,
    pub model: Vec<NamedTensor>,
    /// The first and the second moments.
    pub moments: [Vec<NamedTensor>; 2],
}

impl Sample {
    pub fn of_step(step: u64) -> Self {
        Self::new(parameters(true, Bias::QueryKey, true), step)
    }

    pub fn new(parameters: Vec<Spec>, step: u64) -> Self {
        Self {
            layout: layout(&parameters),
            state: TrainerState {
                step,
                data_cursor: step * 64,
                seed: u64::MAX - 1,
                optimizer_steps: step.saturating_sub(1),
                metrics_bytes: step * 100,
                metrics_sha256: step.is_multiple_of(2).then(|| "5ea1".repeat(16)),
                recording: step % 2 == 1,
                owes_evaluation: step % 3 == 1,
                data_fingerprint: u64::MAX - step,
                data: step.is_multiple_of(2).then(|| DataSeal {
                    train: "7ea1".repeat(16),
                    valid: "fa11".repeat(16),
                    dtype: Dtype::U16,
                    end_of_text: Some(0),
                    tokenizer: None,
                }),
                config: step
                    .is_multiple_of(2)
                    .then(|| serde_json::json!({ "train": { "learning_rate": 1e-4 } })),
                kernels: None,
                loss_scale: (step % 4 == 3).then_some(LossScale { scale: 1 << 24, good_steps: 1999 }),
                active_units: if step % 4 == 2 { vec!["0f3".to_owned(); 2] } else { Vec::new() },
            },
            model: any_bits(&parameters, step),
            moments: [1, 2].map(|which| any_bits(&parameters, step + (which << 32))),
        }
    }

    pub fn write(&self, run: &RunFolder, keep: usize) -> Result<PathBuf, Fault> {
        let mut sources = self.moments.each_ref().map(Vec::as_slice);
        let sources = sources.iter_mut().map(|source| source as &mut dyn TensorSource);
        let described = serde_json::json!({ "model_type": "gpt2" });
        let snapshot = Snapshot {
            state: self.state.clone(),
            layout: &self.layout,
            described: &described,
            model: &mut self.model.as_slice(),
            states: STATES.iter().copied().zip(sources).collect(),
        };
        Checkpoint::write(run, snapshot, keep)
    }

    #[track_caller]
    pub fn assert_is(&self, checkpoint: &Checkpoint) {
        let read_all = |mut file: WeightFile| -> Vec<NamedTensor> {
            (0..file.len()).map(|index| file.read(index).unwrap()).collect()
        };
        assert_eq!(*checkpoint.state(), self.state);
        assert_same_bits(&read_all(checkpoint.model(&self.layout).unwrap()), &self.model);
        let prefixed = |(state, moments): (&State, &Vec<NamedTensor>)| -> Vec<NamedTensor> {
            let name = |tensor: &NamedTensor| format!("{}.{}", state.prefix, tensor.name);
            moments.iter().map(|tensor| NamedTensor { name: name(tensor), ..tensor.clone() }).collect()
        };
        let moments: Vec<NamedTensor> = STATES.iter().zip(&self.moments).flat_map(prefixed).collect();
        assert_same_bits(&read_all(checkpoint.states(&self.layout, STATES).unwrap()), &moments);
    }
}

/// A new run in a temporary folder, which is deleted when the first of the two is dropped.
pub fn new_run() -> (tempfile::TempDir, RunFolder) {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(&folder.path().join("run")).unwrap();
    run.write_config("[model]\n").unwrap();
    (folder, run)
}

/// Every file below `folder` with its bytes.
pub fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    files
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| (entry.path().to_owned(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

/// Runs the ignored test `name` of this binary in a separate process, with `folder` to work in.
pub fn child(name: &str, folder: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(CHILD_FOLDER, folder);
    command
}

/// In a process made by [`child`], the folder to work in; `None` in a plain run of the ignored tests.
pub fn child_folder() -> Option<PathBuf> {
    std::env::var_os(CHILD_FOLDER).map(PathBuf::from)
}

pub const CHILD_FOLDER: &str = "NORMFREE_TEST_FOLDER";
