"""Locks of files, by which processes share work out."""

from pathlib import Path

from rtp.utils.locks import locked


def test_a_file_is_one_holders_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "lock"
    with locked(file, wait=False) as first, locked(file, wait=False) as second:
        assert (first, second) == (True, False)
    with locked(file, wait=True) as third, locked(tmp_path / "other", wait=True) as fourth:
        assert (third, fourth) == (True, True)
