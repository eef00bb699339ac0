"""Times one matrix product in PyTorch, in the three layouts of a training step, and prints one line of JSON.

    python torch_product.py M N K TIMES f32|f16

products.py and `normfree card` call it. The device is PyTorch's accelerator (CUDA, ROCm, MPS, XPU), or else the CPU.
"""

import json
import sys
import time

import torch

m, n, k, times = map(int, sys.argv[1:5])
dtype = {"f32": torch.float32, "f16": torch.float16}[sys.argv[5]]
accelerated = torch.accelerator.is_available()
device = torch.accelerator.current_accelerator().type if accelerated else "cpu"
# Products in f32 are f32 in all programs that are compared.
torch.backends.cuda.matmul.allow_tf32 = False


def wait():
    if accelerated:
        torch.accelerator.synchronize()


def drawn(*shape):
    return torch.rand(*shape, device=device).to(dtype)


def seconds(a, b):
    """Of one product, each time: enough in a row that starting and waiting do not count."""
    for _ in range(3):
        a @ b
    wait()

    def row(repeats):
        begun = time.perf_counter()
        for _ in range(repeats):
            a @ b
        wait()
        return (time.perf_counter() - begun) / repeats

    repeats = max(1, min(1000, round(0.02 / row(1))))
    return [row(repeats) for _ in range(times)]


layouts = {
    "A · B": (drawn(m, k), drawn(k, n)),
    "A · Bᵀ": (drawn(m, k), drawn(n, k).T),
    "Aᵀ · B": (drawn(k, m).T, drawn(k, n)),
}
print(
    json.dumps(
        {
            "version": f"PyTorch {torch.__version__}",
            "device": device,
            "products": [{"layout": name, "seconds": seconds(*pair)} for name, pair in layouts.items()],
        }
    )
)
