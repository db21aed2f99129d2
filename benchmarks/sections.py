"""The parts of the benchmark in the order in which they are measured: each gives figures and rows for people."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.engines import Case, compare, paper_size, peak_megabytes, small_networks
from benchmarks.evaluation import CASES, together_or_alone
from benchmarks.machine import copy_rate, product_rate
from benchmarks.scaling import growth
from benchmarks.streams import streams
from rtp.cli.process import keep_compilations, keep_freed_memory

Figures = dict[str, Any]
Row = tuple[str, str]


@dataclass(frozen=True)
class Section:
    """A part of the benchmark.

    Attributes:
        title: What is measured.
        measure: Returns figures by their names in the JSON, given those of the parts before.
        rows: What and its figure, for the table, from the figures.
    """

    title: str
    measure: Callable[[Mapping[str, Any]], Figures]
    rows: Callable[[Figures], Iterator[Row]]


QUICK = Case(steps=3, width=32, images=20, real=20)
"""Small enough for a slow machine, where compilation is what takes long."""


def sections(quick: bool, device: torch.device) -> Iterator[Section]:
    """All parts; quick ones compile one engine without its variants, and leave out what takes minutes."""
    case = QUICK if quick else Case()
    # first, in processes of their own, and before this one has taken memory
    yield Section("memory", lambda _: {"peak_memory_mb": _memory(case, quick, device)}, _memory_rows)
    yield Section("the machine", lambda _: {"rates": _rates(device)}, _rate_rows)
    yield Section("engines", lambda _: _engines(case, quick, device), _engine_rows)
    cases = 2 if quick else len(CASES)
    yield Section("evaluation", lambda _: _evaluation(1 if quick else 3, device, cases), _evaluation_rows)
    rounds, lengths = (2, (10,)) if quick else (5, (10, 150))
    yield Section("streams", lambda _: {"streams": streams(rounds, device, lengths, not quick)}, _stream_rows)
    if not quick:
        yield Section("small networks", lambda _: {"small_networks": small_networks(3, device)}, _small_rows)
    if device.type == "cuda":
        yield Section("the paper's size", lambda f: {"paper_size": paper_size(3, device, f["rates"])}, _paper_rows)
    yield Section("growth", lambda _: {"growth": growth(1 if quick else 3, device, whole=not quick)}, _growth_rows)


def _memory(case: Case, quick: bool, device: torch.device) -> dict[str, float]:
    steps = (10,) if quick else (10, 100)
    peaks = {f"T={n}": peak_megabytes(dataclasses.replace(case, steps=n), device, not quick) for n in steps}
    return peaks if quick else peaks | {"weights of 90 steps": 90 * weights_megabytes(case)}


def weights_megabytes(case: Case) -> float:
    """What one step of the trajectory takes: the ConvNet's weights in float32."""
    convolutions = 9 * case.width * (3 + 2 * case.width) + 3 * 3 * case.width  # with biases, scales and shifts
    return 4 * (convolutions + (16 * case.width + 1) * case.classes) / 1e6


def _memory_rows(figures: Figures) -> Iterator[Row]:
    yield from ((f"peak memory, {key}", f"{value:.0f} MB") for key, value in figures["peak_memory_mb"].items())


def _rates(device: torch.device) -> dict[str, float]:
    # from here on this process is as rtp's own
    keep_compilations()
    keep_freed_memory()
    torch.manual_seed(0)
    rates = {
        "product_gflops": product_rate(device) / 1e9,
        "product_bf16_gflops": product_rate(device, torch.bfloat16) / 1e9,
        "copy_gb_per_second": copy_rate(device) / 1e9,
    }
    return rates | ({"product_tf32_gflops": product_rate(device, tf32=True) / 1e9} if device.type == "cuda" else {})


def _rate_rows(figures: Figures) -> Iterator[Row]:
    yield from ((key.replace("_", " "), f"{value:.0f}") for key, value in figures["rates"].items())


def _engines(case: Case, quick: bool, device: torch.device) -> Figures:
    found = compare(case, 2 if quick else 3, device, variants=not quick)
    ratios = {key: found.pop(key) for key in list(found) if key.startswith(("speedup", "fraction", "outer"))}
    return {**ratios, "engines": found}


def _engine_rows(figures: Figures) -> Iterator[Row]:
    engines = figures["engines"]
    for name, times in engines["seconds"].items():
        yield f"outer step, {name.replace('_', ' ')}", f"{sorted(times)[len(times) // 2]:.2f} s"
    yield "the same arithmetic as a matrix product", f"{engines['seconds_at_product_rate']:.2f} s"
    for name, error in engines["relative_error_of_gradient"].items():
        if name != "higher":
            yield f"relative error of the gradient, {name.replace('_', ' ')}", f"{error:.1e}"
    for key, value in figures.items():
        if key.startswith(("speedup", "fraction")):
            yield key.replace("_", " "), f"{value:.2f}"


def _evaluation(rounds: int, device: torch.device, cases: int) -> Figures:
    found = together_or_alone(rounds, device, cases)
    return {"evaluation_speedup": next(iter(found.values()))["evaluation_speedup"], "evaluation": found}


def _evaluation_rows(figures: Figures) -> Iterator[Row]:
    for key, value in figures["evaluation"].items():
        yield f"evaluation together, {key}", f"{value['together_is_faster_by']:.2f} times as fast"


def _paper_rows(figures: Figures) -> Iterator[Row]:
    for key, value in figures["paper_size"].items():
        yield f"the paper's size, {key}", f"{value['outer_steps_per_second']:.2f} outer steps a second"


def _small_rows(figures: Figures) -> Iterator[Row]:
    for key, value in figures["small_networks"].items():
        times = f"{value['seconds_stepwise_compiled_kept']:.2f} s, {value['speedup_kept_vs_higher']:.2f} times as fast"
        yield f"{key}, activations kept", f"{times} as higher, {value['gflops_kept']:.0f} GFLOP/s"


def _stream_rows(figures: Figures) -> Iterator[Row]:
    for key, value in figures["streams"].items():
        times = f"{1000 * value['seconds_span']:.0f} ms, {value['speedup_span_vs_higher']:.1f} times as fast as higher"
        yield f"stream, {key}, in the bases' span", times


def _growth_rows(figures: Figures) -> Iterator[Row]:
    cases = figures["growth"]
    yield from ((f"growth, {key}", f"{v['seconds'] / cases['base']['seconds']:.2f}") for key, v in cases.items())
