"""Files: all there or not there, nothing that was there is lost, and locks by which processes share work out."""

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
import torch

from rtp.errors import UserError
from rtp.utils.files import (
    append_whole,
    atomic_path,
    atomic_write,
    cache_dir,
    locked,
    new_file,
    write_folder,
    write_json,
)


def entries(folder: Path) -> dict[str, bytes | None]:
    return {str(file.relative_to(folder)): file.read_bytes() if file.is_file() else None for file in folder.rglob("*")}


@pytest.mark.parametrize("shared", [False, True])
def test_a_file_is_replaced_as_a_whole(tmp_path: Path, shared: bool) -> None:
    path, previous = tmp_path / "folder" / "file", tmp_path / "folder" / "previous"
    with atomic_write(path, previous=previous, shared=shared) as file:
        file.write(b"first")
    assert entries(path.parent) == {"file": b"first"}
    with atomic_write(path, previous=previous, shared=shared) as file:
        file.write(b"second")
        file.flush()
        assert path.read_bytes() == b"first"
    assert entries(path.parent) == {"file": b"second", "previous": b"first"}


def test_what_a_killed_process_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"a longer half of it")
    with atomic_write(tmp_path / "file") as file:
        file.write(b"whole")
    assert entries(tmp_path) == {"file": b"whole"}


def test_two_processes_may_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path, shared=True) as first, atomic_write(path, shared=True) as second:
        first.write(b"same")
        second.write(b"same")
    assert entries(tmp_path) == {"file": b"same"}


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    def half(folder: Path) -> None:
        (folder / "file").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (path := tmp_path / "file").write_bytes(b"whole")
    before = entries(tmp_path)
    message = r"cannot be written \(No space left on device\): make room or choose another place"
    with pytest.raises(UserError, match=message), new_file(path, overwrite=True):
        raise OSError(28, "No space left on device")
    with pytest.raises(UserError, match=message):
        write_folder(tmp_path / "folder", False, half)
    assert entries(tmp_path) == before


@pytest.mark.parametrize("size", [4, 100_000])
def test_a_full_disk_s_error_names_the_file_even_behind_a_library_s_own(
    size: int, tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    (path := tmp_path / "file.pt").write_bytes(b"whole")
    for shared in (False, True):
        writing = atomic_write(path, shared=shared)
        with full_disk(900), pytest.raises(OSError, match="File too large") as error, writing as file:
            torch.save(torch.zeros(size), file)  # raises a RuntimeError: unexpected pos
        assert (error.value.filename, error.value.errno) == (str(path), errno.EFBIG)
    assert entries(tmp_path) == {"file.pt": b"whole"}


def test_a_library_s_error_without_the_disk_s_stays(tmp_path: Path) -> None:
    def library() -> None:
        try:
            Path("another").read_bytes()
        except FileNotFoundError:
            raise RuntimeError("of a library") from None

    with pytest.raises(RuntimeError, match="of a library"), atomic_write(tmp_path / "file"):
        library()
    assert entries(tmp_path) == {}


def test_a_library_may_write_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error, atomic_path(tmp_path / "file") as part:
        part.read_bytes()
    assert error.value.filename == str(tmp_path / "file")
    with atomic_path(tmp_path / "file") as part:
        part.write_text("content")
    assert entries(tmp_path) == {"file": b"content"}


def test_bytes_are_appended_all_or_none(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    with FileIO(tmp_path / "file", "a") as file:
        append_whole(file, b"0123456789")
        with full_disk(15), pytest.raises(OSError, match="File too large"):
            append_whole(file, b"abcdefghij")
        append_whole(file, b"xyz")
    assert entries(tmp_path) == {"file": b"0123456789xyz"}


def test_folders_above_are_made_unless_a_file_is_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.pt"
    with new_file(path, overwrite=False) as file:
        file.write(b"c")
    assert path.read_bytes() == b"c"
    with pytest.raises(UserError, match=r"cannot be written"), new_file(path / "b", overwrite=False):
        pass


def fill(text: str) -> Any:
    def written(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text(text)

    return written


def test_a_folder_of_an_earlier_export_is_replaced_if_that_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()  # an empty one is as good as none
    write_folder(folder, False, fill("first"))
    assert json.loads((folder / "export.json").read_text()) == {"files": ["sub/file"]}
    with pytest.raises(UserError, match=r"out' exists: choose another name, or replace an earlier export"):
        write_folder(folder, False, fill("second"))
    assert (folder / "sub" / "file").read_text() == "first"
    write_folder(folder, True, fill("second"))
    assert (folder / "sub" / "file").read_text() == "second"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["notes.txt", "sub/notes.txt", "other/notes.txt"])
def test_what_a_user_put_into_a_folder_is_kept(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    write_folder(folder, False, fill("first"))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("mine")
    before = entries(tmp_path)
    with pytest.raises(UserError, match=rf"holds '{name}', which no export wrote: choose another folder"):
        write_folder(folder, True, fill("second"))
    assert entries(tmp_path) == before


def test_a_folder_that_no_export_wrote_is_kept(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.png").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    before = entries(tmp_path)
    for name, message in (
        ("photos", "holds 'me.png'"),
        ("file", "is no folder of an earlier"),
        ("link", "is no folder of"),
    ):
        with pytest.raises(UserError, match=message):
            write_folder(tmp_path / name, True, fill("mine"))
    (tmp_path / "photos" / "export.json").write_text('{"files": [[]]}')
    with pytest.raises(UserError, match=r"which no export wrote"):
        write_folder(tmp_path / "photos", True, fill("mine"))
    (tmp_path / "photos" / "export.json").unlink()
    assert entries(tmp_path) == before


def test_a_file_is_one_holders_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "lock"
    with locked(file, wait=False) as first, locked(file, wait=False) as second:
        assert (first, second) == (True, False)
    with locked(file, wait=True) as third, locked(tmp_path / "other", wait=True) as fourth:
        assert (third, fourth) == (True, True)


def test_json_is_readable_text(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "test.json", {"accuracies": [0.5]})
    assert (tmp_path / "new" / "test.json").read_text() == '{\n  "accuracies": [\n    0.5\n  ]\n}\n'


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_dir() == tmp_path / "cache" / "rtp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_dir() == Path("/home/somebody/.cache/rtp")


def test_what_killed_processes_left_is_cleared(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    folder = tmp_path / f".rtp-{host}-0123@{ended.pid}"
    (folder / "unfinished").mkdir(parents=True)
    (tmp_path / f".rtp-{host}-4567@{ended.pid}.part").touch()
    of_living = tmp_path / f".rtp-{host}-89ab@{os.getppid()}.part"
    of_another_host = tmp_path / f".rtp-{host}x-89ab@{ended.pid}.part"
    for path in (of_living, of_another_host):
        path.touch()
    with new_file(tmp_path / "memory.safetensors", overwrite=False) as file:
        file.write(b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"memory.safetensors", of_living.name, of_another_host.name}
