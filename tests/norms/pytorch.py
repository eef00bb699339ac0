"""Writes pytorch.json: DyT and Derf as PyTorch modules, in float64: values and gradients at three shapes.

    python tests/norms/pytorch.py > tests/norms/pytorch.json
"""

import json

import torch


class Bounded(torch.nn.Module):
    """f(alpha x + shift) weight + bias; DyT has no shift."""

    def __init__(self, width, function, shifted):
        super().__init__()
        self.function = function
        self.alpha = torch.nn.Parameter(torch.full([1], 0.5))
        self.shift = torch.nn.Parameter(torch.zeros(1)) if shifted else None
        self.weight = torch.nn.Parameter(torch.ones(width))
        self.bias = torch.nn.Parameter(torch.zeros(width))

    def forward(self, x):
        u = self.alpha * x
        if self.shift is not None:
            u = u + self.shift
        return self.function(u) * self.weight + self.bias


def draw(*shape):
    """Multiples of 1/1024, which are the same in f32."""
    return (torch.randn(*shape) * 1024).round() / 1024


def numbers(tensor):
    return [float(f"{number:.14g}") for number in tensor.detach().flatten().tolist()]


torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
cases = []
for word, function in (("dyt", torch.tanh), ("derf", torch.erf)):
    for rows, width in ((1, 3), (4, 5), (3, 12)):
        norm = Bounded(width, function, word == "derf")
        learned = dict(norm.named_parameters())
        with torch.no_grad():
            for name, parameter in learned.items():
                parameter.copy_(draw(*parameter.shape) * (0.25 if name == "shift" else 1.0) + (name == "alpha"))
        x = (2 * draw(rows, width)).requires_grad_()
        dy = draw(rows, width)
        y = norm(x)
        y.backward(dy)
        case = {"norm": word, "shape": [rows, width], "x": numbers(x), "dy": numbers(dy), "y": numbers(y)}
        case["dx"] = numbers(x.grad)
        for name, parameter in learned.items():
            case[name] = numbers(parameter)
            case["d_" + name] = numbers(parameter.grad)
        cases.append(case)
print("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]")
