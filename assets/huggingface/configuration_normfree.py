"""Configuration of a decoder that normfree trained, for transformers 4.57 or newer.

The keys are those of [model] in normfree's configuration; `normfree keys` documents each. One has another name here:
`activation_function` is `activation`. The stock classes' own names, `activation_function` and `hidden_act`, hold a word
that those classes refuse, so that no stock class silently computes something else from these weights.
"""

import transformers
from transformers import PretrainedConfig

OLDEST = (4, 57)
GUARD = "normfree: load this model with AutoModelForCausalLM and trust_remote_code=True"

# Each key of [model], and what a configuration without it says.
KEYS = {
    "family": "gpt2",
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 16,
    "n_positions": 16,
    "rotary_pct": None,
    "rope_theta": None,
    "n_kv_head": None,
    "tie_embeddings": None,
    "vocab_size": 256,
    "n_inner": 64,
    "norm": "layer_norm",
    "attention_norm": None,
    "ffn_norm": None,
    "norm_layers": None,
    "norm_position": "pre",
    "final_norm": True,
    "scale_loss": 0.0,
    "embedding_scale": False,
    "layer_norm_epsilon": 1e-5,
    "norm_function": "tanh",
    "alpha_init": 0.5,
    "attention_alpha_init": None,
    "lambda_init": 2.0,
    "kappa": 10.0,
    "activation_function": "gelu",
    "leaky_slope": 0.01,
    "slope_init": 0.01,
    "slope_scope": "per_layer",
    "ffn": "standard",
    "weight_norm": "none",
    "gamma_init": 1.0,
    "ffn_gains": False,
    "head_gains": False,
    "residual": "plain",
    "residual_scale": None,
    "ffn_scaling": False,
    "learnable_temperature": False,
    "temperature_init": 1.0,
    "qk_norm": "none",
    "attention_softcap": 0.0,
    "attention_sink": False,
    "attention_gate": "none",
    "entropy_regularization": 0.0,
    "entropy_penalty": "row_sum",
    "entropy_margin": 0.2,
    "entropy_threshold_init": 0.5,
    "bias": "query_key",
    "embd_pdrop": 0.1,
    "initializer_range": 0.02,
    "scale_residual_projections": False,
}

# Keys under another name, because stock classes read theirs.
RENAMED = {"activation_function": "activation"}

# The words of keys that the modelling file answers with a branch, not with a table.
CHOICES = {
    "family": ("gpt2", "gpt_neox", "llama"),
    "slope_scope": ("per_layer", "per_block", "shared"),
    "bias": ("query_key", "all", "none"),
    "entropy_penalty": ("row_sum", "row_mean", "head_mean"),
    "attention_gate": ("none", "head", "element"),
    "qk_norm": ("none", "rms_norm", "plain", "unit"),
    "norm_position": ("pre", "post", "both"),
    # The exporter writes scaled matrices as what they come to.
    "weight_norm": ("none",),
}


class NormfreeConfig(PretrainedConfig):
    """Every key of [model], and the token that ends a text."""

    model_type = "normfree"
    keys_to_ignore_at_inference = ["past_key_values", "cache"]
    attribute_map = {
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
        "intermediate_size": "n_inner",
    }

    def __init__(self, **kwargs):
        version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
        if version < OLDEST:
            # Older versions rename parameters whose name has "beta" in it as they load them.
            raise ImportError(f"this model needs transformers 4.57 or newer, found {transformers.__version__}")
        for key, default in KEYS.items():
            name = RENAMED.get(key, key)
            setattr(self, name, kwargs.pop(name, default))
        for key, words in CHOICES.items():
            if getattr(self, key) not in words:
                raise ValueError(f"{key} is {getattr(self, key)!r}; this file knows {', '.join(words)}")
        for key in ("ffn_gains", "head_gains"):
            # The exporter writes matrices times their gains.
            if getattr(self, key):
                raise ValueError(f"{key} is True; this file knows matrices without gains")
        for name in ("activation_function", "hidden_act"):
            kwargs.pop(name, None)
        self.activation_function = GUARD
        self.hidden_act = GUARD
        self.use_cache = kwargs.pop("use_cache", True)
        # A tied head is no second tensor here, so the library has nothing to tie.
        kwargs["tie_word_embeddings"] = False
        super().__init__(**kwargs)

    @property
    def num_key_value_heads(self):
        return self.n_kv_head or self.n_head

    @property
    def head_dim(self):
        return self.n_embd // self.n_head

    @property
    def tied(self):
        """Whether the head is the token table."""
        return self.family != "gpt_neox" if self.tie_embeddings is None else self.tie_embeddings

    @property
    def units(self):
        """Units inside the feed-forward network; 0 where it has none."""
        return 0 if self.ffn == "fused" else self.n_inner

    @property
    def joined_scale(self):
        """The constant of a branch's join, or where its learned factors start."""
        starts = {"scaled": self.n_layer**-0.5, "rezero": 0.0, "skip_init": 0.0, "layer_scale": 0.1, "ngpt": 0.05}
        return starts.get(self.residual, 1.0) if self.residual_scale is None else self.residual_scale

    def norms_of(self, layer):
        """The words of the norms of attention and of the feed-forward network in a block."""
        if self.norm_layers is not None:
            ranges = [part.partition("-") for part in self.norm_layers.split(",")]
            if not any(int(first) <= layer <= int(last or first) for first, _, last in ranges):
                return ["none", "none"]
        return [self.attention_norm or self.norm, self.ffn_norm or self.norm]

    def norm_at_head(self):
        """The word of the norm before the head."""
        if self.final_norm is True:
            return {"none": "layer_norm", "taper_norm": "rms_norm"}.get(self.norm, self.norm)
        return "none" if self.final_norm is False else self.final_norm
