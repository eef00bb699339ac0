"""Compares exported models with what normfree computes, in PyTorch with transformers; also makes models for it to import.

compare.py compare MANIFEST    every model of the manifest; prints a line for each, and ends with 1 if one disagrees
compare.py make FOLDER         random models of the stock classes in every form of storage
"""

import json
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.manual_seed(1)

# f32 on both sides: a few thousand roundings of 6e-8 of both signs.
LOSS = 1e-6
# The same of a sum of squares, relative to the loss that it is the difference of.
PENALTY = 1e-5
ENTROPY = 1e-5
LOGITS = 1e-4

STOCK = ("GPT2LMHeadModel", "GPTNeoXForCausalLM", "LlamaForCausalLM")


def load(folder, **options):
    """The model in f32, and what the library says of its tensors."""
    options = {"trust_remote_code": True, "torch_dtype": torch.float32, "output_loading_info": True, **options}
    model, info = AutoModelForCausalLM.from_pretrained(folder, **options)
    return model.eval(), info


def chunks_of(case, tokens=None):
    raw = torch.frombuffer(bytearray(Path(tokens or case["tokens"]).read_bytes()), dtype=torch.uint16)
    return raw.to(torch.int64).view(-1, case["chunk"])


def penalty(model, case):
    """What training adds to the loss on the first sequences to train on."""
    batch = chunks_of(case, case["penalty"]["tokens"])[: case["penalty"]["sequences"]]
    with torch.no_grad():
        plain = model(batch, labels=batch).loss.double()
        model.train()
        whole = model(batch, labels=batch).loss.double()
        model.eval()
    return (whole - plain).item()


def loss_and_entropies(model, case):
    chunks = chunks_of(case)
    total, count, entropies = 0.0, 0, 0.0
    with torch.no_grad():
        for batch in chunks.split(8):
            out = model(batch, output_attentions=True)
            logs = torch.log_softmax(out.logits[:, :-1].double(), -1)
            targets = batch[:, 1:]
            nats = -logs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
            counted = targets != case["end"]
            total, count = total + nats[counted].sum().item(), count + counted.sum().item()
            weights = torch.stack(out.attentions).double()
            positive = torch.where(weights > 0, weights, torch.ones_like(weights))
            entropies = entropies + -(weights * positive.log()).sum(-1).mean(-1).sum(1)
    return total / count, entropies / len(chunks)


def greedy(model, ids, mask, count, cache):
    options = {"max_new_tokens": count, "do_sample": False, "use_cache": cache, "eos_token_id": None, "pad_token_id": 0}
    return model.generate(ids, attention_mask=mask, **options)[:, ids.shape[1] :]


def check(case, said):
    """Raises AssertionError with what disagrees."""
    folder = case["folder"]
    model, info = load(folder, attn_implementation="eager")
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[kind], f"{kind}: {info[kind]}"
    own = type(model).__name__ == "NormfreeForCausalLM"
    assert own != case["stock"], type(model).__name__

    loss, entropies = loss_and_entropies(model, case)
    said["loss"] = abs(loss - case["loss"])
    assert said["loss"] < LOSS, f"loss {loss} there, {case['loss']} here"
    said["entropy"] = (entropies - torch.tensor(case["entropies"])).abs().max().item()
    assert said["entropy"] < ENTROPY, f"entropies off by {said['entropy']}"

    if "penalty" in case:
        there, here = penalty(model, case), case["penalty"]["value"]
        assert here > 0, f"penalty {here} here: nothing is compared"
        assert abs(there - here) < PENALTY * (loss + here), f"penalty {there} there, {here} here"

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    batch = tokenizer(case["prompt"], return_tensors="pt")
    assert set(batch) == {"input_ids", "attention_mask"}, set(batch)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    assert ids.shape[1] == case["prompt_tokens"], ids
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, model(ids).logits), "the tokenizer's other inputs change the logits"
    for cache in (True, False):
        tokens = greedy(model, ids, mask, len(case["sampled"]), cache)[0].tolist()
        assert tokens == case["sampled"], f"greedy text, cache {cache}: {tokens} there, {case['sampled']} here"
    said["tokens"] = len(case["sampled"])

    # A shorter prompt beside it, padded on the left, changes nothing.
    short = ids[:, ids.shape[1] // 2 :]
    padded = torch.nn.functional.pad(short, (ids.shape[1] - short.shape[1], 0))
    masks = torch.cat((mask, (torch.arange(ids.shape[1]) >= ids.shape[1] - short.shape[1]).long().unsqueeze(0)))
    both = greedy(model, torch.cat((ids, padded)), masks, 8, True)
    assert both[0].tolist() == case["sampled"][:8], "a padded neighbour changes a text"
    assert torch.equal(both[1:], greedy(model, short, torch.ones_like(short), 8, True)), "padding changes a text"

    with torch.no_grad():
        fast = load(folder, attn_implementation="sdpa")[0](ids).logits
        assert (fast - model(ids).logits).abs().max() < LOGITS, "sdpa and eager differ"
    if own:
        check_own(model, case, ids)
    elif json.loads(Path(case["checkpoint"], "config.json").read_text())["model_type"] == "normfree":
        # Its matrices are scaled, which only exporting ends.
        refuses_checkpoint(case)
    else:
        with torch.no_grad():
            again = load(case["checkpoint"], attn_implementation="eager")[0](ids).logits
        assert torch.equal(again, model(ids).logits), "the checkpoint's folder is another model"


def gradients(model, ids):
    model.zero_grad()
    model(ids, labels=ids).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def refuses_checkpoint(case):
    # The checkpoint's folder has no code.
    try:
        load(case["checkpoint"])
    except ValueError as error:
        assert "normfree" in str(error), error
    else:
        raise AssertionError("the checkpoint's folder loads without code")


def check_own(model, case, ids):
    # No stock class takes it, nor does the checkpoint's folder.
    for name in STOCK:
        try:
            getattr(transformers, name).from_pretrained(case["folder"])
        except Exception:
            continue
        raise AssertionError(f"{name} loads it")
    refuses_checkpoint(case)

    # Gradient checkpointing changes no gradient.
    model.train()
    plain = gradients(model, ids)
    model.gradient_checkpointing_enable()
    again = gradients(model, ids)
    model.gradient_checkpointing_disable()
    model.eval()
    assert plain.keys() == again.keys()
    for name, gradient in plain.items():
        assert torch.allclose(gradient, again[name], rtol=1e-4, atol=1e-6), f"the gradient of {name}"

    # What the library saves loads again as it was.
    with tempfile.TemporaryDirectory() as place:
        model.save_pretrained(place)
        again, _ = load(place, attn_implementation="eager")
        with torch.no_grad():
            assert torch.equal(again(ids).logits, model(ids).logits), "saved and loaded, it is another model"
        assert "trust_remote_code" in json.loads(Path(place, "config.json").read_text())["activation_function"]


def compare(manifest):
    cases, failed, worst = json.loads(Path(manifest).read_text()), 0, {"loss": 0.0, "entropy": 0.0, "tokens": 0}
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, {len(cases)} models")
    start = time.time()
    for case in cases:
        said = {}
        try:
            check(case, said)
            verdict = "agrees"
        except Exception as error:
            failed += 1
            verdict = f"DISAGREES: {type(error).__name__}: {error}"
        for key in ("loss", "entropy"):
            worst[key] = max(worst[key], said.get(key, 0.0))
        worst["tokens"] += said.get("tokens", 0)
        figures = f"loss {said.get('loss', float('nan')):.1e}  entropy {said.get('entropy', float('nan')):.1e}"
        print(f"{case['name']:<52} {figures}  {verdict}", flush=True)
    print(
        f"{len(cases) - failed} of {len(cases)} agree in {time.time() - start:.0f} s: loss within {worst['loss']:.1e}, "
        f"entropies within {worst['entropy']:.1e}, {worst['tokens']} greedy tokens equal with and without the cache"
    )
    return 1 if failed else 0


def make(folder):
    """Random models: each family, in f32, f16 and bf16, whole and in several files."""
    from transformers import GPT2Config, GPTNeoXConfig, LlamaConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 96}
    sizes["vocab_size"] = 300
    configs = {
        "gpt2": GPT2Config(n_layer=2, n_head=4, n_embd=32, n_positions=96, vocab_size=300, initializer_range=0.2),
        "gpt2_relu": GPT2Config(
            n_layer=2, n_head=2, n_embd=32, n_positions=96, vocab_size=300, n_inner=48, activation_function="relu",
            layer_norm_epsilon=1e-3, initializer_range=0.2,
        ),
        "gpt2_untied": GPT2Config(n_layer=1, n_head=4, n_embd=32, n_positions=96, vocab_size=300, tie_word_embeddings=False),
        "gpt_neox": GPTNeoXConfig(**sizes, intermediate_size=64, rotary_pct=0.5, rotary_emb_base=5000, initializer_range=0.2),
        "gpt_neox_tied": GPTNeoXConfig(**sizes, intermediate_size=64, tie_word_embeddings=True, initializer_range=0.2),
        "llama": LlamaConfig(**sizes, intermediate_size=64, num_key_value_heads=2, rope_theta=500.0, initializer_range=0.2),
        "llama_tied": LlamaConfig(**sizes, intermediate_size=64, tie_word_embeddings=True, initializer_range=0.2),
        "llama_biased": LlamaConfig(**sizes, intermediate_size=64, attention_bias=True, mlp_bias=True, initializer_range=0.2),
    }
    forms = {"f32": (torch.float32, "5GB"), "f16": (torch.float16, "5GB"), "bf16": (torch.bfloat16, "20KB"), "parts": (torch.float32, "20KB")}
    for name, config in configs.items():
        for key, value in list(vars(config).items()):
            if key.endswith("pdrop") or key.endswith("dropout"):
                setattr(config, key, 0.0 if isinstance(value, float) else value)
        config.bos_token_id = config.eos_token_id = 0
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            # No bias is zero and no gain is one.
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        for form, (dtype, size) in forms.items():
            place = Path(folder, f"{name}_{form}")
            model.to(dtype).save_pretrained(place, max_shard_size=size)
            if size == "20KB":
                assert (place / "model.safetensors.index.json").is_file(), place
            print(place)
    return 0


if __name__ == "__main__":
    sys.exit({"compare": compare, "make": make}[sys.argv[1]](sys.argv[2]))
