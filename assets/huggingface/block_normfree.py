"""A block of normfree's decoders: attention, the feed-forward network, the norms around them, and the joins."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .functions_normfree import ACTIVATIONS, FUNCTIONS, LEARNS_P, NORMS, OWN, inverse_rms

# Names of parts, as the files of each family have them; parts that are not listed keep their own name.
NAMES = {
    "gpt2": {
        "decoder": "transformer",
        "tokens": "wte",
        "blocks": "h",
        "final_norm": "ln_f",
        "head": "lm_head",
        "norm_1": "ln_1",
        "norm_2": "ln_2",
        "attention": "attn",
        "attention.qkv": "attn.c_attn",
        "attention.out": "attn.c_proj",
        "mlp.expand": "mlp.c_fc",
        "mlp.contract": "mlp.c_proj",
    },
    "gpt_neox": {
        "decoder": "gpt_neox",
        "tokens": "embed_in",
        "blocks": "layers",
        "final_norm": "final_layer_norm",
        "head": "embed_out",
        "norm_1": "input_layernorm",
        "norm_2": "post_attention_layernorm",
        "attention.qkv": "attention.query_key_value",
        "attention.out": "attention.dense",
        "mlp.expand": "mlp.dense_h_to_4h",
        "mlp.contract": "mlp.dense_4h_to_h",
    },
    "llama": {
        "decoder": "model",
        "tokens": "embed_tokens",
        "blocks": "layers",
        "final_norm": "norm",
        "head": "lm_head",
        "norm_1": "input_layernorm",
        "norm_2": "post_attention_layernorm",
        "attention": "self_attn",
        "attention.q": "self_attn.q_proj",
        "attention.k": "self_attn.k_proj",
        "attention.v": "self_attn.v_proj",
        "attention.gate": "self_attn.gate_proj",
        "attention.out": "self_attn.o_proj",
        "mlp.expand": "mlp.up_proj",
        "mlp.gate": "mlp.gate_proj",
        "mlp.up": "mlp.up_proj",
        "mlp.contract": "mlp.down_proj",
    },
}


# The feed-forward networks: what is computed from the first matrices' results.
NETWORKS = {
    "standard": lambda block, opened, slope: block.activate(opened, slope),
    "fused": lambda block, opened, slope: opened,
    "gated": lambda block, opened, slope: block.activate(opened[0], slope) * opened[1],
}


def learned_factor(block, x, f, part, name):
    return x + block.get(part, name) * f


def unit(x):
    """Rows x divided by their lengths."""
    return x * torch.rsqrt(x.float().square().sum(-1, keepdim=True) + 1e-12).to(x.dtype)


def on_sphere(block, x, f, part):
    # The vector counts in multiples of what it starts at.
    strength = (block.get(part, "alpha") * (block.config.joined_scale * block.config.n_embd**0.5)).abs()
    return unit(x + strength * (unit(f) - x))


# How a branch f joins the residual stream x: what it learns (`block` is shared by both branches), and the sum.
JOINS = {
    "plain": ({}, lambda block, x, f, part: x + f),
    "scaled": ({}, lambda block, x, f, part: x + block.config.joined_scale * f),
    "rezero": ({"alpha": "block"}, lambda block, x, f, part: learned_factor(block, x, f, "residual", "alpha")),
    "skip_init": ({"alpha": "branch"}, lambda block, x, f, part: learned_factor(block, x, f, part, "alpha")),
    "layer_scale": ({"layer_scale": "column"}, lambda block, x, f, part: learned_factor(block, x, f, part, "layer_scale")),
    "fixup": ({"multiplier": "one"}, lambda block, x, f, part: learned_factor(block, x, f, part, "multiplier")),
    "ln_scale": ({}, lambda block, x, f, part: x + f),
    "ngpt": ({"alpha": "root"}, on_sphere),
}


class Holder(nn.Module):
    """Parameters of its own, each with what it starts at: a spread of random numbers, or numbers."""

    def __init__(self):
        super().__init__()
        self.starts = {}

    def hold(self, name, shape, start, spread):
        self.register_parameter(name, nn.Parameter(torch.empty(shape)))
        self.starts[name] = (start, spread)

    def begin(self):
        """Sets every parameter to what it starts at, unless a file has filled it."""
        for name, (start, spread) in self.starts.items():
            parameter = self._parameters[name]
            if getattr(parameter, "_is_hf_initialized", False) or parameter.is_meta:
                continue
            with torch.no_grad():
                if spread is not None:
                    parameter.normal_(0.0, spread)
                elif isinstance(start, list):
                    numbers = torch.tensor(start, dtype=parameter.dtype, device=parameter.device)
                    parameter.copy_(numbers.repeat(parameter.numel() // len(start)))
                else:
                    parameter.fill_(start)


class Declared(Holder):
    """Parameters under dotted names, which become modules within modules, as weight files have them."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def declare(self, path, shape, start=None, spread=None):
        *folders, last = path.split(".")
        holder = self
        for folder in folders:
            if folder not in holder._modules:
                holder.add_module(folder, Holder())
            holder = holder._modules[folder]
        holder.hold(last, shape, start, spread)

    def find(self, path):
        *folders, last = path.split(".")
        holder = self
        for folder in folders:
            holder = holder._modules.get(folder)
            if holder is None:
                return None
        return holder._parameters.get(last)

    def declare_norm(self, name, word, alpha=None):
        """Declares what the norm of that word learns under `name`."""
        config, (_, learned) = self.config, known(NORMS, word, "norm")
        starts = {"width": float(config.n_embd), "root of width": config.n_embd**0.5}
        for suffix, (count, start) in learned.items():
            if isinstance(start, str):
                start = starts.get(start, getattr(config, start, None))
            if suffix == "alpha" and count == 1 and alpha is not None:
                start = alpha
            shape = count if isinstance(count, tuple) else (count,)
            self.declare(f"{name}.{suffix}", tuple(size or config.n_embd for size in shape), start)

    def normalized(self, x, name, word, **given):
        """The norm of that word under `name`, of rows x."""
        norm, learned = NORMS[word]
        if norm is None:
            return x
        return norm(x, {suffix: self.find(f"{name}.{suffix}") for suffix in learned}, self.config, **given)


def known(table, word, key):
    if word not in table:
        raise ValueError(f"{key} is {word!r}; this file knows {', '.join(table)}")
    return table[word]


def turned(x, turns):
    """x [B, heads, T, head] with its first columns rotated by position, in the pairs (i, i + half)."""
    cos, sin = turns
    half = cos.shape[-1]
    one, two, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat((one * cos - two * sin, two * cos + one * sin, rest), dim=-1)


class NormfreeBlock(Declared):
    """Attention and a feed-forward network, the norms around them, and the joins that add them to the residual stream."""

    def __init__(self, config, layer):
        super().__init__(config)
        self.layer = layer
        self.norms = config.norms_of(layer)
        self.names = NAMES[config.family]
        self.turned = config.family != "gpt2"
        known(ACTIVATIONS, config.activation, "activation_function")
        known(NETWORKS, config.ffn, "ffn")
        known(JOINS, config.residual, "residual")
        known(FUNCTIONS, config.norm_function, "norm_function")
        self.declare_norm(self.name("norm_1"), self.norms[0], config.attention_alpha_init)
        # A norm on its way out has another state for values.
        self.values_apart = "held" in known(NORMS, self.norms[0], "norm")[1]
        if self.values_apart:
            self.declare(f"{self.name('norm_1')}.held_values", (2,), 1.0)
        self.declare_attention()
        self.declare_norm(self.name("norm_2"), self.norms[1])
        self.declare_network()
        if config.norm_position == "both":
            self.declare_norm("norm_1_after", self.norms[0])
            self.declare_norm("norm_2_after", self.norms[1])

    def name(self, part):
        return self.names.get(part, part)

    def get(self, part, suffix):
        return self.find(f"{self.name(part)}.{suffix}")

    def declare_matrix(self, part, inputs, outputs, biased, ends=False, begins=False, added=False):
        """The matrix of a part. Files of `gpt2` and `gpt_neox` have a bias beside each, zeros where the model has none."""
        config, name = self.config, self.name(part)
        depth = math.sqrt(2 * config.n_layer)
        spread = config.initializer_range / (depth if ends and config.scale_residual_projections else 1.0)
        fixup = config.residual == "fixup"
        spread = spread / depth if fixup and begins else spread
        shape = (outputs, inputs) if self.turned else (inputs, outputs)
        if fixup and ends:
            self.declare(f"{name}.weight", shape, start=0.0)
        else:
            self.declare(f"{name}.weight", shape, spread=spread)
        if biased or (config.family != "llama" and not added):
            self.declare(f"{name}.bias", (outputs,), start=0.0)

    def linear(self, x, part):
        weight = self.get(part, "weight")
        return F.linear(x, weight if self.turned else weight.t(), self.get(part, "bias"))

    def declare_attention(self):
        config = self.config
        width, shared = config.n_embd, config.num_key_value_heads * config.head_dim
        every = config.bias == "all"
        keyed = config.bias != "none"
        if config.family == "llama":
            self.declare_matrix("attention.q", width, width, keyed, begins=True)
            self.declare_matrix("attention.k", width, shared, keyed, begins=True)
            self.declare_matrix("attention.v", width, shared, every, begins=True)
        else:
            self.declare_matrix("attention.qkv", width, 3 * width, keyed, begins=True)
        self.declare_matrix("attention.out", width, width, every, ends=True)
        name = self.name("attention")
        if config.qk_norm == "rms_norm":
            for part in ("q_norm", "k_norm"):
                self.declare(f"{name}.{part}.weight", (config.head_dim,), 1.0)
        if config.qk_norm == "unit":
            self.declare(f"{name}.qk_norm.weight", (width,), width**-0.5)
        if config.attention_gate != "none":
            gates = config.n_head if config.attention_gate == "head" else width
            self.declare_matrix("attention.gate", width, gates, every, added=True)
        if config.learnable_temperature:
            self.declare(f"{name}.temperature", (config.n_head, config.n_positions), config.temperature_init)
        if config.attention_sink:
            self.declare(f"{name}.sinks", (config.n_head,), 0.0)
        if config.entropy_regularization > 0:
            self.declare(f"{name}.reg_threshold_weights", (config.n_head,), config.entropy_threshold_init)
        self.declare_join("attention", JOINS[config.residual][0], ("bias_1a", "bias_2a"))

    def declare_network(self):
        config = self.config
        width, units, every = config.n_embd, config.units, config.bias == "all"
        if config.ffn == "gated" and config.family == "llama":
            self.declare_matrix("mlp.gate", width, units, every, begins=True)
            self.declare_matrix("mlp.up", width, units, every, begins=True)
        elif config.ffn != "fused":
            self.declare_matrix("mlp.expand", width, units * (2 if config.ffn == "gated" else 1), every, begins=True)
        self.declare_matrix("mlp.contract", units or width, width, every, ends=True)
        if config.activation in LEARNS_P and config.slope_scope != "shared":
            count = config.n_layer if config.slope_scope == "per_layer" else 1
            self.declare("mlp.act.slopes", (count,), config.slope_init)
        for suffix, (count, start) in OWN.get(config.activation, {}).items():
            self.declare(f"mlp.act.{suffix}", (count or units,), start)
        learned = {"alpha": "one", "beta": "one"} if config.ffn_scaling else JOINS[config.residual][0]
        self.declare_join("mlp", learned, ("bias_1a", "bias_1b", "bias_2a"))

    def declare_join(self, part, learned, biases):
        config = self.config
        for suffix, extent in learned.items():
            name = f"{'residual' if extent == 'block' else self.name(part)}.{suffix}"
            start = {"one": 1.0, "root": config.n_embd**-0.5}.get(extent, config.joined_scale)
            if self.find(name) is None:
                self.declare(name, (config.n_embd if extent in ("column", "root") else 1,), start)
        if config.residual == "fixup":
            for bias in biases:
                self.declare(f"{self.name(part)}.{bias}", (1,), 0.0)

    def biased(self, x, part, name):
        """x with one of Fixup's biases, if there is one."""
        bias = self.get(part, name)
        return x if bias is None else x + bias

    def queries_keys_values(self, x, values=None):
        """Each [B, heads, T, head]; keys and values may have fewer heads. The values are of rows `values`, if they are given."""
        if values is not None:
            return [*self.queries_keys_values(x)[:2], self.queries_keys_values(values)[2]]
        config = self.config
        batch, length, width = x.shape
        if config.family == "llama":
            parts = [self.linear(x, f"attention.{part}") for part in "qkv"]
            return [p.view(batch, length, -1, config.head_dim).transpose(1, 2) for p in parts]
        packed = self.linear(x, "attention.qkv")
        if config.family == "gpt_neox":
            # The query, key and value of one head after another.
            packed = packed.view(batch, length, config.n_head, 3 * config.head_dim).transpose(1, 2)
            return packed.chunk(3, dim=-1)
        parts = packed.split(width, dim=-1)
        return [p.view(batch, length, config.n_head, config.head_dim).transpose(1, 2) for p in parts]

    def attend(self, x, given, cache, weights_wanted, values=None):
        """The heads' weighted values of rows x, or of `values`, and the weights [B, H, T, keys] if they are wanted."""
        config = self.config
        x = self.biased(x, "attention", "bias_1a")
        values = None if values is None else self.biased(values, "attention", "bias_1a")
        gate = self.linear(x, "attention.gate") if config.attention_gate != "none" else None
        q, k, v = self.queries_keys_values(x, values)
        if config.qk_norm in ("rms_norm", "plain"):
            q, k = [part * inverse_rms(part, config.layer_norm_epsilon) for part in (q, k)]
        if config.qk_norm == "rms_norm":
            q, k = q * self.get("attention", "q_norm.weight"), k * self.get("attention", "k_norm.weight")
        if given["turns"] is not None:
            q, k = turned(q, given["turns"]), turned(k, given["turns"])
        if config.qk_norm == "unit":
            # A head of keys may belong to several of queries: the gain of both counts twice for queries. It is a multiple of what it
            # starts at, and scores are not divided by the root of a head's width but multiplied by it.
            gain = (self.get("attention", "qk_norm.weight") * config.n_embd**0.5).view(1, -1, 1, config.head_dim)
            q, k = unit(q) * (gain.square() * config.head_dim), unit(k)
        if config.learnable_temperature:
            # [H, P] by positions [B, T]
            temperature = self.get("attention", "temperature")[:, given["positions"]].transpose(0, 1)
            q = q / temperature.unsqueeze(-1)
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        groups = config.n_head // config.num_key_value_heads
        if groups > 1:
            k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        scale = config.head_dim**-0.5
        plain = config.attention_softcap == 0 and not config.attention_sink
        weights = None
        if plain and not weights_wanted and config._attn_implementation == "sdpa":
            heads = F.scaled_dot_product_attention(q, k, v, attn_mask=given["seen"], scale=scale)
        else:
            scores = (q @ k.transpose(-1, -2)).float() * scale
            if config.attention_softcap > 0:
                scores = config.attention_softcap * torch.tanh(scores / config.attention_softcap)
            scores = scores.masked_fill(~given["seen"], torch.finfo(scores.dtype).min)
            weights = torch.softmax(scores, dim=-1)
            heads = weights.to(v.dtype) @ v
            if config.attention_sink:
                room = torch.logsumexp(scores, -1, keepdim=True) - self.get("attention", "sinks").view(1, -1, 1, 1)
                heads = heads * torch.sigmoid(room).to(heads.dtype)
        heads = heads.transpose(1, 2).reshape(x.shape)
        if gate is not None:
            open_ = torch.sigmoid(gate)
            if config.attention_gate == "head":
                open_ = open_.repeat_interleave(config.head_dim, dim=-1)
            heads = heads * open_
        heads = self.biased(heads, "attention", "bias_2a")
        return self.linear(heads, "attention.out"), weights

    def activate(self, x, shared):
        """The activation of rows x; `shared` is the slope of the whole model, if there is one."""
        config = self.config
        p = config.leaky_slope
        if config.activation in LEARNS_P:
            own = self.get("mlp", "act.slopes")
            p = shared[0] if own is None else own[self.layer if config.slope_scope == "per_layer" else 0]
        learned = {suffix: self.get("mlp", f"act.{suffix}") for suffix in OWN.get(config.activation, {})}
        return ACTIVATIONS[config.activation](x, p, learned)

    def feed(self, x, shared):
        """The feed-forward network of rows x."""
        config = self.config
        x = self.biased(x, "mlp", "bias_1a")
        if config.ffn == "fused":
            return self.linear(x, "mlp.contract")
        if config.ffn == "gated" and config.family == "llama":
            opened = [self.linear(x, "mlp.gate"), self.linear(x, "mlp.up")]
        elif config.ffn == "gated":
            opened = self.linear(x, "mlp.expand").chunk(2, dim=-1)
        else:
            opened = self.linear(x, "mlp.expand")
        if config.ffn == "gated":
            opened = [self.biased(part, "mlp", "bias_1b") for part in opened]
        else:
            opened = self.biased(opened, "mlp", "bias_1b")
        inner = self.biased(NETWORKS[config.ffn](self, opened, shared), "mlp", "bias_2a")
        return self.linear(inner, "mlp.contract")

    def join(self, x, f, part):
        if part == "mlp" and self.config.ffn_scaling:
            return self.get(part, "beta") * x + f / self.get(part, "alpha")
        return JOINS[self.config.residual][1](self, x, f, part)

    def estimate(self, x):
        """BHyT's estimate of the mean squares that attention leaves, where both norms of a block are BHyT's."""
        config = self.config
        sequential = config.family == "gpt2" and config.norm_position == "pre"
        if not sequential or self.norms != ["bhyt", "bhyt"]:
            return {}
        width = config.n_embd
        values = self.get("attention.qkv", "weight")[:, 2 * width :]
        # It has no gradient, but for that of the first norm's λ.
        product = (values @ self.get("attention.out", "weight")).detach().float()
        factor = product.square().sum() / (config.kappa**2 * config.n_positions * width)
        added = factor * self.get("norm_1", "lam").float().square()
        return {"variance": x.square().mean(-1, keepdim=True) + added.to(x.dtype)}

    def forward(self, x, given, cache=None, shared=None, weights_wanted=False):
        """The residual stream after the block, and attention's weights if they are wanted."""
        config = self.config
        before, post = config.norm_position != "post", config.norm_position == "post"
        divisor = math.sqrt(self.layer + 1) if config.residual == "ln_scale" else 1.0

        def entering(x, part, word, **given):
            y = self.normalized(x, self.name(part), word, **given) if before else x
            return y / divisor if divisor != 1.0 else y

        estimate = self.estimate(x)
        start = x
        values = None
        if self.values_apart:
            values = entering(x, "norm_1", self.norms[0], held=self.get("norm_1", "held_values"))
        a, weights = self.attend(entering(x, "norm_1", self.norms[0]), given, cache, weights_wanted, values)
        if config.norm_position == "both":
            x = x + self.normalized(a, "norm_1_after", self.norms[0])
        else:
            x = self.join(x, a, "attention")
        x = self.normalized(x, self.name("norm_1"), self.norms[0]) if post else x
        # GPT-NeoX's network reads what attention reads.
        read = start if config.family == "gpt_neox" else x
        f = self.feed(entering(read, "norm_2", self.norms[1], **estimate), shared)
        if config.norm_position == "both":
            x = x + self.normalized(f, "norm_2_after", self.norms[1])
        else:
            x = self.join(x, f, "mlp")
        x = self.normalized(x, self.name("norm_2"), self.norms[1]) if post else x
        return x, weights

    def penalty(self, weights):
        """The entropy penalty of the block's heads, with λ and averaged over the model's heads."""
        config = self.config
        logs = torch.where(weights > 0, weights, torch.ones_like(weights)).log()
        entropy = -(weights * logs).sum(-1).transpose(0, 1).flatten(1)
        most = math.log(weights.shape[-1])
        if config.entropy_penalty == "head_mean":
            entropy = entropy.mean(-1, keepdim=True)
        apart = entropy - self.get("attention", "reg_threshold_weights").unsqueeze(-1) * most
        square = torch.where(apart.abs() > config.entropy_margin * most, apart.square(), torch.zeros_like(apart))
        each = square.sum(-1) if config.entropy_penalty == "row_sum" else square.mean(-1)
        return config.entropy_regularization * each.sum() / (config.n_layer * config.n_head)
