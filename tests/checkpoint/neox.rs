//! Weight files of GPT-NeoX: matrices as PyTorch's `Linear`, query, key and value head after head.

use normfree::config::{Config, Precision};
use normfree::model::parameters;
use normfree::train::checkpoint::{ModelTensors, NamedTensor, Spec, export, import};
use safetensors::{Dtype, SafeTensors};

use super::weights::Foreign;
use super::{any_bits, assert_same_bits};

const WIDTH: usize = 24;
const HEADS: usize = 3;
const INNER: usize = 20;
const VOCABULARY: usize = 11;

/// A tiny model, its layout, and what it holds.
fn model(changes: &[&str]) -> (ModelTensors, Vec<Spec>) {
    let text = format!(
        "[model]\nfamily = \"gpt_neox\"\nn_layer = 2\nn_head = {HEADS}\nn_embd = {WIDTH}\nn_inner = {INNER}\n\
         n_positions = 16\nvocab_size = {VOCABULARY}\nnorm = \"layer_norm\"\nactivation_function = \"gelu\"\n\
         [data]\npath = \"unused\"\n[train]\nsteps = 1\nbatch_size = 1\nlearning_rate = 1e-3\n\
         checkpoint_every = 1\neval_every = 1\n"
    );
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    let config = Config::parse(&text, "test", &changes).unwrap();
    let parameters = parameters(&config.model, true, Precision::F32);
    let layout = ModelTensors::of(config.model.family, &parameters);
    (layout, parameters.into_iter().map(|p| Spec::new(p.name, p.shape)).collect())
}

/// The file as another program writes it. The place of every element is computed by a formula.
fn foreign(tensors: &[NamedTensor], specs: &[Spec]) -> Foreign {
    let mut file = Foreign::default();
    let columns = |module: &str| {
        let weight = specs.iter().find(|spec| spec.name == format!("{module}.weight")).unwrap();
        *weight.shape.last().unwrap()
    };
    for NamedTensor { name, shape, data } in tensors {
        let module = name.rsplit_once('.').unwrap().0;
        let packed = name.contains("query_key_value");
        let head = WIDTH / HEADS;
        let order = |out: usize| match packed {
            true => out % (3 * head) / head * WIDTH + out / (3 * head) * head + out % head,
            false => out,
        };
        match shape[..] {
            [rows, columns] if !name.contains("embed") => {
                let out = (0..columns).flat_map(|out| (0..rows).map(move |row| (row, out)));
                let values: Vec<f32> = out.map(|(row, out)| data[row * columns + order(out)]).collect();
                file.add(name, &[columns, rows], &values);
            }
            [length] if name.ends_with(".bias") && packed => {
                let value = |out| if order(out) < length { data[order(out)] } else { 0.0 };
                file.add(name, &[3 * WIDTH], &(0..3 * WIDTH).map(value).collect::<Vec<_>>());
            }
            _ => file.add(name, shape, data),
        }
        let linear = shape.len() == 2 && !name.contains("embed");
        if linear && !tensors.iter().any(|t| t.name == format!("{module}.bias")) {
            file.add(&format!("{module}.bias"), &[columns(module)], &vec![0.0; columns(module)]);
        }
    }
    file
}

#[test]
fn come_back_bit_for_bit_and_are_what_the_formula_says() {
    let folder = tempfile::tempdir().unwrap();
    let learned = "model.activation_function=learnable_lrelu";
    for (seed, changes) in [
        &[][..],
        &["model.bias=query_key"],
        &["model.bias=none", "model.norm=none", learned, "model.slope_scope=shared"],
        &["model.final_norm=false", learned],
    ]
    .into_iter()
    .enumerate()
    {
        let (layout, specs) = model(changes);
        assert_eq!(layout.held(), specs);
        let tensors = any_bits(&specs, seed as u64);
        let path = folder.path().join("model.safetensors");
        export(&path, &layout, &mut tensors.as_slice()).unwrap();
        assert_same_bits(&import(&path, &layout).unwrap(), &tensors);
        let written = std::fs::read(&path).unwrap();
        let written = SafeTensors::deserialize(&written).unwrap();
        let wanted = foreign(&tensors, &specs);
        assert_eq!(written.len(), wanted.0.len(), "{:?}", written.names());
        for (name, dtype, shape, bytes) in &wanted.0 {
            let found = written.tensor(name).unwrap();
            assert_eq!((found.dtype(), found.shape()), (*dtype, &shape[..]), "{name}");
            assert!(found.data() == bytes, "{name} of {changes:?}");
        }
        assert_same_bits(&import(&wanted.write(folder.path()), &layout).unwrap(), &tensors);
    }
}

#[test]
fn are_read_from_the_forms_hugging_face_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (layout, specs) = model(&[]);
    let tensors = any_bits(&specs, 5);
    let mut file = foreign(&tensors, &specs);
    // Buffers of older versions: the causal mask, the value that masks a score, the frequencies of the rotation.
    file.add_raw("gpt_neox.layers.0.attention.bias", Dtype::BOOL, &[1, 1, 4, 4], vec![1; 16]);
    file.add("gpt_neox.layers.1.attention.masked_bias", &[], &[-1e9]);
    file.add("gpt_neox.layers.1.attention.rotary_emb.inv_freq", &[1], &[1.0]);
    assert_same_bits(&import(&file.write(folder.path()), &layout).unwrap(), &tensors);
    for tensor in &mut file.0 {
        tensor.0 = tensor.0.replace("gpt_neox.", "");
    }
    assert_same_bits(&import(&file.write(folder.path()), &layout).unwrap(), &tensors);
}

#[test]
fn tensors_that_do_not_fit_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let (layout, specs) = model(&["model.bias=query_key"]);
    let tensors = any_bits(&specs, 6);
    let mut file = foreign(&tensors, &specs);
    file.remove("embed_out.weight");
    file.remove("gpt_neox.layers.1.mlp.dense_h_to_4h.weight");
    // As the model has it, not as PyTorch's Linear.
    file.add("gpt_neox.layers.1.mlp.dense_h_to_4h.weight", &[WIDTH, INNER], &[0.0; WIDTH * INNER]);
    file.add("lm_head.weight", &[VOCABULARY, WIDTH], &[0.0; VOCABULARY * WIDTH]);
    let bias = &mut file.0.iter_mut().find(|t| t.0.ends_with("0.attention.query_key_value.bias")).unwrap().3;
    // The last element of the last head's value.
    let end = bias.len() - 4;
    bias[end..].copy_from_slice(&0.5_f32.to_le_bytes());
    let message = import(&file.write(folder.path()), &layout).unwrap_err().to_string();
    for part in [
        "found 1 missing, 1 extra, 1 of another shape, 1 with impossible values \
         (see n_layer, n_embd, vocab_size, norm and bias under [model]):",
        "\n  missing: embed_out.weight [11, 24]",
        "\n  extra: lm_head.weight [11, 24]",
        "\n  shape: gpt_neox.layers.1.mlp.dense_h_to_4h.weight is [24, 20], the model has [20, 24]",
        "\n  values: gpt_neox.layers.0.attention.query_key_value.bias holds 0.5, the model has no such bias for the value",
    ] {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
}
