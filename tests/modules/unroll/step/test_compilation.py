"""Compilation: once for each shape, and what happens without a compiler."""

from collections.abc import Callable
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
