"""Compilation of functions of tensors with torch.compile, with a fallback where it fails."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from rtp.errors import first_line
from rtp.runs.device_faults import is_device_fault

log = logging.getLogger(__name__)

TensorFunction = Callable[..., Any]
"""Takes tensors, returns a tensor or a tuple of them; draws no random numbers and changes nothing."""


class Compiler:
    """Compiles functions for the arguments they are called with; after a failure, all of them run uncompiled.

    A function is first traced into a graph of PyTorch's basic operations, without the transforms of torch.func,
    autograd functions and torch-function modes that torch.compile supports only in part. Compiled functions cannot be
    differentiated. On a GPU the kernels are launched as one CUDA graph.
    """

    def __init__(self) -> None:
        self._works = True
        self._removed: set[Path] = set()

    def __call__(self, function: TensorFunction) -> TensorFunction:
        """The function, compiled once for each combination of shapes, types and devices."""
        compiled: dict[tuple[Any, ...], TensorFunction] = {}

        def call(*arguments: Tensor) -> Any:
            key = tuple((argument.shape, argument.dtype, argument.device) for argument in arguments)
            if self._works and key not in compiled:
                compiled[key] = self._compiled(function, arguments)
            return compiled[key](*arguments) if self._works else function(*arguments)

        return call

    def _compiled(self, function: TensorFunction, arguments: tuple[Tensor, ...]) -> TensorFunction:
        begin = time.perf_counter()
        log.info("compiling %s of a step (up to a minute; it is kept for the next run)", function.__name__)
        on_gpu = arguments[0].is_cuda
        try:
            graph = make_fx(function, tracing_mode="fake")(*arguments)
            fast = torch.compile(graph, dynamic=False, mode="reduce-overhead" if on_gpu else None)
            result = _outside_of_cuda_graphs(fast) if on_gpu else fast
            for _ in range(3 if on_gpu else 1):  # a CUDA graph is warmed up, captured and replayed
                result(*arguments)
        except Exception as error:
            if is_device_fault(error):  # running uncompiled would only raise it again, and hide where it came from
                raise
            damaged = _damaged_file(error)
            if damaged is not None and damaged not in self._removed:  # once: it may come back damaged
                self._removed.add(damaged)
                with suppress(OSError):  # of a cache that is read-only, whose file fails again
                    damaged.unlink()
                log.info("compiling again: %s was damaged", damaged)
                return self._compiled(function, arguments)
            # whatever else a missing or broken compiler makes torch.compile raise
            log.warning("not compiled, so slower: %s", first_line(error))
            self._works = False
            return function
        log.info("compiled %s of a step in %.0f s", function.__name__, time.perf_counter() - begin)
        return result


def _damaged_file(error: BaseException | None) -> Path | None:
    """The compiled file of PyTorch's cache that cannot be loaded, if that is the error.

    A process that is killed while it compiles leaves half a file, which PyTorch would try again in every later run.
    """
    while error is not None:
        if isinstance(error, ImportError) and error.path and Path(error.path).suffix == ".so":
            return Path(error.path)
        error = error.__cause__ or error.__context__
    return None


def _outside_of_cuda_graphs(function: TensorFunction) -> TensorFunction:
    """Copy the results of a CUDA graph, which its next launch overwrites."""

    def call(*arguments: Tensor) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        result = function(*arguments)
        return result.clone() if isinstance(result, Tensor) else tuple(part.clone() for part in result)

    return call
