"""Memory files: what is damaged is refused in a line, and nothing that was there is lost."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from rtp.artefact import files
from rtp.artefact.files import read
from rtp.errors import DataError, UserError


@pytest.fixture
def path(tmp_path: Path, make_memory: Any) -> Path:
    path = tmp_path / "memory.safetensors"
    make_memory().save(path)
    return path


def entries(folder: Path) -> dict[str, bytes | None]:
    return {str(file.relative_to(folder)): file.read_bytes() if file.is_file() else None for file in folder.rglob("*")}


def test_a_file_is_replaced_only_if_that_is_asked_for(path: Path, make_memory: Any) -> None:
    before = entries(path.parent)
    with pytest.raises(UserError, match=r"memory.safetensors' exists: choose another name, or .* --overwrite"):
        make_memory(steps=8).save(path)
    assert entries(path.parent) == before
    make_memory(steps=8).save(path, overwrite=True)
    assert read(path)[0].steps == 8
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_no_file(tmp_path: Path, make_memory: Any) -> None:
    with pytest.raises(UserError, match=r"is a folder: give the name of a file"):
        make_memory().save(tmp_path, overwrite=True)


def header(content: bytes, **changes: Any) -> bytes:
    """A safetensors file whose header says something else."""
    length = struct.unpack("<Q", content[:8])[0]
    entries = json.loads(content[8 : 8 + length])
    text = json.dumps({name: entry for name, entry in (entries | changes).items() if entry is not ...}).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


TENSOR = {"dtype": "F32", "shape": [5, 3, 4, 4], "data_offsets": [0, 960]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "it is truncated or no safetensors file"),
        (lambda content: content[:7], "it is truncated or no safetensors file"),
        (lambda content: content[:100], "it is truncated or no safetensors file"),
        (lambda content: content[:-1], "its tensors cannot be read"),
        (lambda content: content + b"0", "its tensors cannot be read"),
        (lambda content: struct.pack("<Q", 2**24 + 1) + bytes(2**24 + 1), "its header has 16,777,217 bytes, more than"),
        (lambda content: struct.pack("<Q", 9) + b"[" * 9, "it is damaged or no safetensors file"),
        (lambda content: struct.pack("<Q", 2**16) + b"[" * 2**16, "it is damaged or no safetensors file"),
        (lambda content: struct.pack("<Q", 2) + b"[]", "it is damaged or no safetensors file"),
        (lambda content: b"PK\3\4" + bytes(999), "it is a checkpoint or .pt file: `rtp export"),
        (lambda content: save({"weight": torch.zeros(2)}), "it is a safetensors file, but no memory of rtp"),
        (lambda content: save({"weight": torch.zeros(2)}, {"rtp": "{}"}), "it is no memory of rtp"),
        (lambda content: header(content, __metadata__=[]), "no memory of rtp"),
        (lambda content: header(content, bases=...), "'bases' is missing, not float32 (0, 3, 4, 4)"),
        (lambda content: header(content, addressing=...), "'addressing' is missing, not float32 (2, 3, 5)"),
        (lambda content: header(content, mean=...), "'mean' is missing, not float64 (3,)"),
        (lambda content: header(content, extra=TENSOR), "'extra' is float32 (5, 3, 4, 4), not missing"),
        (lambda content: header(content, bases=TENSOR | {"dtype": "F64"}), "'bases' is float64"),
        (lambda content: header(content, bases=TENSOR | {"dtype": "F8_E4M3"}), "'bases' has no known type and shape"),
        (lambda content: header(content, bases=TENSOR | {"dtype": []}), "'bases' has no known type and shape"),
        (lambda content: header(content, bases=TENSOR | {"shape": 5}), "'bases' has no known type and shape"),
        (lambda content: header(content, bases=[]), "'bases' has no known type and shape"),
        (lambda content: header(content, bases=TENSOR | {"shape": []}), "is float32 ()"),
        (lambda content: header(content, bases=TENSOR | {"shape": [5, 3, 4, 5]}), "is float32 (5, 3, 4, 5)"),
        (lambda content: header(content, bases=TENSOR | {"shape": [10**30, 3, 4, 4]}), "'addressing' is float32"),
        (lambda content: header(content, bases=TENSOR | {"data_offsets": [0, 10**12]}), "its tensors cannot be read"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_in_a_line(path: Path, change: Any, message: str) -> None:
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(f"{str(path)!r} cannot be used: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_header_that_contradicts_itself_is_refused(path: Path) -> None:
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    text = content[8 : 8 + length].decode().rstrip()
    # Python's JSON takes the last of two entries of one name; safetensors refuses them or takes another
    twice = text[:-1] + ',"bases":' + json.dumps(TENSOR | {"shape": [5, 3, 4, 4], "dtype": "I32"}) + "}"
    path.write_bytes(struct.pack("<Q", len(twice)) + twice.encode() + content[8 + length :])
    with pytest.raises(DataError):
        read(path)


def test_a_missing_file_a_folder_and_an_unreadable_one_are_named(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("none.safetensors", ".", "a\0b"):
        with pytest.raises(DataError, match=r"is no file: give|is a folder: give|cannot be read"):
            read(tmp_path / name)
    (tmp_path / "secret").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(DataError, match=r"secret' cannot be read \(Permission denied\)"):
        read(tmp_path / "secret")


def test_a_file_that_is_too_large_is_neither_written_nor_read_whole(
    path: Path, make_memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_FILE", 100)
    with pytest.raises(UserError, match=r"the file would have .* bytes: ZCA takes 4"):
        make_memory(zca=0.1).save(path.parent / "large.safetensors")
    with pytest.raises(DataError, match=r"has more than 100 bytes, which no memory takes"):
        read(path)
