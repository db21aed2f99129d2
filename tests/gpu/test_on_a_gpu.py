"""What only a CUDA GPU can show: `make test-gpu`. Elsewhere tests/pretended_gpu stands in for it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.engines import Case, outer_step, relative_error
from benchmarks.machine import tf32_allowed
from benchmarks.streams import outer_step as stream_step
from rtp.cli import main
from rtp.modules import HigherUnroll, SpanUnroll, StepwiseUnroll, Unroll
from rtp.modules.unroll import stepwise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU"),
]
GPU, CPU = torch.device("cuda"), torch.device("cpu")
CONF = Path(__file__).parents[1] / "conf"
SMALL = Case(steps=3, width=16, images=20, real=20, bases=8)
STEPWISE: dict[str, dict[str, Any]] = {
    "eager": {"compile": False},
    "compiled": {},
    "kept": {"activation_cache_gb": 1.0},
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def gradient(engine: Unroll, device: torch.device) -> Tensor:
    return outer_step(SMALL, engine, device)().cpu()


@pytest.mark.parametrize("name", STEPWISE)
def test_the_engines_agree_on_the_gpu(name: str) -> None:
    # float32 over three steps, see docs/log.md, "How many digits does a float32 gradient have?"
    found = gradient(StepwiseUnroll(SMALL.steps, **STEPWISE[name]), GPU)
    assert relative_error(found, gradient(HigherUnroll(SMALL.steps), GPU)) < 2e-2


def test_the_span_of_the_bases_is_enough_on_the_gpu() -> None:
    found, expected = (stream_step(8, 1, engine, GPU)() for engine in (SpanUnroll(10), HigherUnroll(10)))
    assert relative_error(found, expected) < 1e-3


def test_a_trajectory_in_the_host_s_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = StepwiseUnroll(SMALL.steps, compile=False)
    usual = gradient(engine, GPU)
    monkeypatch.setattr(stepwise, "fits", lambda *_: False)
    torch.testing.assert_close(gradient(engine, GPU), usual, rtol=1e-5, atol=1e-7)


def test_tf32_rounds_products_and_convolutions_and_nothing_does_without() -> None:
    images, weights = torch.randn(8, 64, 32, 32, device=GPU), torch.randn(64, 64, 3, 3, device=GPU)
    operations = (
        lambda x, w: x.flatten(1) @ x.flatten(1).T,
        lambda x, w: torch.conv2d(x, w),
    )
    for operation in operations:
        exact = operation(images.double(), weights.double())
        with tf32_allowed(False):
            assert relative_error(operation(images, weights), exact) < 1e-5
        if torch.cuda.get_device_capability() >= (8, 0):  # Ampere
            with tf32_allowed(True):
                assert 1e-5 < relative_error(operation(images, weights), exact) < 5e-3


@pytest.mark.parametrize("config", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_module_is_trained_and_tested(config: Path) -> None:
    on_gpu = ["--trainer.accelerator", "gpu", "--trainer.enable_progress_bar", "false"]
    main(["fit", "--config", str(config), "--run_dir", "run", *on_gpu])
    main(["test", "--ckpt_path", "run/last.ckpt", *on_gpu])
    assert Path("run/test.json").is_file()


@pytest.mark.parametrize("name", ["addressable", "stepwise", "image_addressing"])
def test_a_deterministic_run_goes_on_bit_for_bit(name: str) -> None:
    settings = ["--trainer.accelerator", "gpu", "--trainer.deterministic", "true"]
    settings += ["--model.augmentation", "SiameseAugmentation"]
    command = ["fit", "--config", str(CONF / f"{name}.yaml"), "--trainer.enable_progress_bar", "false", *settings]
    try:
        whole = main([*command, "--run_dir", "whole", "--trainer.max_steps", "4"]).model.state_dict()
        main([*command, "--run_dir", "part", "--trainer.max_steps", "2"])
        last = ["--trainer.max_steps", "4", "--ckpt_path", "last"]
        continued = main([*command, "--run_dir", "part", *last]).model.state_dict()
    finally:
        torch.use_deterministic_algorithms(False)
    for key, value in whole.items():
        assert torch.equal(value, continued[key]), key
