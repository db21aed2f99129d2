"""`rtp.load` gives back what was stored, and its users need nothing else of rtp."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import rtp
import rtp.datamodules
import rtp.modules
from rtp.datamodules.normalisation import normalised
from rtp.errors import UserError
from rtp.modules import ImageAddressedMemory
from rtp.utils.pictures import within_range


@pytest.mark.parametrize("zca", [None, 0.1])
@pytest.mark.parametrize("kind", ["addressable", "pixel", "tasks"])
def test_a_memory_comes_back_from_its_file(tmp_path: Path, make_memory: Any, kind: str, zca: float | None) -> None:
    memory = make_memory(kind=kind, zca=zca)
    memory.save(tmp_path / "memory.safetensors")
    loaded = rtp.load(tmp_path / "memory.safetensors")
    assert loaded.description == memory.description
    assert torch.equal(loaded.dataset().images, memory.dataset().images)
    raw = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    # ZCA's eigenvectors are stored in float32
    torch.testing.assert_close(loaded.preprocess(raw), normalised(raw, memory.normalisation), rtol=0, atol=1e-5)
    assert loaded.class_names == ("cat", "dog", "../cow")
    assert (loaded.num_classes, loaded.images_per_class, loaded.image_shape) == (3, 2, (3, 8, 8))
    # 5 bases of 3x4x4 and 2 matrices of 3x5; 6 images; for each of 3 tasks 5 bases and 2 matrices of 1x5
    assert loaded.storage_floats == {"addressable": 270, "pixel": 288, "tasks": 3 * (240 + 10)}[kind]
    assert loaded.storage_bytes == 4 * loaded.storage_floats
    assert loaded.normalisation_bytes == (48 if zca is None else 8 * 192 + 4 * 192**2 + 16)
    assert (loaded.protocol.epochs, loaded.accuracies[0].mean, loaded.rtp_version) == (300, 0.5, "0.1.0")


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("made", [{"streaming": True}, {"kind": "tasks"}], ids=["stream", "tasks"])
def test_a_file_of_tasks_opens_by_task(tmp_path: Path, make_memory: Any, made: Any, dtype: Any) -> None:
    memory = make_memory(**made).stored_as(dtype)
    memory.save(tmp_path / "memory.safetensors")
    loaded = rtp.load(tmp_path / "memory.safetensors")
    assert loaded.tasks == memory.description.tasks
    storage = 0
    for number, labels in enumerate(loaded.tasks):
        task = loaded.task(number)
        assert torch.equal(task.recall(torch.arange(len(labels))), loaded.recall(torch.tensor(labels)))
        assert (task.num_classes, task.images_per_class, task.tasks) == (len(labels), 2, ())
        assert task.class_names == tuple(loaded.class_names[label] for label in labels)
        assert len(task.dataset()) == 2 * len(labels)
        task.save(tmp_path / f"{number}.safetensors")
        again = rtp.load(tmp_path / f"{number}.safetensors")
        assert again.description == task.description
        assert torch.equal(again.dataset().images, task.dataset().images)
        storage += task.storage_bytes
        assert len(repr(again).splitlines()) == 5
    assert storage == loaded.storage_bytes


def test_what_has_no_such_task_says_so(make_memory: Any) -> None:
    with pytest.raises(UserError, match=r"^there is no memory of task 2: choose one from 0 to 1$"):
        make_memory(streaming=True).task(2)
    with pytest.raises(UserError, match=r"^there is no memory of task -1: choose one from 0 to 1$"):
        make_memory(streaming=True).task(-1)
    with pytest.raises(UserError, match=r"^this is the memory of one task: there are no others to choose from$"):
        make_memory().task(0)


def test_the_summary_of_a_stream_leaves_its_tasks_out(make_memory: Any) -> None:
    lines = repr(make_memory(streaming=True)).splitlines()
    assert lines[0] == "DistilledMemory of animals: 4 classes of 2 tasks, images of 3x8x8"
    assert lines[4] == "  accuracy: 50.00 % (test, 20 networks)"


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_memory_that_is_addressed_by_images_comes_back(tmp_path: Path, make_memory: Any, dtype: Any) -> None:
    memory = make_memory(kind="image").stored_as(dtype)
    memory.save(tmp_path / "memory.safetensors")
    loaded = rtp.load(tmp_path / "memory.safetensors")
    raw = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    recalled = loaded.recall(images=raw)
    assert recalled.shape == (5, 2, 3, 8, 8)
    assert torch.equal(recalled, memory.recall(images=raw))
    assert isinstance(loaded.memory, ImageAddressedMemory)
    assert torch.equal(recalled, loaded.memory.recall_images(loaded.preprocess(raw)))
    network = 3 * 27 + 3 + 2 * 3 + 4 * 3 * 16 + 4
    assert loaded.storage_floats == 240 + 2 * 4 * 5 + network
    # in 8 bits the vectors stay float32 (3 of the convolution, 4 of the linear layer), and rows have scales
    vectors, scales = 3 + 2 * 3 + 4, 5 + 2 + 3 + 4
    expected = {"float32": 4, "float16": 2}.get(dtype, 1) * loaded.storage_floats
    assert loaded.storage_bytes == (expected if dtype != "int8" else expected + 3 * vectors + 2 * scales)
    assert not any(parameter.requires_grad for parameter in loaded.memory.parameters())


def test_each_kind_is_recalled_in_its_own_way(make_memory: Any) -> None:
    images, labels = make_memory(kind="image"), make_memory(kind="tasks")
    raw = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    for given in ({}, {"labels": torch.tensor([0])}, {"labels": torch.tensor([0]), "images": raw}):
        with pytest.raises(UserError, match=r"this memory is addressed by images: recall\(images=...\)"):
            images.recall(**given)
    for given in ({}, {"images": raw}, {"labels": torch.tensor([0]), "images": raw}):
        with pytest.raises(UserError, match=r"this memory is addressed by labels: recall\(labels\)"):
            labels.recall(**given)
    with pytest.raises(UserError, match=r"this memory is addressed by images"):
        images.dataset()
    assert torch.equal(images.recall(images=raw.float() / 255), images.recall(images=raw))
    assert images.recall(images=raw[0]).shape == (1, 2, 3, 8, 8)
    with pytest.raises(UserError, match=r"images are \(2, 3, 8, 9\) uint8, not"):
        images.recall(images=torch.zeros(2, 3, 8, 9, dtype=torch.uint8))
    images.memory.bases.fill_(1e38)
    images.memory.addressing.fill_(1e38)
    with pytest.raises(UserError, match=r"so large that recalled images are not finite"):
        images.recall(images=raw)


def test_recall_is_equation_2(make_memory: Any) -> None:
    memory = make_memory(downsampling=1)
    recalled = memory.recall(torch.tensor([2, 0], dtype=torch.int32))
    assert recalled.shape == (2, 2, 3, 8, 8)
    expected = torch.einsum("k,kchw->chw", memory.memory.addressing[1, 2], memory.memory.bases)
    torch.testing.assert_close(recalled[0, 1], expected)
    assert memory.recall(torch.zeros(0, dtype=torch.int64)).shape == (0, 2, 3, 8, 8)


def test_the_data_set_is_an_ordinary_one(make_memory: Any) -> None:
    memory = make_memory()
    dataset = memory.dataset()
    image, label = dataset[5]
    assert len(dataset) == 6
    assert torch.equal(image, memory.recall(torch.arange(3))[2, 1])
    assert (image.dtype, label) == (torch.float32, 2)
    images, labels = next(iter(DataLoader(dataset, batch_size=6)))
    assert torch.equal(images, dataset.images)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_pixels_come_back(make_memory: Any) -> None:
    raw = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    memory = make_memory()
    torch.testing.assert_close(memory.to_pixels(memory.preprocess(raw)), raw / 255, rtol=0, atol=1e-6)
    grey = make_memory(zca=0.1, image_shape=(1, 8, 8))
    pixels = grey.to_pixels(grey.recall(torch.tensor([1]))[0])
    assert pixels.shape == (2, 1, 8, 8)  # as many channels as went in
    assert torch.equal(pixels, within_range(grey.normalisation.invert(grey.recall(torch.tensor([1]))[0])))
    alone = grey.to_pixels(grey.recall(torch.tensor([1]))[0, 0])
    torch.testing.assert_close(alone, pixels[0], rtol=0, atol=1e-6)  # one image may round otherwise than two


def test_preprocess_takes_what_distill_took(make_memory: Any) -> None:
    memory = make_memory()
    raw = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    expected = normalised(raw, memory.normalisation)
    last = raw.permute(0, 2, 3, 1).numpy()
    for images in (raw, raw / 255, raw.double() / 255, last, last / 255, raw.numpy(), last.astype("uint16") * 257):
        torch.testing.assert_close(memory.preprocess(images), expected, rtol=0, atol=1e-5)
    for image in (raw[1], raw[1] / 255, last[1], Image.fromarray(last[1])):
        torch.testing.assert_close(memory.preprocess(image), expected[1], rtol=0, atol=1e-5)
    grey = make_memory(image_shape=(1, 8, 8))
    for images in (raw[:, :1], raw[:, 0], raw[:, 0].numpy()):
        assert grey.preprocess(images).shape == (5, 1, 8, 8)
    assert grey.preprocess(raw[0, 0]).shape == grey.preprocess(Image.fromarray(last[0])).shape == (1, 8, 8)


def test_a_memory_says_what_it_is_in_five_lines(make_memory: Any) -> None:
    lines = repr(make_memory()).splitlines()
    assert len(lines) == 5
    assert "3 classes, images of 3x8x8" in lines[0]
    assert "270 floats, 1,080 bytes as float32" in lines[1]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda m: m.recall(torch.tensor([3])), r"^labels lie between 3 and 3, not 0 and 2"),
        (lambda m: m.recall(torch.tensor([-1, 0])), r"^labels lie between -1 and 0"),
        (lambda m: m.recall(torch.tensor(1)), r"^labels are \(\) int64, not \(n,\) integers"),
        (lambda m: m.recall(torch.tensor([1.0])), r"^labels are \(1,\) float32"),
        (lambda m: m.recall(torch.tensor([True])), r"^labels are \(1,\) bool"),
        (lambda m: m.preprocess(torch.full((1, 3, 8, 8), 2.0)), r"^images holds torch.float32 from 2 to 2, not uint8"),
        (lambda m: m.preprocess(torch.zeros(1, 1, 8, 8)), r"^images are \(1, 1, 8, 8\) float32, not \(n, 3, 8, 8\)"),
        (lambda m: m.preprocess([[0.5]]), r"^images is list, not a PIL image"),
        (lambda m: m.preprocess(torch.zeros(1, 3, 8, 9, dtype=torch.uint8)), r"^images are \(1, 3, 8, 9\) uint8"),
        (lambda m: m.to_pixels(torch.zeros(1, 1, 8, 8)), r"^images are \(1, 1, 8, 8\) float32, not \(n, 3, 8"),
        (lambda m: m.to_pixels(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)), r"uint8, not \(n, 3, 8, 8\) floats"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(make_memory: Any, use: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        use(make_memory())


def test_loading_takes_no_lightning_no_higher_and_no_random_numbers(tmp_path: Path, make_memory: Any) -> None:
    make_memory(zca=0.1).stored_as("int8").save(tmp_path / "memory.safetensors")
    program = (
        "import sys, torch, rtp\n"
        "torch.manual_seed(0); state = torch.get_rng_state()\n"
        "memory = rtp.load(sys.argv[1])\n"
        "memory.to_pixels(memory.dataset().images); memory.preprocess(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))\n"
        "assert torch.equal(state, torch.get_rng_state())\n"
        "print([name for name in sys.modules if name.partition('.')[0] in\n"
        "       ('lightning', 'pytorch_lightning', 'torchmetrics', 'jsonargparse', 'higher', 'yaml')])\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "memory.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("module", [rtp, rtp.modules, rtp.datamodules])
def test_a_misspelled_name_is_no_attribute(module: ModuleType) -> None:
    with pytest.raises(AttributeError, match="Memmory"):
        module.Memmory  # noqa: B018


def test_a_memory_s_file_is_described_and_exported_without_lightning(tmp_path: Path, make_memory: Any) -> None:
    make_memory().save(tmp_path / "memory.safetensors")
    for args in (["info", "memory.safetensors"], ["export", "memory.safetensors", "copy.safetensors"]):
        program = (
            "import sys\nfrom rtp.cli import entry_point\nentry_point()\n"
            "print([n for n in ('lightning', 'torchvision', 'jsonargparse') if n in sys.modules], file=sys.stderr)\n"
        )
        command = [sys.executable, "-c", program, *args]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "[]\n")
