//! Weight files that are refused: one clear message each, listing everything.

use crate::layouts::gpt2 as layout;
use std::path::{Path, PathBuf};

use normfree::fault::Kind;
use normfree::train::checkpoint::{ModelTensors, NamedTensor, import};
use safetensors::Dtype;

use super::weights::{Foreign, apart, as_gpt2};
use super::{Bias, D, any_bits, parameters};

fn model(bias: Bias) -> (ModelTensors, Vec<NamedTensor>) {
    let specs = parameters(true, bias, false);
    (layout(&specs), any_bits(&specs, 8))
}

/// The message when importing `path`, without the path itself.
#[track_caller]
fn refusal(path: &Path, layout: &ModelTensors) -> String {
    let fault = import(path, layout).unwrap_err();
    assert_eq!(fault.kind, Kind::Checkpoint, "{fault}");
    let message = fault.to_string();
    let place = format!(", at {}", path.display());
    assert!(message.contains(&place), "{message}");
    message.replace(&place, "")
}

#[test]
fn everything_wrong_is_listed_at_once() {
    let (layout, tensors) = model(Bias::QueryKey);
    let mut file = as_gpt2(&tensors);
    file.remove("transformer.wpe.weight");
    file.remove("transformer.h.1.ln_2.bias");
    file.remove("transformer.wte.weight");
    file.add("transformer.wte.weight", &[3, D], &[0.0; 3 * D]);
    file.add("transformer.h.2.ln_1.weight", &[D], &[1.0; D]);
    file.add("classifier.weight", &[2], &[1.0; 2]);
    file.remove("transformer.h.0.mlp.c_fc.weight");
    file.add_raw("transformer.h.0.mlp.c_fc.weight", Dtype::I64, &[D, 4 * D], vec![0; D * 4 * D * 8]);
    file.remove("transformer.h.0.mlp.c_proj.bias");
    file.add("transformer.h.0.mlp.c_proj.bias", &[D], &[0.0, 0.0, 0.5, 0.0, 0.0, 0.0]);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        refusal(&file.write(folder.path()), &layout),
        "the weights do not fit the model: found 2 missing, 2 extra, 1 of another shape, 2 with impossible values \
         (see n_layer, n_embd, n_positions, vocab_size, norm and bias under [model]):\
         \n  missing: transformer.wpe.weight [5, 6]\
         \n  missing: transformer.h.1.ln_2.bias [6]\
         \n  extra: classifier.weight [2]\
         \n  extra: transformer.h.2.ln_1.weight [6]\
         \n  shape: transformer.wte.weight is [3, 6], the model has [11, 6]\
         \n  values: transformer.h.0.mlp.c_fc.weight holds I64; only F32, F16 and BF16 can be read\
         \n  values: transformer.h.0.mlp.c_proj.bias holds 0.5, the model has no such bias: it must be zero"
    );
}

#[test]
fn a_bias_that_the_model_lacks() {
    let (layout, tensors) = model(Bias::QueryKey);
    let folder = tempfile::tempdir().unwrap();
    for (mut file, name) in [(as_gpt2(&tensors), "attn.c_attn.bias"), (apart(&tensors), "attn.v_attn.bias")] {
        let name = format!("transformer.h.1.{name}");
        let last = &mut file.0.iter_mut().find(|t| t.0 == name).unwrap().3;
        let end = last.len() - 4;
        last[end..].copy_from_slice(&f32::NAN.to_le_bytes());
        let message = refusal(&file.write(folder.path()), &layout);
        assert!(
            message.contains(&format!("\n  values: {name} holds NaN, the model has no such bias")),
            "{message}"
        );
    }
    // A negative zero is a zero.
    let mut file = as_gpt2(&tensors);
    let bias = &mut file.0.iter_mut().find(|t| t.0 == "transformer.h.0.mlp.c_fc.bias").unwrap().3;
    bias[..4].copy_from_slice(&(-0f32).to_le_bytes());
    import(&file.write(folder.path()), &layout).unwrap();
}

#[test]
fn a_head_that_is_not_tied() {
    let (layout, tensors) = model(Bias::All);
    let folder = tempfile::tempdir().unwrap();
    let mut head = tensors[0].data.clone();
    head[7] = f32::from_bits(head[7].to_bits() ^ 1);
    let mut file = as_gpt2(&tensors);
    file.add("lm_head.weight", &tensors[0].shape, &head);
    let message = refusal(&file.write(folder.path()), &layout);
    let expected = "values: lm_head.weight is not transformer.wte.weight, to which the model's head is tied";
    assert!(message.ends_with(expected), "{message}");
}

#[test]
fn query_and_key_without_value() {
    let (layout, tensors) = model(Bias::QueryKey);
    let folder = tempfile::tempdir().unwrap();
    let mut file = apart(&tensors);
    file.remove("transformer.h.0.attn.v_attn.weight");
    file.remove("transformer.h.1.attn.qk_attn.bias");
    let message = refusal(&file.write(folder.path()), &layout);
    assert!(message.contains("found 2 missing ("), "{message}");
    assert!(message.contains("\n  missing: transformer.h.0.attn.v_attn.weight [6, 6]"), "{message}");
    assert!(message.contains("\n  missing: transformer.h.1.attn.qk_attn.bias [12]"), "{message}");
}

#[test]
fn one_tensor_under_two_names() {
    let (layout, tensors) = model(Bias::All);
    let folder = tempfile::tempdir().unwrap();
    let mut file = as_gpt2(&tensors);
    file.add("wpe.weight", &tensors[1].shape, &tensors[1].data);
    let message = refusal(&file.write(folder.path()), &layout);
    assert!(message.contains("1 extra") && message.contains("the same tensor twice"), "{message}");
    let mut file = as_gpt2(&tensors);
    file.0.extend(apart(&tensors).0.into_iter().filter(|t| t.0.contains("v_attn.weight")));
    let message = refusal(&file.write(folder.path()), &layout);
    assert!(message.contains("\n  extra: transformer.h.0.attn.v_attn.weight [6, 6]"), "{message}");
}

#[test]
fn files_of_other_formats_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (layout, tensors) = model(Bias::All);
    let file = |bytes: &[u8]| -> PathBuf {
        let path = folder.path().join("model.safetensors");
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let good = as_gpt2(&tensors).bytes();
    import(&file(&good), &layout).unwrap();
    let bogus_header = [&good[..8], b"}", &good[9..]].concat();
    let mut overlapping = Foreign::of(&tensors[..2]).bytes();
    let header = String::from_utf8_lossy(&overlapping).find("[0,").unwrap();
    overlapping[header + 1] = b'4';
    let length = good.len();
    let header_length = u64::from_le_bytes(*good.first_chunk().unwrap());
    let cases: [(&[u8], &str); 10] = [
        (b"", "an empty file; copy it again"),
        (b"abc", "only 3 bytes; give a .safetensors file"),
        (b"PK\x03\x04 pytorch_model.bin", "a PyTorch file (a zip archive or a pickle); convert it first"),
        (b"\x80\x02}q\x00 pickled", "a PyTorch file (a zip archive or a pickle); convert it first"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer in place of the file; fetch"),
        (b"just some text, much of it", "no safetensors header; give a .safetensors file"),
        (&good[..100], &format!("a header of {header_length} bytes in a file of 100;")),
        (&bogus_header, "a header that cannot be understood"),
        (&overlapping, "a header that cannot be understood"),
        (&[8u64.to_le_bytes(), *b"[1,2,3] "].concat(), "a header that cannot be understood"),
    ];
    for (bytes, expected) in cases {
        let message = refusal(&file(bytes), &layout);
        let expected = format!("not a safetensors file: found {expected}");
        assert!(message.starts_with(&expected), "{message}\nis not\n{expected}");
    }
    let more = [good.as_slice(), &[0]].concat();
    for (bytes, what, found) in
        [(&good[..length - 1], "is cut short", length - 1), (&more, "has too many bytes", length + 1)]
    {
        assert_eq!(
            refusal(&file(bytes), &layout),
            format!(
                "the weight file {what}: found {found} bytes, where its header implies {length}; copy it again from its source"
            )
        );
    }
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert_eq!(
        refusal(&empty, &layout),
        "the folder has no weights that can be read: found neither model.safetensors nor model.safetensors.index.json; \
         give a folder with either, or the .safetensors file itself"
    );
    let nowhere = folder.path().join("nowhere.safetensors");
    assert_eq!(import(&nowhere, &layout).unwrap_err().kind, Kind::Io);
}

/// Whatever bytes are changed, reading ends in weights or in a fault, never in a panic.
#[test]
fn any_damage_is_found() {
    let (layout, tensors) = model(Bias::QueryKey);
    let good = as_gpt2(&tensors).bytes();
    let header = 8 + u64::from_le_bytes(*good.first_chunk().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let seed = 9;
    println!("seed {seed}");
    let mut random = super::Random(seed);
    let mut refused = 0;
    for _ in 0..2000 {
        let mut bytes = good.clone();
        for _ in 0..=random.next() % 3 {
            let at = (random.next() % header) as usize;
            bytes[at] = random.next() as u8;
        }
        std::fs::write(&path, bytes).unwrap();
        if let Err(fault) = import(&path, &layout) {
            assert_eq!(fault.kind, Kind::Checkpoint, "{fault}");
            refused += 1;
        }
    }
    assert!(refused > 1500, "only {refused} of 2000 were refused");
}
