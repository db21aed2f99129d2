"""An outer step with each engine, against the machine's own matrix product; and its memory."""

import dataclasses
import gc
import math
import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import interleaved, medians, peak_bytes, product_rate, seconds, tf32_allowed
from rtp.cli.process import keep_compilations, keep_freed_memory
from rtp.modules import AddressableMemory, ConvNet, HigherUnroll, InnerSGD, StepwiseUnroll, Unroll
from rtp.modules.unroll.base import Episode, RealImages, draw_minibatches
from rtp.modules.unroll.step.functions import Precision

STEP_PASSES = 9
"""Forward passes' worth of arithmetic that a step is charged: 3 for its gradient, 6 for the second derivatives."""
JUDGE_PASSES = 3
KEPT = 1.0
"""Gigabytes of activations that one of the engines keeps: those of ten steps of the paper's ConvNet."""


@dataclass(frozen=True)
class Case:
    """The size of an outer step.

    Attributes:
        steps: Inner steps T.
        width: Channels of the ConvNet's three blocks; 128 in the paper.
        images: Recalled images in an inner minibatch.
        real: Real images of the outer loss. The authors' 640 would be a fifth of the work at T 10, and are
            a hundredth of it at T 150; as many as an inner minibatch keep the proportions.
        bases: Bases of the memory, of half the images' height and width.
        classes: Classes of the data set.
        shape: (C, H, W) of the images; the ConvNet pads grey ones of 28 pixels to 32.
    """

    steps: int = 10
    width: int = 128
    images: int = 100
    real: int = 100
    bases: int = 16
    classes: int = 10
    shape: tuple[int, int, int] = (3, 32, 32)

    @property
    def operations(self) -> float:
        """Floating-point operations that the outer step is charged: its convolutions', nearly all there are."""
        channels = (32**2 * self.shape[0] + 16**2 * self.width + 8**2 * self.width) * self.width
        forward = 2 * 9 * channels  # of one image: a multiplication and an addition for each of 3x3 pixels
        return forward * (STEP_PASSES * self.steps * self.images + JUDGE_PASSES * self.real)


def outer_step(case: Case, engine: Unroll, device: torch.device, tf32: bool = False) -> Callable[[], Tensor]:
    """A function that recalls images, unrolls the inner loop and returns the gradient with respect to the bases.

    A GPU's products are rounded to TF32 in it if asked, and else not.
    """
    torch.manual_seed(0)
    with device:
        slots = max(1, case.images // case.classes)
        pixels = math.prod(case.shape)
        floats = case.bases * (pixels // 4 + slots * case.classes)  # bases and one matrix for each slot
        budget = (floats + 0.5) / (case.classes * pixels)
        memory = AddressableMemory(case.shape, case.classes, images_per_class=budget, num_bases=case.bases)
        real = torch.randn(case.real, *case.shape)
        real_labels = torch.arange(case.real) % case.classes
        labels = torch.arange(case.classes).repeat_interleave(memory.num_slots)

    def run() -> Tensor:
        torch.manual_seed(1)
        with device:
            network = ConvNet(case.shape, case.classes, case.width)
        images = memory.recall(torch.arange(case.classes, device=device)).flatten(0, 1)
        minibatches = draw_minibatches(case.classes, memory.num_slots, slots, case.steps).to(device)
        episode = Episode(images, labels, minibatches, RealImages(real, real_labels))
        with tf32_allowed(tf32):
            return torch.autograd.grad(engine.meta_loss(network, InnerSGD(), episode), memory.bases)[0]

    return run


def engines(case: Case, device: torch.device, variants: bool = True) -> dict[str, Callable[[], Tensor]]:
    """An outer step with each engine, and with kept activations and other roundings if asked."""
    unrolls: dict[str, Unroll] = {
        "higher": HigherUnroll(case.steps),
        "stepwise_eager": StepwiseUnroll(case.steps, compile=False),
        "stepwise_compiled": StepwiseUnroll(case.steps),
    }
    if variants:
        unrolls["stepwise_compiled_kept"] = StepwiseUnroll(case.steps, activation_cache_gb=KEPT)
        unrolls["stepwise_compiled_bf16"] = StepwiseUnroll(case.steps, precision="bf16")
    functions = {name: outer_step(case, unroll, device) for name, unroll in unrolls.items()}
    if variants and device.type == "cuda":
        functions["stepwise_compiled_tf32"] = outer_step(case, StepwiseUnroll(case.steps), device, tf32=True)
    return functions


def compare(case: Case, rounds: int, device: torch.device, variants: bool = True) -> dict[str, Any]:
    """Time the engines in turn, with the machine's matrix product between them.

    On a CPU `higher` also runs in a process that gives freed memory back to the system, as Python does by itself; rtp
    keeps it, which helps `higher` as well.
    """
    functions = engines(case, device, variants)
    gradients = {name: function() for name, function in functions.items()}  # compiles
    rates: list[float] = []
    with plain_process(case, device) as plain_higher:
        times: dict[str, list[float]] = {}
        timed = {"product": lambda: rates.append(product_rate(device)), **functions}
        for _ in range(rounds):
            for name, values in interleaved(timed, 1, device).items():
                times.setdefault(name, []).extend(values)
            times.setdefault("higher_in_plain_process", []).append(plain_higher())
    del times["product"]
    middle = medians(times)
    rate = statistics.median(rates)
    compiled = middle["stepwise_compiled"]
    found = {
        "case": vars(case),
        "seconds": times,
        "product_gflops": rate / 1e9,
        "seconds_at_product_rate": case.operations / rate,
        "relative_error_of_gradient": {
            name: relative_error(gradient, gradients["higher"]) for name, gradient in gradients.items()
        },
        "speedup_vs_higher": middle["higher_in_plain_process"] / compiled,
        "speedup_vs_higher_with_memory_kept": middle["higher"] / compiled,
        "speedup_compiled_vs_eager": middle["stepwise_eager"] / compiled,
        "fraction_of_peak": case.operations / rate / compiled,
        "outer_steps_per_second": 1 / compiled,
    }
    if not variants:
        return found
    kept = middle["stepwise_compiled_kept"]
    return found | {
        "speedup_bf16": compiled / middle["stepwise_compiled_bf16"],
        "speedup_kept_vs_higher": middle["higher_in_plain_process"] / kept,
        "speedup_kept_vs_higher_with_memory_kept": middle["higher"] / kept,
        "speedup_kept_vs_eager": middle["stepwise_eager"] / kept,
        "fraction_of_peak_kept": case.operations / rate / kept,
    }


PAPER = Case(steps=150, images=320, real=640)
"""CIFAR10 with one image a class: 32 slots of each class in an inner minibatch, 64 real images."""


def paper_size(
    rounds: int, device: torch.device, rates: Mapping[str, float], case: Case = PAPER
) -> dict[str, dict[str, float]]:
    """Time the compiled engine at the paper's size, which takes minutes on a CPU and does not fit for `higher`.

    Args:
        rounds: Times that each setting is measured.
        device: Where.
        rates: GFLOP/s of a matrix product, "product_gflops" in float32, "product_tf32_gflops", "product_bf16_gflops".
        case: The size.
    """
    settings: dict[str, tuple[Precision, float]] = {
        "fp32": ("fp32", 0.0),
        "tf32": ("fp32", 0.0),
        "bf16": ("bf16", 0.0),
        "bf16, activations kept": ("bf16", 1000.0),
    }
    functions = {
        name: outer_step(case, StepwiseUnroll(case.steps, None, True, precision, kept), device, tf32=name == "tf32")
        for name, (precision, kept) in settings.items()
        if name != "tf32" or device.type == "cuda"
    }
    for function in functions.values():
        function()
    middle = medians(interleaved(functions, rounds, device))
    return {
        name: {
            "outer_steps_per_second": 1 / value,
            "gflops": (gflops := case.operations / value / 1e9),
            "fraction_of_peak": gflops / rates[f"product_{name.partition(',')[0]}_gflops".replace("_fp32", "")],
        }
        for name, value in middle.items()
    }


SMALL = {
    f"ConvNet-{width}, {shape[0]}x{shape[1]}x{shape[2]}": Case(width=width, shape=shape)
    for width in (16, 32)
    for shape in ((1, 28, 28), (3, 32, 32))
}
"""The networks of `configs/cpu/`."""


def small_networks(rounds: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Time `higher` and the compiled engine, without and with kept activations, on networks for a CPU."""
    result = {}
    for name, case in SMALL.items():
        functions = engines(case, device)
        chosen = {key: functions[key] for key in ("higher", "stepwise_compiled", "stepwise_compiled_kept")}
        for function in chosen.values():
            function()  # compiles
        middle = medians(interleaved(chosen, rounds, device))
        result[name] = {
            **{f"seconds_{key}": value for key, value in middle.items()},
            "gflops_kept": case.operations / middle["stepwise_compiled_kept"] / 1e9,
            "speedup_kept_vs_higher": middle["higher"] / middle["stepwise_compiled_kept"],
        }
    return result


def relative_error(value: Tensor, reference: Tensor) -> float:
    """||value - reference|| / ||reference||."""
    return float((value - reference).norm() / reference.norm())


@contextmanager
def plain_process(case: Case, device: torch.device) -> Iterator[Callable[[], float]]:
    """A function that times an outer step of `higher` in a process without `keep_freed_memory`; a GPU has no need."""
    if device.type == "cuda":
        step = outer_step(case, HigherUnroll(case.steps), device)
        yield lambda: seconds(step, device)
        return
    with own_process() as process:
        yield lambda: process.submit(_seconds_of_higher, case, device).result()


def own_process() -> ProcessPoolExecutor:
    """A fresh process, which ends by itself: what compiles in it leaves semaphores behind where it is killed."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def _seconds_of_higher(case: Case, device: torch.device) -> float:
    return seconds(outer_step(case, HigherUnroll(case.steps), device), device)


def peak_megabytes(case: Case, device: torch.device, compile: bool = True) -> float:
    """The most memory that an outer step takes, in a process of its own."""
    with own_process() as process:
        return process.submit(_peak, case, device, compile).result() / 1e6


def _peak(case: Case, device: torch.device, compile: bool) -> int:
    keep_compilations()
    outer_step(dataclasses.replace(case, steps=1), StepwiseUnroll(1, compile=compile), device)()  # compiles
    gc.collect()
    keep_freed_memory()  # now, as what the compiler has used could be used again otherwise
    return peak_bytes(outer_step(case, StepwiseUnroll(case.steps, compile=compile), device), device)
