"""The built wheel holds what the README shows: the package, its configurations and memories."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("rtp", "configs", "memories", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves files in its folder
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        else:
            shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run([*pip, *build], check=True, timeout=300)
    return next(folder.glob("rtp-*.whl"))


def test_configurations_and_memories_are_in_the_wheel(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    for folder, suffix in (("configs", ".yaml"), ("memories", ".safetensors"), ("memories", ".csv")):
        files = list((ROOT / folder).rglob(f"*{suffix}"))
        assert files
        assert {f"rtp/{path.relative_to(ROOT).as_posix()}" for path in files} <= names
    assert {"rtp/py.typed", "rtp/__init__.pyi"} <= names
    assert not any(name.startswith("tests") for name in names)


def test_an_installed_wheel_finds_them_outside_of_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, timeout=300)
    program = "import rtp; print(rtp.__file__); print(rtp.load('digits_ipc1').num_classes)"
    options = ["--config", "digits_ipc1", "--trainer.max_steps", "2", "--evaluation.protocol.epochs", "2"]
    commands = [
        [sys.executable, "-c", program],
        [sys.executable, "-m", "rtp", "list", "configs"],
        [sys.executable, "-m", "rtp", "list", "memories"],
        [sys.executable, "-m", "rtp", "info", "digits_ipc1"],
        [sys.executable, "-m", "rtp", "report", "digits_ipc1"],
        [sys.executable, "-m", "rtp", "fit", *options, "--trainer.enable_progress_bar", "false"],
    ]
    environment = os.environ | {"PYTHONPATH": str(site)}
    said = [
        subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=True, timeout=300)
        for command in commands
    ]
    assert said[0].stdout.splitlines() == [str(site / "rtp" / "__init__.py"), "10"]
    assert "svhn_ipc10" in said[1].stdout
    assert "digits_ipc1" in said[2].stdout
    assert "addressable memory of digits" in said[3].stdout
    assert (work / "logs" / "digits_ipc1" / "0" / "best.ckpt").is_file()


@pytest.mark.slow
def test_an_empty_environment_with_the_wheel_alone_does_what_the_readme_shows(wheel: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    run(sys.executable, "-m", "venv", "venv")
    run("venv/bin/python", "-m", "pip", "install", "--quiet", str(wheel))
    quick = ["--trainer.max_steps", "20", "--trainer.val_check_interval", "20", "--evaluation.networks", "2"]
    run("venv/bin/rtp", "fit", "--config", "digits_ipc1", *quick, "--trainer.enable_progress_bar", "false")
    assert "distilled" in run("venv/bin/rtp", "test", "--ckpt_path", "logs/digits_ipc1/0/best.ckpt")
    run("venv/bin/rtp", "export", "logs/digits_ipc1/0/best.ckpt", "digits.safetensors")
    assert "608 numbers" in run("venv/bin/rtp", "info", "digits.safetensors")
    run("venv/bin/rtp", "report", "logs/digits_ipc1/0")
    assert "digits_ipc1" in run("venv/bin/rtp", "list", "memories")
    program = (ROOT / "README.md").read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    run("venv/bin/python", "-c", program.replace("steps=500", "steps=20"))
