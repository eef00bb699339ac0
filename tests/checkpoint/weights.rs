//! Weight files that fit: the format written, and the formats read.

use crate::layouts::gpt2 as layout;
use std::collections::HashMap;
use std::path::Path;

use normfree::fault::Result;
use normfree::train::checkpoint::{NamedTensor, Spec, TensorSource, export, import};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{Bias, D, any_bits, assert_same_bits, parameters};

/// A file made by the safetensors crate itself, tensor by tensor.
#[derive(Clone, Default)]
pub struct Foreign(pub Vec<(String, Dtype, Vec<usize>, Vec<u8>)>);

impl Foreign {
    pub fn of(tensors: &[NamedTensor]) -> Self {
        let mut file = Self::default();
        for t in tensors {
            file.add(&t.name, &t.shape, &t.data);
        }
        file
    }

    pub fn add(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        self.add_raw(name, Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect());
    }

    pub fn add_raw(&mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) {
        self.0.push((name.to_owned(), dtype, shape.to_vec(), bytes));
    }

    pub fn remove(&mut self, name: &str) {
        let before = self.0.len();
        self.0.retain(|(there, ..)| there != name);
        assert_eq!(self.0.len() + 1, before, "{name} was not there");
    }

    pub fn bytes(&self) -> Vec<u8> {
        let views = self.0.iter().map(|(name, dtype, shape, bytes)| {
            (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    pub fn write(&self, folder: &Path) -> std::path::PathBuf {
        let path = folder.join("foreign.safetensors");
        std::fs::write(&path, self.bytes()).unwrap();
        path
    }
}

/// The model's tensors as a foreign GPT-2 file has them: missing biases as zeros.
pub fn as_gpt2(tensors: &[NamedTensor]) -> Foreign {
    let specs: Vec<Spec> = tensors.iter().map(NamedTensor::spec).collect();
    let mut file = Foreign::default();
    for entry in layout(&specs).entries() {
        let mut data =
            tensors.iter().find(|t| t.name == entry.name).map(|t| t.data.clone()).unwrap_or_default();
        // Biases are vectors, so the missing elements are at the end.
        data.resize(entry.filed().elements(), 0.0);
        file.add(&entry.name, &entry.shape, &data);
    }
    file
}

fn all_models() -> impl Iterator<Item = Vec<Spec>> {
    let biases = [Bias::All, Bias::QueryKey, Bias::None];
    biases
        .into_iter()
        .flat_map(|bias| [(true, false), (false, true)].map(|(norm, slopes)| parameters(norm, bias, slopes)))
}

#[test]
fn come_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for (seed, specs) in all_models().enumerate() {
        let layout = layout(&specs);
        assert_eq!(layout.held(), specs);
        let tensors = any_bits(&specs, seed as u64);
        let path = folder.path().join("model.safetensors");
        export(&path, &layout, &mut tensors.as_slice()).unwrap();
        assert_same_bits(&import(&path, &layout).unwrap(), &tensors);
    }
}

#[test]
fn are_what_hugging_face_reads() {
    let specs = parameters(true, Bias::QueryKey, true);
    let tensors = any_bits(&specs, 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    export(&path, &layout(&specs), &mut tensors.as_slice()).unwrap();

    let bytes = std::fs::read(&path).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();
    // Every tensor GPT2Model expects, whether this model has it or not.
    for layer in 0..2 {
        let h = format!("transformer.h.{layer}");
        for (name, columns) in
            [("attn.c_attn", 3 * D), ("attn.c_proj", D), ("mlp.c_fc", 4 * D), ("mlp.c_proj", D)]
        {
            let rows = if name == "mlp.c_proj" { 4 * D } else { D };
            assert_eq!(shape(&format!("{h}.{name}.weight")), [rows, columns]);
            assert_eq!(shape(&format!("{h}.{name}.bias")), [columns]);
        }
        for name in ["ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"] {
            assert_eq!(shape(&format!("{h}.{name}")), [D]);
        }
    }
    assert!(!file.names().iter().any(|name| name.contains("lm_head") || name.contains("wte.bias")));

    let bias = file.tensor("transformer.h.1.attn.c_attn.bias").unwrap();
    let held = tensors.iter().find(|t| t.name == "transformer.h.1.attn.c_attn.bias").unwrap();
    let (trained, zeros) = bias.data().split_at(2 * D * 4);
    assert!(trained.iter().copied().eq(held.data.iter().flat_map(|v| v.to_le_bytes())));
    assert!(zeros.iter().all(|byte| *byte == 0) && zeros.len() == D * 4);
    let frozen = file.tensor("transformer.h.0.mlp.c_fc.bias").unwrap();
    assert!(frozen.data().iter().all(|byte| *byte == 0));
}

#[test]
fn are_read_from_the_forms_hugging_face_writes() {
    let specs = parameters(true, Bias::All, false);
    let tensors = any_bits(&specs, 2);
    let layout = layout(&specs);
    let folder = tempfile::tempdir().unwrap();

    // With the head written out and the causal mask as a buffer, as in older versions.
    let mut whole = as_gpt2(&tensors);
    whole.add("lm_head.weight", &tensors[0].shape, &tensors[0].data);
    whole.add_raw("transformer.h.0.attn.bias", Dtype::U8, &[1, 1, 5, 5], vec![1; 25]);
    whole.add("transformer.h.1.attn.masked_bias", &[], &[-1e4]);
    assert_same_bits(&import(&whole.write(folder.path()), &layout).unwrap(), &tensors);

    // The bare decoder.
    for tensor in &mut whole.0 {
        tensor.0 = tensor.0.replace("transformer.", "");
    }
    assert_same_bits(&import(&whole.write(folder.path()), &layout).unwrap(), &tensors);
}

/// `attn.qk_attn` and `attn.v_attn` in place of `attn.c_attn`, as the paper's code writes them.
pub fn apart(tensors: &[NamedTensor]) -> Foreign {
    let mut file = Foreign::default();
    for (name, _, shape, bytes) in as_gpt2(tensors).0 {
        let Some((module, what)) = name.split_once("c_attn.") else {
            file.add_raw(&name, Dtype::F32, &shape, bytes);
            continue;
        };
        let (mut qk, mut v) = (Vec::new(), Vec::new());
        for row in bytes.chunks_exact(3 * D * 4) {
            qk.extend_from_slice(&row[..2 * D * 4]);
            v.extend_from_slice(&row[2 * D * 4..]);
        }
        let shape_of = |columns: usize| [&shape[..shape.len() - 1], &[columns]].concat();
        file.add_raw(&format!("{module}qk_attn.{what}"), Dtype::F32, &shape_of(2 * D), qk);
        file.add_raw(&format!("{module}v_attn.{what}"), Dtype::F32, &shape_of(D), v);
    }
    file
}

#[test]
fn are_read_with_query_key_and_value_apart() {
    let folder = tempfile::tempdir().unwrap();
    for specs in all_models() {
        let tensors = any_bits(&specs, 3);
        let path = apart(&tensors).write(folder.path());
        assert_same_bits(&import(&path, &layout(&specs)).unwrap(), &tensors);
    }
}

#[test]
fn need_not_hold_zeros_that_the_model_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let specs = parameters(false, Bias::QueryKey, true);
    let tensors = any_bits(&specs, 4);
    let mut file = apart(&tensors);
    for layer in 0..2 {
        for name in ["attn.v_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"] {
            file.remove(&format!("transformer.h.{layer}.{name}.bias"));
        }
    }
    let path = file.write(folder.path());
    assert_same_bits(&import(&path, &layout(&specs)).unwrap(), &tensors);
}

#[test]
fn are_read_from_half_precision() {
    let specs = [Spec::new("transformer.wte.weight", [2, 3]), Spec::new("transformer.wpe.weight", [1, 3])];
    let mut file = Foreign::default();
    let halves = |bits: &[u16]| bits.iter().flat_map(|b| b.to_le_bytes()).collect::<Vec<u8>>();
    // 1, -2, the largest, the smallest denormal, -0, infinity
    let f16 = halves(&[0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000, 0x7c00]);
    let bf16 = halves(&[0x3f80, 0xc000, 0x0001]);
    file.add_raw("wte.weight", Dtype::F16, &[2, 3], f16);
    file.add_raw("wpe.weight", Dtype::BF16, &[1, 3], bf16);
    let folder = tempfile::tempdir().unwrap();
    let read = import(&file.write(folder.path()), &layout(&specs)).unwrap();
    let expected = [
        vec![1.0, -2.0, 65504.0, 2f32.powi(-24), -0.0, f32::INFINITY],
        vec![1.0, -2.0, f32::from_bits(0x0001_0000)],
    ];
    for (tensor, expected) in read.iter().zip(expected) {
        assert!(tensor.data.iter().map(|v| v.to_bits()).eq(expected.iter().map(|v| v.to_bits())));
    }
}

#[test]
fn take_a_single_slope_as_scalar_or_vector() {
    let specs = [Spec::new("transformer.act.slopes", [1])];
    let folder = tempfile::tempdir().unwrap();
    for shape in [&[][..], &[1]] {
        let mut file = Foreign::default();
        file.add("transformer.act.slopes", shape, &[0.25]);
        let read = import(&file.write(folder.path()), &layout(&specs)).unwrap();
        assert_eq!((read[0].shape.as_slice(), read[0].data.as_slice()), (&[1][..], &[0.25][..]));
    }
}

/// Readers that map the file use the values in place.
#[test]
fn begin_their_values_aligned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for length in 1..=8 {
        let specs = [Spec::new("x".repeat(length), [3])];
        let tensors = any_bits(&specs, 9);
        export(&path, &layout(&specs), &mut tensors.as_slice()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (header, _) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header % 8, 0, "with a name of {length}");
    }
}

/// Larger than every buffer in use, so that pieces meet inside a tensor.
#[test]
fn come_back_when_they_are_large() {
    let specs =
        [Spec::new("transformer.wte.weight", [1021, 307]), Spec::new("transformer.wpe.weight", [1, 307])];
    let tensors = any_bits(&specs, 5);
    let layout = layout(&specs);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    export(&path, &layout, &mut tensors.as_slice()).unwrap();
    assert_same_bits(&import(&path, &layout).unwrap(), &tensors);

    let mut file = Foreign::of(&tensors);
    file.add("lm_head.weight", &tensors[0].shape, &tensors[0].data);
    assert_same_bits(&import(&file.write(folder.path()), &layout).unwrap(), &tensors);
    // Only the last element differs.
    let mut head = tensors[0].data.clone();
    *head.last_mut().unwrap() = f32::from_bits(head.last().unwrap().to_bits() ^ 1);
    file.remove("lm_head.weight");
    file.add("lm_head.weight", &tensors[0].shape, &head);
    let fault = import(&file.write(folder.path()), &layout).unwrap_err();
    assert!(fault.to_string().contains("lm_head.weight is not transformer.wte.weight"), "{fault}");
}

#[test]
fn keep_the_old_file_when_the_source_fails() {
    struct Failing(Vec<Spec>);
    impl TensorSource for Failing {
        fn specs(&self) -> Vec<Spec> {
            self.0.clone()
        }
        fn read(&mut self, index: usize) -> Result<std::borrow::Cow<'_, [f32]>> {
            use normfree::fault::{Fault, Kind};
            let values = vec![1.0; self.0[index].elements()];
            if index < 3 { Ok(values.into()) } else { Err(Fault::new(Kind::Device, "the device is lost")) }
        }
    }
    let specs = parameters(true, Bias::None, false);
    let layout = layout(&specs);
    let tensors = any_bits(&specs, 6);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    export(&path, &layout, &mut tensors.as_slice()).unwrap();
    let before = super::contents(folder.path());
    let fault = export(&path, &layout, &mut Failing(specs)).unwrap_err();
    assert_eq!(fault.to_string(), "the device is lost");
    assert!(super::contents(folder.path()) == before);
}

#[test]
fn are_written_for_the_model_of_the_layout_alone() {
    let specs = parameters(true, Bias::None, false);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut faults = HashMap::new();
    let mut tensors = any_bits(&specs, 7);
    tensors.push(NamedTensor { name: "more".to_owned(), shape: vec![1], data: vec![0.0] });
    faults.insert("more [1]", export(&path, &layout(&specs), &mut tensors.as_slice()));
    faults.insert(
        "transformer.wte.weight [11, 6]",
        export(&path, &layout(&specs), &mut &any_bits(&specs[1..], 7)[..]),
    );
    for (place, fault) in faults {
        assert!(fault.unwrap_err().to_string().ends_with(place));
    }
    assert!(!path.exists());
}
