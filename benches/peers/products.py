#!/usr/bin/env python3
"""One matrix product in normfree, the crate gemm and PyTorch, in turns: one table of ratios from one run.

    python3 benches/peers/products.py 1024x3072x768

Standard library only. See README.md beside this file.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

from run import EXE, HERE, MADE, ROOT, build, machine, note, program


def main():
    parser = argparse.ArgumentParser(description="normfree, gemm and PyTorch at the same matrix product")
    parser.add_argument("extents", help="MxNxK: rows and columns of the product, and what is summed over")
    parser.add_argument("--rounds", type=int, default=3, help="how often each program is started (default 3)")
    parser.add_argument("--times", type=int, default=9, help="products timed each time (default 9)")
    parser.add_argument("--half", action="store_true", help="f16 instead of f32; without gemm")
    parser.add_argument("--every-way", action="store_true", help="on a software device, also time the variants meant for GPUs")
    parser.add_argument("--python", metavar="FILE", help="an interpreter that has torch; without it PyTorch is left out")
    parser.add_argument("--normfree", metavar="FILE", help="a normfree binary, in place of building one")
    given = parser.parse_args()
    m, n, k = (int(size) for size in given.extents.split("x"))
    number = "f16" if given.half else "f32"

    MADE.mkdir(parents=True, exist_ok=True)
    binary = program(given.normfree) if given.normfree else ROOT / "target" / "release" / f"normfree{EXE}"
    if not given.normfree:
        build(ROOT, ROOT / "target", [])
    ours = [binary, "bench", "--product", given.extents, "--rounds", given.times, "--json"]
    # In every variant: those of an adapter, where the CPU would have one.
    ours += ["--device", os.environ.get("NORMFREE_DEVICE", "adapter")]
    ours += ["--half"] * given.half + ["--every-way"] * given.every_way
    commands = {"normfree": ours}
    if not given.half:
        build(HERE / "gemm", MADE / "gemm", [])
        commands["gemm"] = [MADE / "gemm" / "release" / f"gemm-product{EXE}", m, n, k, given.times]
    if given.python:
        commands["PyTorch"] = [program(given.python), HERE / "torch_product.py", m, n, k, given.times, number]

    # (layout, name) → seconds of each round.
    rounds = {}
    adapter = ""
    for turn in range(given.rounds):
        for name, command in commands.items():
            note(f"round {turn + 1} of {given.rounds}: {name}")
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{name} failed: {done.stderr.strip()}")
            answer = json.loads(done.stdout)
            if name == "normfree":
                adapter = f"{answer['adapter']['name']}, {answer['adapter']['driver']}"
                for variant in answer["ways"]:
                    mark = "" if variant["agrees"] else " (WRONG)"
                    key = (variant["layout"], f"normfree, {variant['way']}{mark}")
                    rounds.setdefault(key, []).append(variant["seconds"]["median"])
            else:
                for row in answer["products"]:
                    title = ", ".join(answer[word] for word in ("version", "device") if word in answer)
                    key = (row["layout"], title)
                    rounds.setdefault(key, []).append(statistics.median(row["seconds"]))

    print(f"\n{given.extents} in {number}; {machine([])}; {adapter}; medians of {given.rounds} rounds\n")
    print("| layout | | GFLOP/s | of the fastest peer |")
    print("| --- | --- | --- | --- |")
    for layout in ("A · B", "A · Bᵀ", "Aᵀ · B"):
        rows = [(name, seconds) for (of, name), seconds in rounds.items() if of == layout]
        peers = [seconds for name, seconds in rows if not name.startswith("normfree")]
        for name, seconds in sorted(rows, key=lambda row: statistics.median(row[1])):
            rate = 2 * m * n * k / statistics.median(seconds) / 1e9
            # Round by round, so that a slow one weighs on both sides.
            ratios = [min(peer[i] for peer in peers) / own for i, own in enumerate(seconds)] if peers else []
            ratio = f"{statistics.median(ratios):.2f}" if ratios else "–"
            print(f"| {layout} | {name} | {rate:,.1f} | {ratio} |")


if __name__ == "__main__":
    main()
