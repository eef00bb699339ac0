"""A model of this folder in TransformerLens 3: `boot(FOLDER)` gives a HookedTransformer.

It takes decoders of the gpt2 family whose blocks have LayerNorm or no norm, with any activation that is a function of one
number. Everything else is refused by its name. The weights are not folded or centered: that would need a norm.

    import sys; sys.path.insert(0, FOLDER)
    from normfree_lens import boot
    logits, cache = boot(FOLDER).run_with_cache("def main(")
"""

import torch
from torch import nn

try:
    from transformer_lens import HookedTransformer, HookedTransformerConfig
except ImportError as error:
    raise ImportError("normfree_lens needs a TransformerLens before 4, which has no HookedTransformer any more: "
                      "pip install 'transformer_lens<4'") from error
from transformers import AutoModelForCausalLM, AutoTokenizer

# What the model may say of each key that TransformerLens has no part for.
TAKES = {
    "family": ("gpt2",),
    "ffn": ("standard",),
    "residual": ("plain",),
    "norm_position": ("pre",),
    "qk_norm": ("none",),
    "attention_gate": ("none",),
    "attention_softcap": (0,),
    "attention_sink": (False,),
    "learnable_temperature": (False,),
    "embedding_scale": (False,),
    "ffn_scaling": (False,),
}
NORMS = ("layer_norm", "none")
ROWS = ("poly_norm", "prelu")


def refuse(config):
    """Raises ValueError that names what TransformerLens does not compute."""
    for key, takes in TAKES.items():
        found = getattr(config, key)
        if found not in takes:
            raise ValueError(f"TransformerLens does not compute {key} = {found!r}")
    norms = [norm for layer in range(config.n_layer) for norm in config.norms_of(layer)] + [config.norm_at_head()]
    for norm in norms:
        if norm not in NORMS:
            raise ValueError(f"TransformerLens does not compute the norm {norm!r}")
    if config.activation in ROWS:
        raise ValueError(f"TransformerLens does not compute activation_function = {config.activation!r}")


def weights_of(model):
    """The weights under TransformerLens's names and in its shapes."""
    config = model.config
    heads, head, width = config.n_head, config.head_dim, config.n_embd
    decoder = model.decoder
    table = model.get_input_embeddings().weight
    own = model.get_output_embeddings()
    weights = {
        "embed.W_E": table,
        "pos_embed.W_pos": decoder.wpe.weight,
        "unembed.W_U": (table if own is None else own.weight).t(),
        "unembed.b_U": torch.zeros(config.vocab_size),
    }

    def norm(name, holder, path):
        if holder.find(f"{path}.weight") is not None:
            weights[f"{name}.w"] = holder.find(f"{path}.weight")
            weights[f"{name}.b"] = holder.find(f"{path}.bias")

    norm("ln_final", decoder, "ln_f")
    for layer, block in enumerate(decoder.blocks):
        at = f"blocks.{layer}"
        norm(f"{at}.ln1", block, "ln_1")
        norm(f"{at}.ln2", block, "ln_2")
        packed, bias = block.find("attn.c_attn.weight"), block.find("attn.c_attn.bias")
        for part, w, b in zip("QKV", packed.split(width, dim=1), bias.split(width)):
            weights[f"{at}.attn.W_{part}"] = w.view(width, heads, head).transpose(0, 1)
            weights[f"{at}.attn.b_{part}"] = b.view(heads, head)
        weights[f"{at}.attn.W_O"] = block.find("attn.c_proj.weight").view(heads, head, width)
        weights[f"{at}.attn.b_O"] = block.find("attn.c_proj.bias")
        for part, name in (("in", "mlp.c_fc"), ("out", "mlp.c_proj")):
            weights[f"{at}.mlp.W_{part}"] = block.find(f"{name}.weight")
            weights[f"{at}.mlp.b_{part}"] = block.find(f"{name}.bias")
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


def boot(folder, device="cpu"):
    """The model in the folder as a HookedTransformer, with its tokenizer if the folder has one."""
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, torch_dtype=torch.float32).eval()
    config = model.config
    refuse(config)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
        # TransformerLens loads it once more, with these.
        tokenizer.init_kwargs["trust_remote_code"] = True
    except (OSError, ValueError):
        tokenizer = None
    lens = HookedTransformer(
        HookedTransformerConfig(
            n_layers=config.n_layer,
            d_model=config.n_embd,
            n_ctx=config.n_positions,
            d_head=config.head_dim,
            n_heads=config.n_head,
            d_mlp=config.n_inner,
            d_vocab=config.vocab_size,
            act_fn="relu",
            eps=config.layer_norm_epsilon,
            # "None" would drop the norm before the head as well.
            normalization_type="LN",
            default_prepend_bos=False,
            device=device,
        ),
        tokenizer=tokenizer,
    )
    shared = model.decoder.find("act.slopes")
    for layer, block in enumerate(lens.blocks):
        theirs = model.decoder.blocks[layer]
        for name, norm in zip(("ln1", "ln2"), config.norms_of(layer)):
            if norm == "none":
                setattr(block, name, nn.Identity())
        block.mlp.act_fn = lambda x, theirs=theirs: theirs.activate(x, shared)
    if config.norm_at_head() == "none":
        lens.ln_final = nn.Identity()
    # Masks are not among the weights.
    missing, unexpected = lens.load_state_dict(weights_of(model), strict=False)
    missing = [name for name in missing if not name.endswith(("mask", "IGNORE"))]
    if missing or unexpected:
        raise ValueError(f"TransformerLens has other weights: missing {missing}, unexpected {unexpected}")
    lens.setup()
    return lens.to(device)
