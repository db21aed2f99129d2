"""Measure, print a table and write `benchmarks/results/<device>.json`: `python -m benchmarks [--quick]`."""

import argparse
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import torch

from benchmarks.engines import Case, compare, paper_size, peak_megabytes, small_networks
from benchmarks.evaluation import together_or_alone
from benchmarks.machine import copy_rate, default_device, device_name, product_rate
from benchmarks.scaling import growth
from benchmarks.streams import streams
from rtp.cli.process import keep_compilations, keep_freed_memory

RESULTS = Path(__file__).parent / "results"


def measure(quick: bool) -> dict[str, Any]:
    """All figures of this machine; ratios are of times taken in turn."""
    device = default_device()
    case = Case(steps=3, width=64, images=50, real=50) if quick else Case()
    # in processes of their own, and before this one has taken memory
    memory = {steps: peak_megabytes(dataclasses.replace(case, steps=steps), device) for steps in (10, 100)}
    keep_compilations()
    keep_freed_memory()
    torch.manual_seed(0)
    rates = {
        "product_gflops": product_rate(device) / 1e9,
        "product_bf16_gflops": product_rate(device, torch.bfloat16) / 1e9,
        "copy_gb_per_second": copy_rate(device) / 1e9,
    }
    if device.type == "cuda":
        rates["product_tf32_gflops"] = product_rate(device, tf32=True) / 1e9
    engines = compare(case, 2 if quick else 3, device)
    evaluation = together_or_alone(1 if quick else 3, device)
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch_version": torch.__version__.split("+")[0],
        "quick": quick,
        **{key: engines.pop(key) for key in list(engines) if key.startswith(("speedup", "fraction", "outer"))},
        "evaluation_speedup": evaluation["8x8 pixels, 10 images, width 32"]["evaluation_speedup"],
        "peak_memory_mb": {f"T={steps}": value for steps, value in memory.items()}
        | {"weights of 90 steps": 90 * weights_megabytes(case)},
        "rates": rates,
        "engines": engines,
        "evaluation": evaluation,
        **({} if quick else {"small_networks": small_networks(3, device)}),
        **({"paper_size": paper_size(3, device, rates)} if device.type == "cuda" else {}),
        "streams": streams(2 if quick else 5, device, (10,) if quick else (10, 150)),
        "growth": growth(1 if quick else 3, device, compile=not quick),
    }


def weights_megabytes(case: Case) -> float:
    """What one step of the trajectory takes: the ConvNet's weights in float32."""
    convolutions = 9 * case.width * (3 + 2 * case.width) + 3 * 3 * case.width  # with biases, scales and shifts
    return 4 * (convolutions + (16 * case.width + 1) * case.classes) / 1e6


def table(result: dict[str, Any]) -> str:
    """What was measured, for people."""
    engines, rates = result["engines"], result["rates"]
    rows: list[tuple[str, str]] = [
        ("machine", f"{result['device']}, {result['threads']} threads, torch {result['torch_version']}"),
        *((key.replace("_", " "), f"{value:.0f}") for key, value in rates.items()),
        *(
            (f"outer step, {name.replace('_', ' ')}", f"{sorted(times)[len(times) // 2]:.2f} s")
            for name, times in engines["seconds"].items()
        ),
        *(
            (f"relative error of the gradient, {name.replace('_', ' ')}", f"{error:.1e}")
            for name, error in engines["relative_error_of_gradient"].items()
            if name != "higher"
        ),
        ("the same arithmetic as a matrix product", f"{engines['seconds_at_product_rate']:.2f} s"),
        *((key.replace("_", " "), f"{result[key]:.2f}") for key in result if key.startswith(("speedup", "fraction"))),
        *((f"peak memory, {key}", f"{value:.0f} MB") for key, value in result["peak_memory_mb"].items()),
        *(
            (f"evaluation together, {key}", f"{value['together_is_faster_by']:.2f} times as fast")
            for key, value in result["evaluation"].items()
        ),
        *(
            (f"the paper's size, {key}", f"{value['outer_steps_per_second']:.2f} outer steps a second")
            for key, value in result.get("paper_size", {}).items()
        ),
        *(
            (
                f"{key}, activations kept",
                f"{value['seconds_stepwise_compiled_kept']:.2f} s, {value['speedup_kept_vs_higher']:.2f} times as fast "
                f"as higher, {value['gflops_kept']:.0f} GFLOP/s",
            )
            for key, value in result.get("small_networks", {}).items()
        ),
        *(
            (
                f"stream, {key}, in the bases' span",
                f"{1000 * value['seconds_span']:.0f} ms, {value['speedup_span_vs_higher']:.1f} times as fast as higher",
            )
            for key, value in result["streams"].items()
        ),
        *(
            (f"growth, {key}", f"{value['seconds'] / result['growth']['base']['seconds']:.2f}")
            for key, value in result["growth"].items()
        ),
    ]
    return "\n".join(f"{what:48} {figure}" for what, figure in rows)


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smaller case, in under five minutes on two cores")
    quick = parser.parse_args().quick
    result = measure(quick)
    print(table(result))
    stem = re.sub(r"[^a-z0-9]+", "-", result["device"].lower()) + ("-quick" if quick else "")
    path = RESULTS / f"{stem}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to benchmarks/results/{path.name}")


if __name__ == "__main__":
    main()
