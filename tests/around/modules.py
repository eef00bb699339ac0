"""Writes modules.json: values and gradients of modules in PyTorch, in double precision, with which tests/around/activations.rs compares
the program's ops. Run it in this folder, with any PyTorch 2: python modules.py > modules.json"""

import json
import torch
import torch.nn.functional as F

ACTIVATIONS = {"silu": F.silu, "gelu": F.gelu, "relu": F.relu, "selu": F.selu, "hard_swish": F.hardswish}


class GatedLinearUnit(torch.nn.Module):
    """SwiGLU, GeGLU or ReGLU behind its first matrix, whose columns are gate | up."""

    def __init__(self, activation):
        super().__init__()
        self.activation = activation

    def forward(self, packed):
        gate, up = packed.chunk(2, dim=-1)
        return self.activation(gate) * up


class OutputGate(torch.nn.Module):
    """The gate on attention's output of arXiv 2505.06708: one score for each element, or for each of two heads."""

    def forward(self, heads, scores):
        rows, width = heads.shape
        by_head = heads.view(rows, scores.shape[1], -1)
        return (by_head * torch.sigmoid(scores).unsqueeze(-1)).view(rows, width)


def module(kind, of, rows, width, shapes):
    inputs = [torch.randn(rows, n, dtype=torch.float64) * 1.5 for n in shapes]
    inputs = [x.requires_grad_() for x in inputs]
    output = of(*inputs)
    incoming = torch.randn_like(output)
    output.backward(incoming)
    numbers = lambda t: [float(f"{v:.12g}") for v in t.detach().flatten().tolist()]
    # What is compared starts from what the file holds.
    return {
        "kind": kind,
        "rows": rows,
        "width": width,
        "inputs": [numbers(x) for x in inputs],
        "incoming": numbers(incoming),
        "output": numbers(output),
        "gradients": [numbers(x.grad) for x in inputs],
    }


torch.manual_seed(1)
modules = []
for rows, width in [(1, 8), (2, 8), (3, 16)]:
    for word in ["silu", "gelu", "relu"]:
        modules.append(module(f"gated {word}", GatedLinearUnit(ACTIVATIONS[word]), rows, width, [2 * width]))
    modules.append(module("gate element", OutputGate(), rows, width, [width, width]))
    modules.append(module("gate head", OutputGate(), rows, width, [width, 2]))
    for word in ["silu", "selu", "hard_swish"]:
        modules.append(module(f"act {word}", ACTIVATIONS[word], rows, width, [width]))
print("[\n" + ",\n".join(json.dumps(m) for m in modules) + "\n]")
