//! A reader of an exported GPT-2 folder in f64, with or without norms: nothing of the program is in it.

use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

pub struct Gpt2 {
    tensors: HashMap<String, (Vec<usize>, Vec<f64>)>,
    config: Value,
}

type Rows = Vec<Vec<f64>>;

impl Gpt2 {
    pub fn read(folder: &Path) -> Self {
        let config = std::fs::read(folder.join("config.json")).unwrap();
        let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |(name, tensor): (&str, safetensors::tensor::TensorView<'_>)| {
            let values =
                tensor.data().as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes)));
            (name.to_owned(), (tensor.shape().to_vec(), values.collect()))
        };
        let tensors = file.iter().map(tensor).collect();
        Self { tensors, config: serde_json::from_slice(&config).unwrap() }
    }

    fn size(&self, key: &str) -> usize {
        self.config[key].as_u64().unwrap() as usize
    }

    /// x·W + b with W [in, out].
    fn linear(&self, x: &Rows, name: &str) -> Rows {
        let (shape, w) = &self.tensors[&format!("transformer.{name}.weight")];
        let (_, b) = &self.tensors[&format!("transformer.{name}.bias")];
        let row = |x: &Vec<f64>| {
            let sum = |out: usize| x.iter().enumerate().map(|(i, x)| x * w[i * shape[1] + out]).sum::<f64>();
            (0..shape[1]).map(|out| sum(out) + b[out]).collect()
        };
        x.iter().map(row).collect()
    }

    /// LayerNorm, where the file has its parameters.
    fn norm(&self, x: &Rows, name: &str) -> Rows {
        let Some((_, gain)) = self.tensors.get(&format!("transformer.{name}.weight")) else {
            return x.clone();
        };
        let (_, bias) = &self.tensors[&format!("transformer.{name}.bias")];
        let epsilon = self.config["layer_norm_epsilon"].as_f64().unwrap();
        let row = |x: &Vec<f64>| {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64;
            let scale = (variance + epsilon).sqrt();
            x.iter().enumerate().map(|(i, v)| (v - mean) / scale * gain[i] + bias[i]).collect()
        };
        x.iter().map(row).collect()
    }

    fn attention(&self, x: &Rows, layer: usize) -> Rows {
        let (width, heads) = (self.size("n_embd"), self.size("n_head"));
        let head = width / heads;
        let qkv = self.linear(x, &format!("h.{layer}.attn.c_attn"));
        let mut out = vec![vec![0.0; width]; x.len()];
        for h in 0..heads {
            for (i, out) in out.iter_mut().enumerate() {
                let dot = |j: usize| -> f64 {
                    let at = |part: usize, row: usize, c: usize| qkv[row][part * width + h * head + c];
                    (0..head).map(|c| at(0, i, c) * at(1, j, c)).sum::<f64>() / (head as f64).sqrt()
                };
                let scores: Vec<f64> = (0..=i).map(dot).collect();
                let peak = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - peak).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for c in 0..head {
                    let value = |(j, w): (usize, &f64)| w / sum * qkv[j][2 * width + h * head + c];
                    out[h * head + c] = weights.iter().enumerate().map(value).sum();
                }
            }
        }
        self.linear(&out, &format!("h.{layer}.attn.c_proj"))
    }

    fn activation(&self, x: f64) -> f64 {
        match self.config.get("activation").unwrap_or(&self.config["activation_function"]).as_str().unwrap() {
            "relu" => x.max(0.0),
            "gelu_new" => {
                let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                0.5 * x * (1.0 + u.tanh())
            }
            other => panic!("{other}"),
        }
    }

    /// Logits after each token.
    pub fn logits(&self, tokens: &[usize]) -> Rows {
        let width = self.size("n_embd");
        let row = |name: &str, row: usize| {
            self.tensors[&format!("transformer.{name}.weight")].1[row * width..][..width].to_vec()
        };
        let add = |a: Rows, b: Rows| -> Rows {
            let sum = |(a, b): (Vec<f64>, Vec<f64>)| a.iter().zip(b).map(|(a, b)| a + b).collect();
            a.into_iter().zip(b).map(sum).collect()
        };
        let embedded: Rows = tokens.iter().map(|&token| row("wte", token)).collect();
        let mut x = add(embedded, (0..tokens.len()).map(|place| row("wpe", place)).collect());
        for layer in 0..self.size("n_layer") {
            let a = self.attention(&self.norm(&x, &format!("h.{layer}.ln_1")), layer);
            x = add(x, a);
            let mut f =
                self.linear(&self.norm(&x, &format!("h.{layer}.ln_2")), &format!("h.{layer}.mlp.c_fc"));
            f.iter_mut().flatten().for_each(|unit| *unit = self.activation(*unit));
            x = add(x, self.linear(&f, &format!("h.{layer}.mlp.c_proj")));
        }
        let x = self.norm(&x, "ln_f");
        let table = &self.tensors["transformer.wte.weight"].1;
        let logits = |x: &Vec<f64>| {
            table.chunks(width).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
        };
        x.iter().map(logits).collect()
    }
}
