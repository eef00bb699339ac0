#!/usr/bin/env python3
"""The same training step in normfree, PyTorch and Burn: one table of ratios from one run.

Standard library only. Everything it makes lies under target/peers. See README.md beside this file.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import venv
from dataclasses import dataclass, field
from pathlib import Path

TORCH = "2.15.0"

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MADE = ROOT / "target" / "peers"
CARGO = shlex.split(os.environ.get("CARGO", "cargo"))
EXE = ".exe" if os.name == "nt" else ""

# Configurations of which a single step takes minutes on a CPU, unless the batch is no larger than this.
FOR_GPUS = {"gpt2"}
SMALL_BATCH = 8
FOR_GPUS_ALONE = f"not run: a step of this size takes a CPU minutes (--batch {SMALL_BATCH} does not)"


class Failed(Exception):
    """What a row says in place of numbers."""


@dataclass
class Peer:
    """One row: a program that is asked for numbers, once a round."""

    key: str
    title: str
    command: list
    # From the program's answer to tokens a second.
    read: object
    # If the command holds several models at once: one that trains a single model, of which the memory is taken.
    alone: list = field(default_factory=list)
    speeds: dict = field(default_factory=dict)
    first_steps: list = field(default_factory=list)
    memory: list = field(default_factory=list)
    device_memory: list = field(default_factory=list)
    version: str = ""
    failure: str = ""
    answers: list = field(default_factory=list)


def main():
    given = arguments()
    config = tomllib.loads((ROOT / "configs" / "bench" / f"{given.config}.toml").read_text())
    model, train = config["model"], config["train"]
    train["batch_size"] = given.batch or train["batch_size"]
    model["norm"] = given.norm or model["norm"]
    model["activation_function"] = given.activation or model["activation_function"]
    tokens = train["batch_size"] * train.get("sequence_length", model["n_positions"])
    MADE.mkdir(parents=True, exist_ok=True)

    peers = []
    for make in (normfree, torch, burn):
        peers += [peer for peer in make(given, model, train, tokens) if wanted(given, peer.key)]
    if not peers:
        sys.exit("no row is left: --only and --skip take the keys of --list")
    if given.list:
        for peer in peers:
            print(f"{peer.key:20} {peer.title}")
        return

    # What Burn's tuning finds lasts for this run's later rounds, and no longer.
    os.environ["CUBECL_ENVIRONMENT"] = f"peers-{int(time.time())}"
    for number in range(given.rounds):
        done = {}
        for peer in peers:
            if peer.failure:
                continue
            note(f"round {number + 1} of {given.rounds}: {peer.title}")
            try:
                # Two rows may read one answer.
                key = tuple(map(str, peer.command))
                if key not in done:
                    done[key] = run(key, given.timeout)
                answer, memory = done[key]
                if peer.alone:
                    _, memory = run(tuple(map(str, peer.alone)), given.timeout)
                take(peer, number, answer, memory)
            except Failed as failed:
                peer.failure = str(failed)
                note(f"    {peer.failure}")
            else:
                note(f"    {peer.speeds[number]:,.0f} tokens/s")

    heading = (
        f"{given.config}: width {model['n_embd']}, {model['n_layer']} layers, {model['n_head']} heads, context "
        f"{tokens // train['batch_size']}, batch {train['batch_size']}, vocabulary {model['vocab_size']:,}, "
        f"norm {model['norm']}, {model['activation_function']}"
    )
    print(f"\n{heading}\n{machine(peers)}; medians of {given.rounds} rounds\n")
    print(table(peers))
    if given.json:
        rows = [
            {name: value for name, value in vars(peer).items() if name not in ("read", "command", "alone")}
            for peer in peers
        ]
        text = json.dumps({"config": config, "machine": machine(peers), "rows": rows}, indent=1)
        Path(given.json).write_text(text + "\n")


def arguments():
    parser = argparse.ArgumentParser(description="normfree, PyTorch and Burn at the same training step, side by side")
    parser.add_argument("--config", default="small", help="a file of configs/bench: small, medium or gpt2")
    parser.add_argument("--batch", type=int, help="in place of the configuration's")
    parser.add_argument("--norm", choices=("layer_norm", "none"), help="in place of the configuration's")
    parser.add_argument("--activation", choices=("gelu", "relu"), help="in place of the configuration's")
    parser.add_argument("--rounds", type=int, default=3, help="how often each program is started (default 3)")
    parser.add_argument("--only", nargs="+", default=[], metavar="KEY", help="these rows, by (the start of) their key")
    parser.add_argument("--skip", nargs="+", default=[], metavar="KEY", help="all rows but these")
    parser.add_argument("--list", action="store_true", help="show the rows and their keys, and run nothing")
    parser.add_argument("--json", metavar="FILE", help="write every number of every round there as well")
    parser.add_argument("--python", metavar="FILE", help="an interpreter that has torch, in place of a new environment")
    parser.add_argument("--normfree", metavar="FILE", help="a normfree binary, in place of building one")
    parser.add_argument("--spirv", action="store_true", help="Burn's SPIR-V compiler in place of its WGSL one")
    parser.add_argument("--warm-up", type=int, default=3, help="steps before timing (default 3)")
    parser.add_argument("--window", type=float, default=3.0, help="seconds of steps timed as one (default 3)")
    parser.add_argument("--windows", type=int, default=3, help="how many of them a round (default 3)")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds a program may take (default 1800)")
    return parser.parse_args()


def wanted(given, key):
    named = lambda names: any(key.startswith(name) for name in names)
    return (not given.only or named(given.only)) and not named(given.skip)


def any_wanted(given, keys):
    return any(wanted(given, key) for key in keys)


# --- the rows ---------------------------------------------------------------------------------------------------


def normfree(given, model, train, tokens):
    """`normfree bench` times the step with and without entropies by itself; a row for each."""
    rows = {
        "normfree": ("normfree, head entropy logged", ["--device", "adapter"], True),
        "normfree-plain": ("normfree, nothing logged", ["--device", "adapter"], False),
        "normfree-cpu": ("normfree on the CPU itself, head entropy logged", ["--device", "cpu"], True),
        "normfree-cpu-plain": ("normfree on the CPU itself, nothing logged", ["--device", "cpu"], False),
    }
    if not any_wanted(given, rows):
        return []
    binary = program(given.normfree) if given.normfree else None
    if binary is None and not given.list:
        build(ROOT, ROOT / "target", [])
        binary = ROOT / "target" / "release" / f"normfree{EXE}"
    command = [binary, "bench", ROOT / "configs" / "bench" / f"{given.config}.toml", "--json"]
    for key in ("norm", "activation_function"):
        command += ["--set", f'model.{key}="{model[key]}"']
    command += ["--set", f"train.batch_size={train['batch_size']}"]
    # Whole steps are timed in turns, so this process holds two models; the other one trains one.
    timed = [*command, "--only", "steps", "--compare", "entropy"]

    def alone(entropy):
        return [*command, "--only", "host", "--rounds", "3", "--set", f"observe.entropy={str(entropy).lower()}"]

    def read(entropy):
        def of(answer):
            for step in answer["steps"]:
                found = (step["norm"], step["activation"], step["entropy"])
                if found == (model["norm"], model["activation_function"], entropy):
                    return step["tokens_per_second"]
            raise Failed("bench did not time this step")

        return of

    return [
        Peer(key, title, timed + device, read(entropy), alone(entropy) + device)
        for key, (title, device, entropy) in rows.items()
    ]


def step_arguments(given, model, train):
    """What the steps in PyTorch and Burn take alike."""
    values = {
        "width": model["n_embd"],
        "layers": model["n_layer"],
        "heads": model["n_head"],
        "positions": model["n_positions"],
        "sequence": train.get("sequence_length", model["n_positions"]),
        "batch": train["batch_size"],
        "vocabulary": model["vocab_size"],
        "norm": model["norm"],
        "activation": model["activation_function"],
        "warm-up": given.warm_up,
        "window": given.window,
        "windows": given.windows,
    }
    return [word for name, value in values.items() for word in (f"--{name}", value)]


def read_steps(tokens):
    return lambda answer: tokens / statistics.median(answer["seconds_per_step"])


def torch(given, model, train, tokens):
    """The modes differ with the device. The first is the original recipe's: maps held for their entropies."""
    logged, plain = ["--attention", "eager", "--entropy"], ["--attention", "eager"]
    fused = ["--attention", "sdpa"]
    modes = {
        "cpu": {
            "torch-entropy": ("f32, head entropy logged", "f32", logged),
            "torch-plain": ("f32, nothing logged", "f32", plain),
            "torch-sdpa": ("f32, fused attention, nothing logged", "f32", fused),
            "torch-bf16": ("bf16 autocast, head entropy logged", "bf16", logged),
        },
        "cuda": {
            "torch-fp16": ("fp16 autocast, head entropy logged", "fp16", logged),
            "torch-entropy": ("f32, head entropy logged", "f32", logged),
            "torch-plain": ("f32, nothing logged", "f32", plain),
            "torch-sdpa": ("f32, fused attention, nothing logged", "f32", fused),
            "torch-compile": ("fp16 autocast, compiled, fused attention, nothing logged", "fp16", [*fused, "--compile"]),
        },
    }
    if not any_wanted(given, modes["cpu"] | modes["cuda"]):
        return []
    if given.list:
        python, devices = "", modes
    else:
        python = interpreter(given)
        devices = ["cuda" if has_cuda(python) else "cpu"]
    return [
        Peer(
            key,
            f"PyTorch {device.upper()} {title}",
            [python, HERE / "torch_step.py", *step_arguments(given, model, train)]
            + ["--device", device, "--precision", precision, *flags],
            read_steps(tokens),
            failure=FOR_GPUS_ALONE if device == "cpu" and too_large_for_a_cpu(given, train) else "",
        )
        for device in devices
        for key, (title, precision, flags) in modes[device].items()
    ]


def burn(given, model, train, tokens):
    compiler = "SPIR-V" if given.spirv else "WGSL"
    rows = {
        "burn-flex": ("Burn flex (CPU), f32, nothing logged", "flex"),
        "burn-wgpu": (f"Burn wgpu ({compiler}), f32, nothing logged", "wgpu"),
    }
    if not any_wanted(given, rows):
        return []
    target = MADE / ("burn-spirv" if given.spirv else "burn")
    if not given.list:
        build(HERE / "burn", target, ["--features", "spirv"] if given.spirv else [])
    binary = target / "release" / f"burn-step{EXE}"
    return [
        Peer(
            key,
            title,
            [binary, *step_arguments(given, model, train), "--device", device],
            read_steps(tokens),
            failure=FOR_GPUS_ALONE if device == "flex" and too_large_for_a_cpu(given, train) else "",
        )
        for key, (title, device) in rows.items()
    ]


def too_large_for_a_cpu(given, train):
    return given.config in FOR_GPUS and train["batch_size"] > SMALL_BATCH


# --- what they need -------------------------------------------------------------------------------------------------


def program(name):
    """A program by name or path, from any working directory. Links stay: an environment's interpreter is one."""
    return Path(shutil.which(name) or name).absolute()


def build(project, target, more):
    note(f"building {project.relative_to(ROOT) if project != ROOT else 'normfree'}")
    built = subprocess.run([*CARGO, "build", "--release", "--locked", "--target-dir", target, *more], cwd=project)
    if built.returncode != 0:
        sys.exit(f"{project} does not build")


def interpreter(given):
    """An interpreter with torch: the one named, or an environment under target/peers, made once."""
    if given.python:
        return program(given.python)
    folder = MADE / f"torch-{TORCH}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / f"python{EXE}"
    if not (folder / "whole").exists():
        note(f"installing torch {TORCH} into {folder.relative_to(ROOT)}")
        venv.create(folder, with_pip=True, clear=True)
        installed = subprocess.run([python, "-m", "pip", "install", "--quiet", f"torch=={TORCH}"])
        if installed.returncode != 0:
            sys.exit("torch could not be installed; --python takes an interpreter that has it")
        (folder / "whole").touch()
    return python


def has_cuda(python):
    seen = subprocess.run(
        [python, "-c", "import torch; print(torch.cuda.is_available())"], capture_output=True, text=True
    )
    if seen.returncode != 0:
        sys.exit(f"{python} has no torch that can be loaded:{last_line(seen.stderr)}")
    return seen.stdout.strip() == "True"


# --- one process ----------------------------------------------------------------------------------------------------


def run(words, timeout):
    """Runs a program to its end: what it answered, and the most memory it held, in bytes."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(words, stdout=out, stderr=err, cwd=MADE)
        except OSError as error:
            raise Failed(f"did not start: {error}")
        late = threading.Event()
        watch = threading.Timer(timeout, lambda: (late.set(), process.kill()))
        watch.start()
        memory = None
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            # Linux counts in KiB, macOS in bytes.
            memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        else:
            process.wait()
        watch.cancel()
        out.seek(0)
        err.seek(0)
        text, complaint = out.read().decode(errors="replace"), err.read().decode(errors="replace")
    if late.is_set():
        raise Failed(f"no answer within {timeout:.0f} s")
    if process.returncode != 0:
        raise Failed(f"failed: {ending(process.returncode)}{last_line(complaint)}")
    try:
        return json.loads(text), memory
    except ValueError as error:
        raise Failed(f"its answer is no JSON: {error}")


def take(peer, number, answer, memory):
    """Keeps what a program answered."""
    check_losses(answer)
    try:
        peer.speeds[number] = peer.read(answer)
    except (KeyError, TypeError) as error:
        raise Failed(f"its answer lacks something: {error!r}")
    peer.answers.append(answer)
    peer.memory.append(memory)
    peer.version = str(answer.get("version", ""))
    peer.first_steps.append(answer.get("first_step_after"))
    peer.device_memory.append(answer.get("device_bytes"))


def check_losses(answer):
    """A step that does not learn is no training step."""
    first, last = answer.get("first_loss"), answer.get("last_loss")
    if first is not None and not last < first:
        raise Failed(f"did not learn: the loss went from {first} to {last}")


def ending(code):
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f", {lines[-1][:160]}" if lines else ""


# --- the table ----------------------------------------------------------------------------------------------------


def table(peers):
    """Ratios are medians of each round's own ratio, so that a slow round weighs on both sides."""
    base = next((peer for peer in peers if peer.key in ("normfree", "normfree-cpu") and peer.speeds), None)
    rows = [["", "tokens/s", "of normfree", "rounds (tokens/s)", "first step after", "peak memory", "version"]]
    for peer in peers:
        if peer.failure:
            rows.append([peer.title, peer.failure, "", "", "", "", peer.version])
            continue
        ratio = "–"
        if base:
            shared = [peer.speeds[n] / base.speeds[n] for n in peer.speeds if n in base.speeds]
            ratio = f"{statistics.median(shared):.2f}" if shared else "–"
        memory = gib(peer.memory)
        if any(peer.device_memory):
            memory += f" + {gib(peer.device_memory)} of the device's"
        first = [seconds for seconds in peer.first_steps if seconds is not None]
        rows.append(
            [
                peer.title,
                f"{statistics.median(peer.speeds.values()):,.0f}",
                ratio,
                " ".join(f"{speed:,.0f}" for speed in peer.speeds.values()),
                # The first round's: later ones find what it left in caches.
                f"{first[0]:.1f} s" if first else "–",
                memory,
                peer.version,
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def gib(values):
    known = [value for value in values if value is not None]
    return f"{max(known) / 2**30:.2f} GiB" if known else "–"


def machine(peers):
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    adapters = [a["adapter"] for peer in peers for a in peer.answers if "adapter" in a]
    adapter = f"; adapter {adapters[0]['name']}, {adapters[0]['driver']}" if adapters else ""
    return f"{name}, {cores} cores{adapter}"


def note(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
