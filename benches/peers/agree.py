#!/usr/bin/env python3
"""The same step from the same weights, here and in PyTorch in f64: loss, gradient norm, and the entropy of every head.

Needs torch, numpy and safetensors. See README.md beside this file.
"""

import argparse
import json
import math
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

LAYERS, HEADS, WIDTH, LENGTH, BATCH, VOCABULARY = 4, 4, 64, 128, 4, 2048

CONFIG = f"""
[model]
n_layer = {LAYERS}
n_head = {HEADS}
n_embd = {WIDTH}
n_positions = {LENGTH}
vocab_size = {VOCABULARY}
norm = "layer_norm"
activation_function = "gelu"
embd_pdrop = 0.0
initializer_range = 0.07

[data]
path = "data"
order = "sequential"

[train]
steps = 30
batch_size = {BATCH}
learning_rate = 1e-3
checkpoint_every = 30
eval_every = 30
eval_chunks = 8

[observe]
entropy_every = 1
tensorboard = false
"""


def here(given, folder, norm, activation):
    """Trains a little, takes one more step from those weights, and returns the weights and what the step logged."""
    command = [given.normfree, "train", "config.toml", "--device", given.device, "--plain", "-q"]
    command += ["--set", f"model.norm={norm}", "--set", f"model.activation_function={activation}"]
    for run in ("before", "step"):
        shutil.rmtree(folder / run, ignore_errors=True)
    subprocess.run([*command, "--run", "before"], check=True, cwd=folder, stdout=subprocess.DEVNULL)
    weights = "before/checkpoints/step-00000030/model.safetensors"
    more = ["--run", "step", "--set", "train.steps=1", "--set", f"train.init_from={weights}"]
    subprocess.run([*command, *more], check=True, cwd=folder, stdout=subprocess.DEVNULL)
    records = [json.loads(line) for line in (folder / "step/metrics.jsonl").read_text().splitlines()]
    first = {record["kind"]: record for record in reversed(records)}
    return folder / weights, first["step"]["loss"], first["step"]["grad_norm"], first["attention"]["head_entropy"]


def there(weights, tokens, norm, activation):
    """The same in f64."""
    parameters = {name: value.double().requires_grad_() for name, value in load_file(weights).items()}

    def of(name):
        return parameters["transformer." + name]

    def linear(x, name):
        return x @ of(name + ".weight") + of(name + ".bias")

    def normalized(x, name):
        return F.layer_norm(x, (WIDTH,), of(name + ".weight"), of(name + ".bias"), 1e-5)

    activate = F.gelu if activation == "gelu" else F.relu
    hidden = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    x = of("wte.weight")[tokens] + of("wpe.weight")[:LENGTH]
    entropies = []
    for layer in range(LAYERS):
        block = f"h.{layer}."
        a = normalized(x, block + "ln_1") if norm == "layer_norm" else x
        parts = linear(a, block + "attn.c_attn").split(WIDTH, -1)
        query, key, value = (part.view(BATCH, LENGTH, HEADS, -1).transpose(1, 2) for part in parts)
        scores = query @ key.transpose(-1, -2) / math.sqrt(WIDTH // HEADS)
        maps = scores.masked_fill(hidden, -math.inf).softmax(-1)
        entropies.append(torch.special.entr(maps).sum(-1).mean((0, 2)).tolist())
        x = x + linear((maps @ value).transpose(1, 2).reshape(BATCH, LENGTH, WIDTH), block + "attn.c_proj")
        m = normalized(x, block + "ln_2") if norm == "layer_norm" else x
        x = x + linear(activate(linear(m, block + "mlp.c_fc")), block + "mlp.c_proj")
    logits = normalized(x, "ln_f") @ of("wte.weight").T
    loss = F.cross_entropy(logits[:, :-1].reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))
    loss.backward()
    squares = 0.0
    for name, parameter in parameters.items():
        # Biases that the file has and the model has not: they are zero, and stay it.
        absent = name.endswith(("c_proj.bias", "c_fc.bias"))
        if parameter.grad is not None and not absent:
            gradient = parameter.grad[: 2 * WIDTH] if name.endswith("c_attn.bias") else parameter.grad
            squares += float(gradient.square().sum())
    return loss.item(), math.sqrt(squares), entropies


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--normfree", default="target/release/normfree")
    parser.add_argument("--device", default="cpu", help="of normfree")
    given = parser.parse_args()
    given.normfree = str(Path(given.normfree).resolve())
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "config.toml").write_text(CONFIG)
        prepare = ["prepare", "auto", "--out", "data", "--vocab-size", str(VOCABULARY), "-q"]
        subprocess.run([given.normfree, *prepare], check=True, cwd=folder, stdout=subprocess.DEVNULL)
        tokens = np.fromfile(folder / "data/train.bin", dtype="<u2", count=BATCH * LENGTH)
        tokens = torch.from_numpy(tokens.reshape(BATCH, LENGTH).astype(np.int64))
        print("| | loss | gradient norm, relative | entropy of a head, at most |\n| --- | --- | --- | --- |")
        for norm in ("layer_norm", "none"):
            for activation in ("gelu", "relu"):
                weights, loss, gradient, entropies = here(given, folder, norm, activation)
                other_loss, other_gradient, other_entropies = there(weights, tokens, norm, activation)
                apart = np.abs(np.array(entropies) - np.array(other_entropies)).max()
                relative = gradient / other_gradient - 1
                print(f"| {norm}, {activation} | {loss - other_loss:+.1e} | {relative:+.1e} | {apart:.1e} |")


if __name__ == "__main__":
    main()
