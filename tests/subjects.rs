//! Every kernel that any device could be given, for the tests that look at kernels without a device.

use naga::back::{PipelineConstants, pipeline_constants::process_overrides};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};
use normfree::config::{Config, Norm};
use normfree::ops::{self, Binding, CASES, Choices, Dispatch, Kernel, Operand, Recipe, Shapes, Traits};
use normfree::tape::{DType, Tape, shapes};
use normfree::train::engine::Blueprint;
use std::collections::HashMap;
use std::sync::Arc;

/// Traits of existing devices, by name.
pub fn devices() -> Vec<(&'static str, Traits)> {
    let floor = Traits::floor();
    let software = |lanes| Traits { lanes, software: true, f16: true, ..Traits::floor() };
    let gpu = |lanes| Traits {
        lanes,
        max_invocations: 1024,
        workgroup_memory: 32 << 10,
        max_binding: 2 << 30,
        f16: true,
        ..Traits::floor()
    };
    vec![
        ("the floor", floor),
        ("software without subgroups", software(0)),
        ("software of 4 lanes", software(4)),
        ("software of 8 lanes", software(8)),
        ("software of 16 lanes", software(16)),
        ("a GPU of 32 lanes", gpu(32)),
        ("a GPU of 64 lanes", gpu(64)),
        ("a GPU with matrix units", Traits { cooperative: 16, ..gpu(32) }),
        ("a GPU with Metal's matrix units", Traits { cooperative: 8, ..gpu(32) }),
    ]
}

/// Models that together have every kind of layer, at small sizes and at GPT-2's.
pub fn configs() -> Vec<Config> {
    let mut list = Vec::new();
    for norm in ["model.norm=layer_norm", "model.norm=none"] {
        for activation in [
            "gelu",
            "gelu_new",
            "relu",
            "leaky_relu",
            "learnable_lrelu",
            "none",
            "silu",
            "relu2",
            "leaky_relu2",
            "selu",
            "hard_swish",
            "crrelu",
            "helu",
            "prelu",
            "poly_relu",
            "poly_norm",
        ] {
            list.push(base(&[norm, &format!("model.activation_function={activation}")]));
        }
    }
    for norm in Norm::all().filter(|norm| ![Norm::LAYER_NORM, Norm::NONE].contains(norm)) {
        let norm = format!("model.norm={norm}");
        list.push(base(&[&norm]));
        list.push(base(&[&norm, "train.precision=mixed", "model.n_embd=128"]));
        list.push(base(&[&norm, "train.precision=mixed", "model.n_embd=20", "model.n_head=1"]));
    }
    // Norms that differ within a model, in other places; a scale after the embedding.
    for width in ["model.n_embd=64", "model.n_embd=20"] {
        let heads = if width.ends_with("20") { "model.n_head=1" } else { "model.n_head=2" };
        list.push(base(&[width, heads, "model.norm=rms_norm", "model.norm_position=both"]));
        for precision in ["train.precision=f32", "train.precision=mixed"] {
            let sites = ["model.ffn_norm=derf", "model.final_norm=dyt", "model.embedding_scale=true"];
            list.push(base(&[&[width, heads, precision], &sites[..]].concat()));
            list.push(base(&[width, heads, precision, "model.norm_position=post"]));
        }
    }
    let slopes = "model.activation_function=learnable_lrelu";
    list.push(base(&[slopes, "model.slope_scope=shared", "model.bias=all", "train.optimizer=adamw"]));
    list.push(base(&[slopes, "model.slope_scope=per_block", "model.bias=none", "model.final_norm=false"]));
    let guided =
        ["model.entropy_regularization=0.1", "model.learnable_temperature=true", "model.ffn_scaling=true"];
    for around in
        ["model.qk_norm=rms_norm", "model.qk_norm=plain", "model.qk_norm=unit", "model.attention_gate=head"]
    {
        let both = [around, "model.attention_gate=element"];
        list.push(base(&[around, "model.n_embd=128"]));
        list.push(base(&[&both[..], &["train.precision=mixed", "model.norm=none"]].concat()));
        for width in ["model.n_embd=64", "model.n_embd=128"] {
            list.push(base(&[around, "train.precision=mixed", width]));
        }
    }
    let scaled = ["model.weight_norm=sigma_reparam", "model.scale_loss=0.1"];
    list.push(base(
        &[&scaled[..], &["model.final_norm=false", "train.gradient_accumulation_steps=2"]].concat(),
    ));
    list.push(base(&[&scaled[..], &["train.precision=mixed", "model.attention_gate=element"]].concat()));
    list.push(base(&[&scaled[..], &["model.n_embd=20", "model.n_head=1"]].concat()));
    for residual in ["scaled", "rezero", "skip_init", "layer_scale", "fixup", "ln_scale", "ngpt"] {
        let residual = format!("model.residual={residual}");
        list.push(base(&[&residual, "model.attention_sink=true"]));
        list.push(base(&[
            &residual,
            "model.attention_sink=true",
            "train.precision=mixed",
            "model.n_embd=128",
        ]));
    }
    for width in ["model.n_embd=64", "model.n_embd=128", "model.n_embd=512"] {
        let capped = ["model.attention_softcap=20", width];
        list.push(base(&capped));
        list.push(base(
            &[&capped[..], &["train.precision=mixed", "model.entropy_regularization=0.1"]].concat(),
        ));
    }
    for activation in ["prelu", "poly_relu", "poly_norm"] {
        let activation = format!("model.activation_function={activation}");
        list.push(base(&[&activation, "train.precision=mixed", "model.n_embd=128", "model.n_inner=512"]));
    }
    for activation in ["silu", "gelu", "relu"] {
        let activation = format!("model.activation_function={activation}");
        let gated = ["model.ffn=gated", &activation];
        list.push(base(&[&gated[..], &["model.n_embd=128", "model.n_inner=384"]].concat()));
        list.push(base(&[&gated[..], &["train.precision=mixed", "model.bias=all"]].concat()));
    }
    for optimizer in ["sgd", "muon", "normuon"] {
        let optimizer = format!("train.optimizer={optimizer}");
        let around = ["train.adaptive_clipping=0.1", "train.project_weights=true", &optimizer];
        list.push(base(&around));
        list.push(base(&[&around[..], &["train.precision=mixed", "model.bias=all"]].concat()));
    }
    let gained = ["model.ffn_gains=true", "model.head_gains=true", "model.tie_embeddings=false"];
    list.push(base(&gained));
    list.push(base(&[&gained[..], &["train.gradient_accumulation_steps=2", "model.bias=all"]].concat()));
    list.push(base(&[&gained[..], &["train.precision=mixed", "model.n_embd=128"]].concat()));
    let unit = ["train.unit_weights=true"];
    list.push(base(&unit));
    list.push(base(&[&unit[..], &["train.precision=mixed"]].concat()));
    let fused = ["model.ffn=fused", "model.activation_function=none"];
    list.push(base(&[&guided[..], &["model.norm=none", "model.entropy_penalty=head_mean"]].concat()));
    list.push(base(&[&guided[..], &fused, &["train.precision=mixed", "model.n_embd=128"]].concat()));
    // Widths that are not multiples of 64, and the widest head.
    list.push(base(&["model.n_embd=20", "model.n_head=1", "model.vocab_size=97"]));
    list.push(base(&["model.n_embd=512"]));
    // Mixed precision, also with f16 rows that fit an image.
    for width in ["model.n_embd=64", "model.n_embd=128", "model.n_embd=20"] {
        let mixed = ["train.precision=mixed", width, "model.n_head=1", "model.bias=all"];
        list.push(base(&[&mixed[..], &["model.norm=none"]].concat()));
        list.push(base(&[&mixed[..], &[slopes]].concat()));
    }
    // Rotary positions by vectors and by scalars, and a separate head.
    for family in [&["model.n_embd=64"][..], &["model.n_embd=20", "model.n_head=1", "model.rotary_pct=0.5"]] {
        let family = [&["model.family=gpt_neox"], family].concat();
        list.push(base(&[&family[..], &["model.activation_function=learnable_lrelu"]].concat()));
        list.push(base(&[&family[..], &["train.precision=mixed", "model.norm=none"]].concat()));
    }
    let llama = ["model.family=llama", "model.ffn=gated", "model.activation_function=silu"];
    for sizes in [&["model.n_kv_head=1"][..], &["model.n_embd=256", "model.n_head=8", "model.n_kv_head=2"]] {
        list.push(base(&[&llama[..], sizes, &["model.tie_embeddings=false"]].concat()));
        list.push(base(&[&llama[..], sizes, &["train.precision=mixed"]].concat()));
    }
    list.extend(gpt2());
    list
}

/// GPT-2's smallest size, in f32 and in mixed precision.
pub fn gpt2() -> Vec<Config> {
    let gpt2 = ["model.n_embd=768", "model.n_head=12", "model.vocab_size=50257", "model.n_positions=1024"];
    let sizes = ["train.sequence_length=1024", "train.batch_size=4"];
    let mixed = ["train.precision=mixed"];
    vec![base(&[&gpt2[..], &sizes].concat()), base(&[&gpt2[..], &sizes, &mixed].concat())]
}

/// A small model with changes.
fn base(changes: &[&str]) -> Config {
    let text = "
        [model]
        n_layer = 1
        n_head = 2
        n_embd = 64
        n_positions = 40
        vocab_size = 300
        norm = \"layer_norm\"
        activation_function = \"gelu\"
        embd_pdrop = 0.1
        [data]
        path = \"unused\"
        [train]
        steps = 10
        batch_size = 3
        sequence_length = 40
        learning_rate = 1e-3
        checkpoint_every = 10
        eval_every = 10";
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    Config::parse(text, "test", &changes).unwrap()
}

/// One kernel as one dispatch uses it.
pub struct Subject {
    pub kernel: Kernel,
    pub bindings: Vec<Binding>,
    /// Element types of the bound tensors; scratch memory has none.
    pub types: Vec<Option<DType>>,
    /// For a person: entry point, op, case, device, and the variant if it is not the default.
    pub who: String,
    /// Whether some device without subgroups uses it.
    pub plain: bool,
    /// Whether some device uses it before anything is measured.
    pub default: bool,
}

/// Every distinct kernel of some tapes and devices, and complaints about grids.
#[derive(Default)]
pub struct Subjects {
    pub list: Vec<Subject>,
    pub complaints: Vec<String>,
    known: HashMap<Identity, usize>,
}

/// Text, entry point, constants, and the bindings with their types.
type Identity = (Arc<str>, &'static str, Vec<(&'static str, u64)>, String);

/// The element type of the bound tensor.
fn element_type(operand: Operand, shapes: &Shapes<'_>) -> Option<DType> {
    match operand {
        Operand::Input(input)
        | Operand::InputImage(input)
        | Operand::InputWindow { input, .. }
        | Operand::InputWindowImage { input, .. } => Some(shapes.input_types[input]),
        Operand::Output(output)
        | Operand::OutputWindow { output, .. }
        | Operand::OutputWindowImage { output, .. } => Some(shapes.output_types[output]),
        Operand::Scratch(_) => None,
    }
}

impl Subjects {
    /// The kernels of all cases and models on some devices; with `variants` also those that the tuner may try there.
    pub fn of(devices: &[(&str, Traits)], configs: &[Config], variants: bool) -> Self {
        let mut subjects = Self::default();
        subjects.take_all(devices, configs, variants);
        subjects
    }

    /// As [`Subjects::of`].
    pub fn take_all(&mut self, devices: &[(&str, Traits)], configs: &[Config], variants: bool) {
        let cases: Vec<_> = CASES.iter().flat_map(|(_, cases)| cases(1)).collect();
        for (name, device) in devices {
            for case in &cases {
                self.take(&case.label, &case.tape, name, device, variants);
            }
            for config in configs {
                self.take_model(config, name, device, variants);
            }
        }
    }

    /// The kernels of a model's three tapes.
    pub fn take_model(&mut self, config: &Config, name: &str, device: &Traits, variants: bool) {
        let model = &config.model;
        let label = format!("a model {} wide, {}, {}", model.n_embd, model.norm, model.activation_function);
        let blueprint = Blueprint::new(config, device);
        for (purpose, tape) in ["training", "update", "evaluation"].into_iter().zip(blueprint.tapes()) {
            self.take(&format!("{purpose} of {label}"), tape, name, device, variants);
        }
    }

    /// The kernels of a tape.
    pub fn take(&mut self, label: &str, tape: &Tape, name: &str, device: &Traits, variants: bool) {
        for node in tape.nodes() {
            let shapes = shapes(tape, node);
            let who = format!("`{}` in {label} for {name}", node.op.name());
            self.recipe(&who, &node.op.recipe(&shapes, device), &shapes, (device, true));
            let Some(tuning) = node.op.tuning(&shapes, device).filter(|_| variants) else { continue };
            for variant in &tuning.variants[1..] {
                let mut choices = Choices::default();
                choices.set(tuning.key.clone(), variant.clone());
                let chosen = Traits { choices, ..device.clone() };
                let recipe = node.op.recipe(&shapes, &chosen);
                self.recipe(&format!("{who}, {variant}"), &recipe, &shapes, (device, false));
            }
        }
    }

    fn recipe(
        &mut self,
        who: &str,
        recipe: &Recipe,
        shapes: &Shapes<'_>,
        (device, default): (&Traits, bool),
    ) {
        for Dispatch { kernel, bindings, groups } in &recipe.dispatches {
            let who = format!("{} of {who}", kernel.entry);
            if groups.iter().any(|&g| g == 0 || g > 65_535) {
                self.complaints.push(format!("{who}: a grid of {groups:?}"));
            }
            let bits: Vec<_> = kernel.constants.iter().map(|&(n, v)| (n, v.to_bits())).collect();
            let types: Vec<_> = bindings.iter().map(|&(_, operand)| element_type(operand, shapes)).collect();
            let identity = (kernel.text.clone(), kernel.entry, bits, format!("{bindings:?} {types:?}"));
            let at = *self.known.entry(identity).or_insert_with(|| {
                let (kernel, bindings) = (kernel.clone(), bindings.clone());
                self.list.push(Subject { kernel, bindings, types, who, plain: false, default: false });
                self.list.len() - 1
            });
            self.list[at].plain |= device.lanes == 0;
            self.list[at].default |= default;
        }
    }
}

/// A kernel's text, parsed and validated.
pub type Checked = Arc<(Module, ModuleInfo)>;

/// Parses and validates a text for devices with every feature that kernels may use.
pub fn parse(text: &str) -> Result<Checked, String> {
    let module = ops::parse(text)?;
    let capabilities =
        Capabilities::SUBGROUP | Capabilities::SHADER_FLOAT16 | Capabilities::COOPERATIVE_MATRIX;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(text))?;
    Ok(Arc::new((module, info)))
}

/// The module with one entry point and numbers in place of its constants.
pub fn specialized(checked: &Checked, kernel: &Kernel) -> Result<Checked, String> {
    let constants: PipelineConstants =
        kernel.constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let entry = Some((ShaderStage::Compute, kernel.entry));
    let made = process_overrides(&checked.0, &checked.1, entry, &constants);
    let (module, info) = made.map_err(|error| error.to_string())?;
    Ok(Arc::new((module.into_owned(), info.into_owned())))
}

/// Whether a module uses matrix units.
pub fn uses_matrix_units(module: &Module) -> bool {
    let others = Capabilities::SHADER_FLOAT16 | Capabilities::SUBGROUP;
    Validator::new(ValidationFlags::all(), others).validate(module).is_err()
}

/// Whether a module uses 16-bit floats.
pub fn uses_f16(module: &Module) -> bool {
    let others = Capabilities::SUBGROUP | Capabilities::COOPERATIVE_MATRIX;
    Validator::new(ValidationFlags::all(), others).validate(module).is_err()
}

/// Whether a module uses subgroup operations.
pub fn uses_subgroups(module: &Module) -> bool {
    let others = Capabilities::SHADER_FLOAT16 | Capabilities::COOPERATIVE_MATRIX;
    Validator::new(ValidationFlags::all(), others).validate(module).is_err()
}
