"""Times training steps of a GPT-2-style decoder in PyTorch and prints what it saw as one line of JSON.

run.py and `normfree card` call it. The model is the one of this repository: learned positions, pre-norm blocks with
LayerNorm or none,
a final LayerNorm, the head tied to the token table, biases on query and key alone, no dropout; AdamW, gradients
clipped to norm 1. Eager attention returns its maps, as a model must whose head entropies are to be logged; `sdpa` is
PyTorch's fused attention, which has none to return.
"""

import time

STARTED = time.perf_counter()

import argparse
import contextlib
import json
import math
import os

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, given):
        super().__init__()
        width = given.width
        norm = nn.LayerNorm if given.norm == "layer_norm" else nn.Identity
        self.heads, self.sdpa = given.heads, given.attention == "sdpa"
        self.activate = F.gelu if given.activation == "gelu" else F.relu
        self.norm_1, self.norm_2 = norm(width), norm(width)
        self.query_key = nn.Linear(width, 2 * width)
        self.value = nn.Linear(width, width, bias=False)
        self.project = nn.Linear(width, width, bias=False)
        self.expand = nn.Linear(width, 4 * width, bias=False)
        self.contract = nn.Linear(4 * width, width, bias=False)

    def forward(self, x, hidden):
        """x [batch, sequence, width] -> the same, and the attention weights [batch, head, query, key] or None."""
        batch, sequence, width = x.shape
        a = self.norm_1(x)
        query, key = self.query_key(a).split(width, dim=-1)
        query, key, value = (
            t.view(batch, sequence, self.heads, -1).transpose(1, 2) for t in (query, key, self.value(a))
        )
        if self.sdpa:
            weights = None
            y = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            scores = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)
            weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(-1)
            y = weights.to(value.dtype) @ value
        x = x + self.project(y.transpose(1, 2).reshape(batch, sequence, width))
        return x + self.contract(self.activate(self.expand(self.norm_2(x)))), weights


class Gpt2(nn.Module):
    def __init__(self, given):
        super().__init__()
        self.tokens = nn.Embedding(given.vocabulary, given.width)
        self.positions = nn.Embedding(given.positions, given.width)
        self.blocks = nn.ModuleList(Block(given) for _ in range(given.layers))
        self.final_norm = nn.LayerNorm(given.width)
        future = torch.ones(given.sequence, given.sequence, dtype=torch.bool).triu(1)
        self.register_buffer("hidden", future)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens, targets):
        """The mean cross-entropy of the next tokens, and every layer's attention weights."""
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        maps = []
        for block in self.blocks:
            x, weights = block(x, self.hidden)
            maps.append(weights)
        logits = self.final_norm(x) @ self.tokens.weight.T
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten()), maps


@torch.no_grad()
def head_entropies(maps):
    """The entropy of each head's rows, -sum p ln p, averaged over rows: [layer][head], on the host."""
    return torch.stack([torch.special.entr(w.float()).sum(-1).mean((0, 2)) for w in maps]).tolist()


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("width", "layers", "heads", "positions", "sequence", "batch", "vocabulary", "warm-up", "windows"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--window", type=float, required=True, help="seconds of steps timed as one")
    parser.add_argument("--norm", choices=("layer_norm", "none"), required=True)
    parser.add_argument("--activation", choices=("gelu", "relu"), required=True)
    parser.add_argument("--device", choices=("cpu", "cuda", "mps", "xpu"), help="[default: the accelerator, or the CPU]")
    parser.add_argument("--precision", choices=("f32", "fp16", "bf16"), required=True)
    parser.add_argument("--attention", choices=("eager", "sdpa"), required=True)
    parser.add_argument("--entropy", action="store_true", help="log every head's entropy each step")
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
    return parser.parse_args()


def main():
    given = arguments()
    accelerated = torch.accelerator.is_available() and given.device != "cpu"
    if given.device is None:
        given.device = torch.accelerator.current_accelerator().type if accelerated else "cpu"
    torch.manual_seed(0)
    if hasattr(os, "sched_getaffinity"):
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = Gpt2(given).to(given.device)
    forward = torch.compile(model) if given.compile else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-8, weight_decay=0.1, fused=True)
    scaler = torch.amp.GradScaler(given.device, enabled=given.precision == "fp16")
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(given.precision)
    context = (lambda: torch.autocast(given.device, dtype)) if dtype else contextlib.nullcontext
    drawn = torch.randint(given.vocabulary, (given.batch, given.sequence + 1)).to(given.device)
    tokens, targets = drawn[:, :-1].contiguous(), drawn[:, 1:].contiguous()

    def step():
        with context():
            loss, maps = forward(tokens, targets)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        entropies = head_entropies(maps) if given.entropy else None
        return loss.detach(), entropies

    def timed(steps):
        """Seconds a step over some steps, and what the last one returned."""
        begun = time.perf_counter()
        for _ in range(steps):
            loss, entropies = step()
        if accelerated:
            torch.accelerator.synchronize()
        return (time.perf_counter() - begun) / steps, loss.item(), entropies

    _, first_loss, _ = timed(1)
    first_step_after = time.perf_counter() - STARTED
    timed(given.warm_up)
    once, _, _ = timed(1)
    steps = max(1, math.ceil(given.window / once))
    seconds = []
    for _ in range(given.windows):
        took, last_loss, entropies = timed(steps)
        seconds.append(took)
    print(
        json.dumps(
            {
                "version": f"PyTorch {torch.__version__}",
                "first_step_after": first_step_after,
                "steps_per_window": steps,
                "seconds_per_step": seconds,
                "first_loss": first_loss,
                "last_loss": last_loss,
                "head_entropies": entropies,
                "threads": torch.get_num_threads(),
                "device": given.device,
                "device_bytes": torch.cuda.max_memory_allocated() if given.device == "cuda" else None,
            }
        )
    )


if __name__ == "__main__":
    main()
