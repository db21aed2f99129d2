"""Sharing by the Hugging Face Hub, against a client that keeps repositories in a folder."""

import re
import shutil
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub.utils._validators import validate_repo_id

import rtp
from rtp.artefact.card import Storage, card
from rtp.cli.commands.export import export
from rtp.cli.commands.info import info
from rtp.errors import UserError
from rtp.utils.shipped import shipped

ADDRESS = "hf://user/digits"


class FakeHub:
    """The calls of `huggingface_hub` that rtp makes, with its own check of names."""

    def __init__(self, root: Path) -> None:
        self.root, self.calls = root, list[Any]()

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> None:
        validate_repo_id(repo_id)
        self.calls.append((repo_id, repo_type, private, exist_ok))
        (self.root / repo_id).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id: str, repo_type: str, folder_path: str, commit_message: str) -> str:
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)
        return f"https://hub/{repo_type}/{repo_id}/commit/1"

    def download(self, repo_id: str, filename: str, *, repo_type: str, revision: str | None) -> str:
        validate_repo_id(repo_id)
        path = self.root / repo_id / filename
        if not path.is_file() or revision not in (None, "main"):
            raise huggingface_hub.errors.LocalEntryNotFoundError(f"no {filename} at {revision}")
        return str(path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda token: fake)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fake.download)
    return fake


def test_a_memory_comes_back_with_its_images_and_a_card(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = rtp.load("digits_ipc1")
    assert memory.push_to_hub("user/digits") == "https://hub/dataset/user/digits/commit/1"
    assert hub.calls == [("user/digits", "dataset", False, True)]

    assert torch.equal(rtp.load(ADDRESS).dataset().images, memory.dataset().images)
    assert rtp.load(f"{ADDRESS}@main").description == memory.description
    info([ADDRESS])
    assert "addressable memory of digits" in capsys.readouterr().out
    export([ADDRESS, str(tmp_path / "copy.safetensors")])
    assert (tmp_path / "copy.safetensors").read_bytes() == shipped("memories")["digits_ipc1"].read_bytes()

    text = (hub.root / "user" / "digits" / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "cc-by-4.0"
    files = front["configs"][0]["data_files"][0]
    assert files == {"split": "train", "path": "data/train.parquet"}
    # the folder of the repository as `load_dataset("user/digits")` reads it
    images = datasets.load_dataset(str(hub.root / "user" / "digits"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(images) == len(memory.dataset())
    assert images.features["label"].names == [str(digit) for digit in range(10)]


def test_a_card_says_what_how_much_how_good_and_how_to_use_it() -> None:
    memory = rtp.load("digits_ipc1")
    text = card(memory.description, Storage((8, 1, 4, 4), 608, 2432, 16), "user/digits", "mine")
    for said in (
        "digits, distilled into 2,432 bytes",
        "8 stored images of 1x4x4",
        "6 images of 1x8x8 for each of 10 classes",
        "| numbers | 608 of float32 |",
        "| bits a class | 1,946 |",
        "| test | 95.33 ± 0.65 | 20 ConvNet, 300 epochs |",
        "ConvNet(depth=1, width=32), SGD with learning rate 0.01, momentum",
        'rtp.load("hf://user/digits")',
        "mine: UCI",
        '"class_path": "rtp.modules.MemoryDistillation"',
    ):
        assert said in text
    assert not re.search(r"/(?:home|root|work|tmp)/", text)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://user/none", r"^'hf://user/none' has no memory.safetensors that can be read \(no memory.safetensors at"),
        (f"{ADDRESS}@other", r"has no memory.safetensors that can be read \(no memory.safetensors at other"),
        ("hf://a/b/c", r"^'hf://a/b/c' has no memory.safetensors that can be read \(Repo id"),
        ("hf://", r"^'hf://' has no memory.safetensors"),
    ],
)
def test_what_the_hub_has_not_is_a_line(hub: FakeHub, address: str, message: str) -> None:
    rtp.load("digits_ipc1").push_to_hub("user/digits")
    with pytest.raises(UserError, match=message) as error:
        rtp.load(address)
    assert "\n" not in str(error.value)


def test_what_the_hub_refuses_is_a_line(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, make_memory: Any) -> None:
    memory = rtp.load("digits_ipc1")
    with pytest.raises(UserError, match=r"^the Hub did not take 'a b' \(Repo id must use"):
        memory.push_to_hub("a b")

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("401 Unauthorized\nmore")

    monkeypatch.setattr(hub, "create_repo", refuse)
    with pytest.raises(UserError, match=r"^the Hub did not take 'user/digits' \(401 Unauthorized\): see `hf"):
        memory.push_to_hub("user/digits")
    with pytest.raises(UserError, match=r"^this memory is addressed by images"):
        make_memory(kind="image").push_to_hub("user/name")


def test_the_library_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"^the Hub needs the library `huggingface_hub`: pip install rtp\[hf\]$"):
        rtp.load(ADDRESS)
