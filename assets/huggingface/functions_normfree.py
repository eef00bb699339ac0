"""The functions of normfree's decoders: bounded functions, norms, activations, each under its word in the configuration."""

import math

import torch
import torch.nn.functional as F


def steep(u):
    """|u|, but no less than where a root's slope is still finite."""
    return u.abs().clamp_min(1e-12)


# Bounded functions f(u) of the norms `bounded`, `dyt`, `derf` and `hard_tanh`.
FUNCTIONS = {
    "tanh": torch.tanh,
    "erf": torch.erf,
    "isru": lambda u: u / torch.sqrt(u * u + 1),
    "expsign": lambda u: -torch.sign(u) * torch.expm1(-u.abs()),
    "exproot": lambda u: -torch.sign(u) * torch.expm1(-steep(u).sqrt()),
    "arctan": torch.atan,
    "satursin": lambda u: torch.sin(u.clamp(-math.pi / 2, math.pi / 2)),
    "smoothsign": lambda u: u / (1 + u.abs()),
    "saturlog": lambda u: torch.sign(u) * (lambda log: log / (1 + log))(torch.log1p(u.abs())),
    "relsign": lambda u: u / (1 + torch.sqrt(u * u + 1)),
    "cubsign": lambda u: u**3 / (1 + u.abs() ** 3),
    "linear_clip": lambda u: u.clamp(-1, 1),
    "logsign_clip": lambda u: torch.sign(u) * torch.log1p(u.abs()).clamp_max(1),
    "logquad_clip": lambda u: torch.sign(u) * torch.log1p(u * u).clamp_max(1),
    "power23_clip": lambda u: torch.sign(u) * (steep(u) ** (2 / 3)).clamp_max(1),
}


def inverse_rms(x, epsilon):
    return torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)


def layer_norm(x, p, config):
    return F.layer_norm(x, x.shape[-1:], p["weight"], p["bias"], config.layer_norm_epsilon)


def rms_norm(x, p, config):
    return x * inverse_rms(x, config.layer_norm_epsilon) * p["weight"]


def crms_norm(x, p, config):
    squares = x.square().sum(-1, keepdim=True) + x.sum(-1, keepdim=True).square()
    return x * torch.rsqrt(squares / (x.shape[-1] + 1) + config.layer_norm_epsilon) * p["weight"]


def bounded_by(word):
    """γ·f(α·x + s) + β with the function of that word, or with the one that the configuration picks."""

    def norm(x, p, config):
        u = x * p["alpha"] if "alpha" in p else x
        u = u + p["shift"] if "shift" in p else u
        return FUNCTIONS[word or config.norm_function](u) * p["weight"] + p["bias"]

    return norm


def dyisru(x, p, config):
    return x * torch.rsqrt(p["spread"] + x * x) * p["weight"] + p["bias"]


def seed_norm(x, p, config):
    turn = torch.tanh((x * p["beta"]).sum(-1, keepdim=True))
    return x * inverse_rms(x, config.layer_norm_epsilon) * (turn * p["alpha"] + p["weight"])


def bhyt(x, p, config, variance=None):
    """`variance` is an estimate of the rows' mean squares, where another norm has measured them."""
    variance = x.square().mean(-1, keepdim=True) if variance is None else variance
    scale = torch.rsqrt(variance + config.layer_norm_epsilon) / config.kappa
    return torch.tanh(p["lam"] * scale * x) * p["weight"]


def taper_norm(x, p, config):
    gate, scale = p["taper"][0], p["taper"][1]
    return x * (gate * inverse_rms(x, config.layer_norm_epsilon) + (1 - gate) * scale) * p["weight"]


def power_norm(x, p, config):
    x = x * inverse_rms(x, config.layer_norm_epsilon)
    return unified_norm(x, p, config)


def unified_norm(x, p, config):
    """By the running mean squares of the columns, which only normfree's own training changes."""
    return x * torch.rsqrt(p["running"] + config.layer_norm_epsilon) * p["weight"] + p["bias"]


def fake_layer_norm(x, p, config, held=None):
    """`held` is the state for values, which have one of their own."""
    gate, scale = p["held"] if held is None else held
    x = x - x.mean(-1, keepdim=True)
    return x * (gate * inverse_rms(x, config.layer_norm_epsilon) + (1 - gate) * scale) * p["weight"] + p["bias"]


def fake_rms_norm(x, p, config, held=None):
    gate, scale = p["held"] if held is None else held
    return x * (gate * inverse_rms(x, config.layer_norm_epsilon) + (1 - gate) * scale) * p["weight"]


# What norms learn: how many numbers (None: one for each column; a pair: rows of those), and where they start (a number, or a key).
GAIN = {"weight": (None, 1.0)}
AFFINE = {**GAIN, "bias": (None, 0.0)}
SCALED = {"alpha": (1, "alpha_init"), **AFFINE}
COLUMNS = {**AFFINE, "running": (None, 1.0), "drift": (None, 0.0)}
WINDOWS = {"window_squares": ((4, None), 0.0), "window_gradients": ((4, None), 0.0)}
SHIFTED = {"alpha": (1, "alpha_init"), "shift": (1, 0.0), **AFFINE}

# The norms; `none` computes nothing.
NORMS = {
    "layer_norm": (layer_norm, AFFINE),
    "none": (None, {}),
    "rms_norm": (rms_norm, GAIN),
    "crms_norm": (crms_norm, GAIN),
    "dyt": (bounded_by("tanh"), SCALED),
    "derf": (bounded_by("erf"), SHIFTED),
    "bounded": (bounded_by(None), SHIFTED),
    "hard_tanh": (bounded_by("linear_clip"), AFFINE),
    "dyisru": (dyisru, {"spread": (1, "width"), "weight": (None, "root of width"), "bias": (None, 0.0)}),
    "seed_norm": (seed_norm, {**GAIN, "alpha": (None, 1.0), "beta": (None, 0.0)}),
    "bhyt": (bhyt, {"lam": (1, "lambda_init"), **GAIN}),
    "taper_norm": (taper_norm, {**GAIN, "taper": (2, 1.0)}),
    "power_norm": (power_norm, COLUMNS),
    "unified_norm": (unified_norm, {**COLUMNS, **WINDOWS}),
    "fake_layer_norm": (fake_layer_norm, {**AFFINE, "held": (2, 1.0)}),
    "fake_rms_norm": (fake_rms_norm, {**GAIN, "held": (2, 1.0)}),
}


def leaky_relu(x, p, learned):
    return torch.where(x < 0, p * x, x)


def crrelu(x, p, learned):
    return F.relu(x) + p * x * torch.exp(-x * x / 2)


def helu(x, p, learned):
    """max(x, 0), whose derivative is one from −p on."""
    passed = torch.where(x > -p, x, torch.zeros_like(x))
    return passed + (F.relu(x) - passed).detach()


def poly_relu(x, p, learned):
    a, x = learned["weight"], F.relu(x)
    return a[0] + x * (a[1] + x * (a[2] + x * a[3]))


def poly_norm(x, p, learned):
    powers = (x, x**2, x**3)
    terms = [w * v * inverse_rms(v, 1e-6) for w, v in zip(learned["weight"], powers)]
    return sum(terms) + learned["bias"]


# Activations f(x, p, learned): p is `leaky_slope`, or a learned number; `learned` is what an activation has of its own.
ACTIVATIONS = {
    "gelu": lambda x, p, learned: F.gelu(x),
    "gelu_new": lambda x, p, learned: F.gelu(x, approximate="tanh"),
    "relu": lambda x, p, learned: F.relu(x),
    "leaky_relu": leaky_relu,
    "learnable_lrelu": leaky_relu,
    "silu": lambda x, p, learned: F.silu(x),
    "relu2": lambda x, p, learned: F.relu(x).square(),
    "leaky_relu2": lambda x, p, learned: torch.where(x < 0, 0.25 * x * x, x * x),
    "selu": lambda x, p, learned: F.selu(x),
    "hard_swish": lambda x, p, learned: F.hardswish(x),
    "crrelu": crrelu,
    "helu": helu,
    "prelu": lambda x, p, learned: torch.where(x < 0, learned["weight"] * x, x),
    "poly_relu": poly_relu,
    "poly_norm": poly_norm,
    "none": lambda x, p, learned: x,
}

# Activations with a learned p, and those with parameters of their own: how many (None: one for each unit), and the starts.
LEARNS_P = ("learnable_lrelu", "crrelu")
OWN = {
    "prelu": {"weight": (None, [0.25])},
    "poly_relu": {"weight": (4, [0.0, 1 / 3, 1 / 3, 1 / 3])},
    "poly_norm": {"weight": (3, [1 / 3] * 3), "bias": (1, [0.0])},
}
