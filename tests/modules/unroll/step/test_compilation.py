"""Compilation: once for each shape, and what happens without a compiler."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rtp.modules.unroll.step.compilation import Compiler


def test_each_combination_of_shapes_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def remember(graph: Callable[..., Any], **_: object) -> Callable[..., Any]:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", remember)

    def cubes_slope(x: Tensor) -> Tensor:
        return torch.func.grad(lambda y: (y**3).sum())(x)

    compiled = Compiler()(cubes_slope)
    for shape in (3, 5, 3, 5):
        x = torch.arange(shape, dtype=torch.float64)
        assert torch.equal(compiled(x), 3 * x**2)
    assert len(graphs) == 2


@pytest.mark.parametrize(
    ("said", "shown"),
    [("No working C++ compiler found\nand much more", "No working C++ compiler found"), ("", "RuntimeError")],
)
def test_without_a_compiler_it_says_so_once_and_goes_on(
    said: str, shown: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> Callable[..., Any]:
        raise RuntimeError(said)

    monkeypatch.setattr(torch, "compile", refuse)
    compiler = Compiler()
    double, square = compiler(lambda x: 2 * x), compiler(lambda x: x * x)
    three = torch.tensor(3.0)
    assert double(three) == 6
    assert square(three) == 9
    assert double(three) == 6
    messages = [record.message for record in caplog.records if record.name.startswith("rtp")]
    assert messages == [f"not compiled, so slower: {shown}"]


def test_a_fault_of_the_device_is_raised_and_not_taken_for_a_compiler_s(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Callable[..., Any]:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700)

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(torch.AcceleratorError, match="illegal memory access"):
        Compiler()(lambda x: 2 * x)(torch.tensor(3.0))


COMPILES = """
import logging, torch
from rtp.modules.unroll.step.compilation import Compiler
logging.basicConfig(format="%(message)s", level="WARNING")
logging.getLogger("rtp").setLevel("INFO")
x = torch.linspace(0, 1, 100)
def tangents(x): return (x.sin() / x.cos()).flip(0)
print(torch.allclose(Compiler()(tangents)(x), x.tan().flip(0)))
"""


def test_half_a_file_in_the_cache_is_compiled_again(tmp_path: Path) -> None:
    def run() -> str:
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", COMPILES], env=environment, capture_output=True, text=True)
        assert done.stdout == "True\n", done.stderr
        assert "so slower" not in done.stderr
        return done.stderr

    run()
    compiled = list(tmp_path.rglob("*.so"))
    assert compiled
    for file in compiled:
        file.write_bytes(file.read_bytes()[:100])
    repaired = run()  # which of the files PyTorch loads first, depends on the machine
    assert any(f"compiling again: {file} was damaged" in repaired for file in compiled)
    assert "compiling again" not in run()


def test_a_file_that_comes_back_damaged_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = tmp_path / "kernel.so"

    def compile(*_: object, **__: object) -> Callable[..., Any]:
        damaged.write_bytes(b"half")
        raise RuntimeError from ImportError("file too short", path=str(damaged))

    monkeypatch.setattr(torch, "compile", compile)
    assert Compiler()(lambda x: 2 * x)(torch.tensor(3.0)) == 6
    assert [record.message for record in caplog.records if record.name.startswith("rtp")] == [
        "not compiled, so slower: RuntimeError"
    ]


def test_other_errors_remove_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "module.py"
    source.touch()
    for error in (ImportError("no such name", path=str(source)), RuntimeError("no compiler")):

        def refuse(*_: object, error: Exception = error, **__: object) -> Callable[..., Any]:
            raise error

        monkeypatch.setattr(torch, "compile", refuse)
        assert Compiler()(lambda x: 2 * x)(torch.tensor(3.0)) == 6
    assert source.exists()
