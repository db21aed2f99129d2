"""Checkpoints that anybody may have made: 300 malformed ones, generated, end in one line each."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rtp.cli import main
from rtp.cli.commands.export import export
from rtp.cli.commands.info import info
from rtp.errors import UserError
from rtp.runs.checkpoints import CONFIG_KEY, checkpoint_config, load_checkpoint, load_stored_yaml, steps_done

CONFIG = Path(__file__).parents[1] / "conf" / "addressable.yaml"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join([f'*{p}'] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
)
ODD: list[Any] = [None, 1, -1, 2**70, 1.5, "text", b"bytes", [], [1], {}, {"a": 1}, {1: 2}, (), True, torch.zeros(2)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = tmp_path_factory.mktemp("run")
    main(["fit", "--config", str(CONFIG), "--run_dir", str(run), "--trainer.enable_progress_bar=false"])
    content: dict[str, Any] = torch.load(run / "last.ckpt", weights_only=True)
    return content


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key path of nested dicts and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, part in inner for place in _places(part, (*path, key))]


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return [_copy(part) for part in value] if isinstance(value, list) else value


def _mutated(content: dict[str, Any], seed: int) -> dict[str, Any]:
    """The checkpoint with one entry, at any depth, removed or replaced by something odd."""
    generator = random.Random(seed)
    content = _copy(content)
    places = _places(content)
    # every third at the top, as most places lie deep in the states of Lightning's loops
    place = generator.choice([p for p in places if len(p) == 1] if seed % 3 == 0 else places)
    parent = content
    for key in place[:-1]:
        parent = parent[key]
    if isinstance(parent, dict) and generator.random() < 0.3:
        del parent[place[-1]]
    else:
        parent[place[-1]] = generator.choice(ODD)
    return content


def _refused_or_fine(use: Callable[..., object], *args: object) -> None:
    """Anything but a UserError is a bug; its message is a line."""
    said = ""
    try:
        use(*args)
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 1000


@pytest.mark.parametrize("part", range(6))
def test_malformed_checkpoints_are_one_line(
    part: int, checkpoint: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.ckpt"
    for seed in range(50 * part, 50 * (part + 1)):
        torch.save(_mutated(checkpoint, seed), path)
        _refused_or_fine(info, [str(path)])
        _refused_or_fine(steps_done, path)
        if seed % 10 == 0:
            _refused_or_fine(export, [str(path), str(tmp_path / f"{seed}.safetensors")])
    capsys.readouterr()


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_malformed_checkpoints_are_not_tested_or_resumed(seed: int, checkpoint: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save(_mutated(checkpoint, seed), path)
    quiet = ["--trainer.enable_progress_bar=false", "--evaluation.networks=1", "--evaluation.protocol.epochs=1"]
    _refused_or_fine(main, ["test", "--ckpt_path", str(path), *quiet])
    more = ["--trainer.max_steps=5", "--run_dir", str(tmp_path)]
    _refused_or_fine(main, ["fit", "--config", str(CONFIG), "--ckpt_path", str(path), *more, *quiet])


def _tensor(content: dict[str, Any], change: Callable[[torch.Tensor], Any]) -> None:
    content["state_dict"]["memory.addressing"] = change(content["state_dict"]["memory.addressing"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: _tensor(c, lambda t: t * float("nan")), "holds NaN or infinite numbers in 'memory.addressing'"),
        (lambda c: _tensor(c, lambda t: t / 0), "holds NaN or infinite numbers"),
        (lambda c: _tensor(c, lambda t: t.to("meta")), "its tensor 'memory.addressing' is not one that rtp writes"),
        (lambda c: _tensor(c, lambda t: t.to_sparse()), "is not one that rtp writes"),
        (lambda c: _tensor(c, lambda t: torch.zeros(1).expand(10**12)), "has more numbers than the file"),
        (lambda c: _tensor(c, lambda t: "text"), "is not one that rtp writes"),
        (lambda c: c.update(state_dict=[1]), "its state_dict is a list"),
        (lambda c: c.update(global_step="7"), "its global_step is '7'"),
        (lambda c: c.update(global_step=2**70), "its global_step is 118"),
        (lambda c: c.update(global_step=-1), "its global_step is -1"),
    ],
)
def test_what_torch_reads_and_rtp_never_writes_is_refused(
    checkpoint: dict[str, Any], tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    content = _copy(checkpoint)
    change(content)
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(UserError) as caught:
        load_checkpoint(tmp_path / "x.ckpt")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no text of at most"),
        (5, "is no text"),
        ("x" * (2**20 + 1), "is no text of at most 1,048,576 characters"),
        ("[1, 2]", "is no list of settings"),
        ("1: 2", "is no list of settings"),
        ("a: [", "cannot be read"),
        ("a: !!python/object/apply:os.system [x]", "cannot be read"),
        ("? {a: 1}\n: 2", "cannot be read"),
        ("a: 2001-99-99", "cannot be read"),
        ("[" * 5000, "cannot be read (it is nested deeper than 50 levels"),
        ("a: " + "[" * 50 + "]" * 50, "cannot be read (it is nested deeper than 50 levels"),
        ("\n".join(" " * n + "a:" for n in range(100)), "cannot be read (it is nested deeper than 50 levels"),
        ("a: &x 1\nb: *x", "cannot be read (it has an alias"),
        (BOMB, "cannot be read (it has an alias"),
    ],
)
def test_configurations_in_files_are_plain(text: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_stored_yaml(text, "it")
    assert message in str(caught.value)


def test_a_configuration_without_a_part_is_named(checkpoint: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"the configuration in x\.ckpt has no seed_everything"):
        checkpoint_config(Path("x.ckpt"), checkpoint | {CONFIG_KEY: "model: {}"})
