"""A memory trained in a format: what is validated, tested and exported is what a file stores, bit for bit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from rtp.artefact import load
from rtp.cli import main
from rtp.cli.commands.export import export, load_memory
from rtp.cli.commands.info import info
from rtp.errors import UserError
from rtp.modules import Distillation
from rtp.modules.memories.addressable import AddressableMemory
from rtp.modules.memories.base import Memory
from rtp.modules.memories.image_addressing import ImageAddressedMemory
from rtp.modules.memories.number_formats import rounded
from rtp.modules.memories.pixel import PixelMemory

CONF = Path(__file__).parents[1] / "conf"
KINDS = ("addressable", "average", "pixel", "tasks", "image_addressing")
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.logger=false")


def all_recalled(memory: Memory) -> torch.Tensor:
    """What a memory recalls by each label, or by one image."""
    with torch.no_grad():
        if isinstance(memory, ImageAddressedMemory):
            return memory.recall_images(torch.ones(1, *memory.image_shape))
        return memory.recall(torch.arange(memory.query_dim))


@pytest.mark.parametrize("stored_as", ["float16", "int8", "int4"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_validated_and_exported_is_what_is_stored(kind: str, stored_as: str, tmp_path: Path) -> None:
    run, path = tmp_path / "run", tmp_path / "memory.safetensors"
    option = f"--model.memory.stored_as={stored_as}"
    cli = main(["fit", "--config", str(CONF / f"{kind}.yaml"), "--run_dir", str(run), option, *QUIET])
    module = cli.model
    assert isinstance(module, Distillation)

    export([str(run / "best.ckpt"), str(path)])
    file = load(path)

    state = torch.load(run / "best.ckpt", weights_only=True)["state_dict"]
    module.load_state_dict(state)
    module.eval()  # as in validation
    assert torch.equal(all_recalled(module.memory), all_recalled(file.memory))
    assert not torch.equal(state["memory." + next(iter(module.memory.state_dict()))], next(file.memory.parameters()))
    assert file.description.stored_as == file.description.trained_as == stored_as
    learned = 4 if kind == "average" else 0  # of the rate, which a file states in its protocol
    assert file.storage_bytes == module.storage_bytes - learned
    with safe_open(path, "pt") as content:
        stored = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118  # no mapping
    numbers = sum(t.nbytes for name, t in stored.items() if not name.startswith(("zca", "mean", "std")))
    assert numbers == file.storage_bytes
    again = tmp_path / "again.safetensors"
    export([str(path), str(again)])
    with safe_open(again, "pt") as content:
        assert all(torch.equal(content.get_tensor(name), tensor) for name, tensor in stored.items())


def test_a_checkpoint_is_described_in_its_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    option = "--model.memory.stored_as=int8"
    main(["fit", "--config", str(CONF / "addressable.yaml"), "--run_dir", str(run), option, *QUIET])
    assert "distilling digits into 8 bases of 1x4x4, 29 images a class, 2,448 numbers of int8, 2,522 bytes" in (
        capsys.readouterr().out
    )
    info([str(run)])
    assert "memory: 2,448 numbers, 2,522 bytes in int8: memory._bases 8x1x4x4" in capsys.readouterr().out


def test_a_test_measures_the_stored_numbers_whether_by_checkpoint_or_by_file(tmp_path: Path) -> None:
    run, path = tmp_path / "run", tmp_path / "memory.safetensors"
    option = "--model.memory.stored_as=int4"
    main(["fit", "--config", str(CONF / "addressable.yaml"), "--run_dir", str(run), option, *QUIET])
    export([str(run / "best.ckpt"), str(path)])
    results = []
    for source in (["--ckpt_path", str(run / "best.ckpt")], ["--memory", str(path), "--run_dir", str(tmp_path / "t")]):
        main(["test", *source, *QUIET])
        folder = run if source[0] == "--ckpt_path" else tmp_path / "t"
        results.append(json.loads((folder / "test.json").read_text())["results"][0])
    for name in ("accuracies", "storage_floats", "storage_bytes", "storage_percent", "bits_per_class"):
        assert results[0][name] == results[1][name]
    # 8 bases of 16 numbers and 4 bits: 8 * (8 + 2) bytes; the matrices 10 * 8 / 2 + 2; 2560 bytes in all
    assert results[0]["storage_bytes"] == 80 + 42 * ((2560 - 80) // 42)
    assert results[0]["bits_per_class"] == 8 * results[0]["storage_bytes"] / 10
    assert results[0]["images_per_class"] == (2560 - 80) // 42
    assert results[0]["seconds"] > 0


def test_float_steps_learn_unrounded_numbers_and_validation_rounds_them(tmp_path: Path) -> None:
    seen: list[tuple[str, bool]] = []

    class Recording(AddressableMemory):
        def recall(self, labels: torch.Tensor) -> torch.Tensor:
            is_rounded = torch.equal(self.bases, rounded(self.bases, "int4"))
            seen.append(("train" if self.training else "eval", is_rounded))
            return super().recall(labels)

    globals()["Recording"] = Recording  # so that a class path finds it
    memory = ["--model.memory", f"{__name__}.Recording", "--model.memory.images_per_class=1"]
    options = ["--model.memory.num_bases=4", "--model.memory.stored_as=int4", "--model.memory.float_steps=2"]
    run = ["--config", str(CONF / "addressable.yaml"), "--run_dir", str(tmp_path / "run")]
    main(["fit", *run, *memory, *options, *QUIET])
    assert [is_rounded for mode, is_rounded in seen if mode == "train"] == [False, False, True, True]
    assert all(is_rounded for mode, is_rounded in seen if mode == "eval")
    assert {mode for mode, _ in seen} == {"train", "eval"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"float_steps": 3}, "float_steps=3 come before rounding: set stored_as"),
        ({"float_steps": -1, "stored_as": "int8"}, "float_steps must be at least 0, got -1"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    for memory in (AddressableMemory, PixelMemory):
        with pytest.raises(UserError, match=message):
            memory((1, 8, 8), 10, 1, **options)


def test_a_file_of_before_with_scales_in_float32_is_read(make_memory: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    memory = make_memory().stored_as("int8")
    memory.save(tmp_path / "new.safetensors")
    with safe_open(tmp_path / "new.safetensors", "pt") as content:
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        metadata = content.metadata()
    former = {name: t.float() if name.endswith(".scale") else t for name, t in tensors.items()}
    save_file(former, tmp_path / "former.safetensors", metadata)
    assert torch.equal(all_recalled(load(tmp_path / "former.safetensors").memory), all_recalled(memory.memory))


def test_a_checkpoint_whose_configuration_names_no_known_format_is_in_float32(tmp_path: Path) -> None:
    run = tmp_path / "run"
    main(["fit", "--config", str(CONF / "addressable.yaml"), "--run_dir", str(run), *QUIET])
    assert load_memory(run / "best.ckpt", []).description.stored_as == "float32"
