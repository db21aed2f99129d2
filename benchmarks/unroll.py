"""How long an outer step takes with each engine, and against this machine's own matrix product.

All figures come from one run, the engines in turn in each round, because machines drift: trust the ratios.

    python benchmarks/unroll.py [--rounds 3] [--steps 10] [--width 128] [--images 100]

Prints a table and writes `benchmarks/results/<device>.json`.
"""

import argparse
import json
import platform
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from rtp.modules import ConvNet, HigherUnroll, InnerSGD, StepwiseUnroll, Unroll
from rtp.modules.unroll import Episode

SHAPE, CLASSES, REAL_IMAGES = (3, 32, 32), 10, 640  # CIFAR-10 and the authors' 64 real images a class
MATRIX = 2048  # side of the product that gives the machine's rate: large enough to be compute-bound
# An outer step: 3 forward passes' worth of operations for each inner gradient and 6 for the second derivatives.
PASSES = 9


def forward_operations(width: int, images: int) -> int:
    """Floating-point operations of the convolutions of a forward pass, which are nearly all there are.

    Args:
        width: Channels of each of the three blocks of 32x32, 16x16 and 8x8 pixels.
        images: Images in the batch.
    """
    return 2 * 9 * images * (32**2 * SHAPE[0] * width + 16**2 * width**2 + 8**2 * width**2)


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of a call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rounds", 3), ("steps", 10), ("width", 128), ("images", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)

    images = torch.randn(500, *SHAPE, device=device, requires_grad=True)
    episode = Episode(
        images,
        torch.arange(500, device=device) % CLASSES,
        torch.randint(500, (options.steps, options.images), device=device),
        torch.randn(REAL_IMAGES, *SHAPE, device=device),
        torch.arange(REAL_IMAGES, device=device) % CLASSES,
    )
    engines: dict[str, Unroll] = {
        "higher": HigherUnroll(options.steps),
        "stepwise eager": StepwiseUnroll(options.steps, compile=False),
        "stepwise compiled": StepwiseUnroll(options.steps, compile=True),
    }

    def outer_step(engine: Unroll) -> None:
        with device:
            network = ConvNet(SHAPE, CLASSES, options.width)
        engine.meta_loss(network, InnerSGD(), episode).backward()

    matrix = torch.randn(MATRIX, MATRIX, device=device)
    print(
        f"first outer step, with compilation: {seconds(lambda: outer_step(engines['stepwise compiled']), device):.0f} s"
    )
    times: dict[str, list[float]] = {name: [] for name in engines}
    rates = []
    for _ in range(options.rounds):
        rates.append(2 * MATRIX**3 / min(seconds(lambda: matrix @ matrix, device) for _ in range(5)))
        for name, engine in engines.items():
            times[name].append(seconds(lambda engine=engine: outer_step(engine), device))  # type: ignore[misc]
    median = {name: statistics.median(values) for name, values in times.items()}
    at_rate = PASSES * options.steps * forward_operations(options.width, options.images) / statistics.median(rates)
    compiled = median["stepwise compiled"]
    result = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU",
        "threads": torch.get_num_threads(),
        "torch_version": torch.__version__.split("+")[0],
        "options": vars(options),
        "seconds": times,
        "matrix_product_gflops": statistics.median(rates) / 1e9,
        "seconds_at_that_rate": at_rate,
        "speedup_vs_higher": median["higher"] / compiled,
        "speedup_compiled_vs_eager": median["stepwise eager"] / compiled,
        "fraction_of_peak": at_rate / compiled,
        "outer_steps_per_second": 1 / compiled,
    }
    for name, values in times.items():
        print(f"{name:18} {median[name]:8.2f} s   ({min(values):.2f} to {max(values):.2f})")
    print(f"{'9F at sgemm rate':18} {at_rate:8.2f} s   ({result['matrix_product_gflops']:.0f} GFLOP/s)")
    for key in ("speedup_vs_higher", "speedup_compiled_vs_eager", "fraction_of_peak"):
        print(f"{key}: {result[key]:.2f}")
    stem = re.sub(r"[^a-z0-9]+", "-", f"{result['device']}".lower())
    path = Path(__file__).parent / "results" / f"{stem}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


if __name__ == "__main__":
    main()
