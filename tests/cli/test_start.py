"""What `rtp` answers before it imports torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtp.cli.app import main
from rtp.cli.commands.listing import KINDS, available
from rtp.cli.commands.own_classes import public_classes as own_classes
from rtp.cli.commands.short_help import CLASSES, short_help
from rtp.cli.short_names import public_classes
from rtp.cli.start import ALWAYS, OPTIONS, answered, suggestion
from rtp.errors import UserError
from rtp.runs.lightning_internals import command_parser

CONFIG = Path(__file__).parents[1] / "conf" / "addressable.yaml"
HEAVY = ("torch", "lightning", "torchvision", "jsonargparse", "numpy")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ("--version", 0, "rtp 0."),
        ("--help", 0, "usage: rtp COMMAND"),
        ("", 0, "usage: rtp COMMAND"),
        ("list", 0, "data sets (--data)"),
        ("fit --help", 0, "usage: rtp fit"),
        ("test -h", 0, "--memory FILE"),
        ("fti", 2, "there is no command 'fti': did you mean fit?"),
        ("quit", 2, "there is no command 'quit'"),
        ("fit --modle x", 2, "`rtp fit` has no option --modle: did you mean model?"),
        ("fit --memory x", 2, "`rtp fit` has no option --memory: it is an option of `rtp test`"),
        ("fit --data Digts", 2, "--data names 'Digts', which is no class of rtp: did you mean Digits?"),
        ("fit --data=cifar10", 2, "did you mean CIFAR10?"),
        ("fit --model MemoryDistilation", 2, "did you mean MemoryDistillation?"),
        ("test", 2, "`rtp test` needs --ckpt_path RUN/best.ckpt or --memory FILE"),
        ("predict --run_dir x", 2, "`rtp predict` needs --ckpt_path RUN/best.ckpt"),
        ("--config x fit", 2, "--config stands before the command"),
    ],
)
def test_the_program_answers_at_once(args: str, code: int, said: str) -> None:
    program = (
        "import sys\nfrom rtp.cli import entry_point\n"
        "try:\n    entry_point()\nfinally:\n"
        f"    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *args.split()], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert said in (done.stdout if code == 0 else done.stderr)
    assert done.stderr.endswith("[]\n"), "a heavy import"
    assert len(done.stderr.splitlines()) == (1 if code == 0 else 2)  # no traceback


@pytest.mark.parametrize("command", OPTIONS)
def test_the_options_are_those_of_the_parsers(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning.pytorch.cli.LightningCLI._run_subcommand", lambda *_: None)
    cli = main([command, "--config", str(CONFIG), f"--run_dir={tmp_path}"])
    groups = {action.dest.partition(".")[0] for action in command_parser(cli, command)._actions}
    assert groups <= {*OPTIONS[command], *ALWAYS}
    assert set(OPTIONS[command]) <= groups


def test_other_arguments_go_on_to_the_parser(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").touch()
    for args in (
        ["fit", "--config", "x.yaml"],
        ["fit", "--data", str(tmp_path / "data.yaml")],
        ["fit", "--data", "my_data.Stars", "--data.file", "x"],
        ["fit", "--data.help", "Digits"],
        ["fit", "--trainer.callbacks+=Timer"],
        ["fit", "--help=all"],
        ["export", "x"],
        ["test", "--memory", "x"],
    ):
        assert not answered(args)


def test_suggestions() -> None:
    assert suggestion("Digts", ["Digits", "MNIST"]) == ": did you mean Digits?"
    assert suggestion("mnist", ["Digits", "MNIST"]) == ": did you mean MNIST?"
    assert suggestion("xyz", ["Digits", "MNIST"]) == ": use one of Digits, MNIST"


@pytest.mark.parametrize("command", OPTIONS)
def test_short_help_fits_a_screen_or_two_and_names_every_argument(command: str) -> None:
    text = short_help(command)
    assert len(text.splitlines()) < 110
    assert max(map(len, text.splitlines())) <= 110
    assert text.count("(default: ") > 15
    for group in CLASSES:
        assert f"--{group}." in text
    assert "functools" not in text


def test_the_source_tells_the_same_classes_as_the_imports() -> None:
    import rtp.callbacks
    import rtp.datamodules
    import rtp.modules

    imported = {
        name: (cls.__doc__ or "").strip().partition("\n")[0]
        for module in (rtp.datamodules, rtp.modules, rtp.callbacks)
        for name, cls in public_classes(module).items()
    }
    assert {own.name: own.summary for own in own_classes()} == imported
    for own in own_classes():
        cls = next(getattr(m, own.name) for m in (rtp.datamodules, rtp.modules, rtp.callbacks) if hasattr(m, own.name))
        assert own.abstract == frozenset(getattr(cls, "__abstractmethods__", ())), own.name
    assert all(available().values())
    assert len(KINDS) == 10


def test_a_terminal_is_told_at_once_that_libraries_are_loaded(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    # an option that is spelled well and a value that is not: refused by the parser, after the imports
    command = [sys.executable, "-m", "rtp", "fit", "--config", str(CONFIG), "--trainer.max_steps", "x"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=theirs, stdout=subprocess.DEVNULL) as process:
        assert os.read(ours, 100) == b"loading PyTorch and Lightning ..."
        process.kill()
    os.close(ours)
    os.close(theirs)


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m rtp list | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("data sets (--data)\n", "")


def test_errors_of_options_are_user_errors() -> None:
    with pytest.raises(UserError, match="no command"):
        answered(["nothing"])


def test_the_installed_program_lists_modules_of_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "my_parts.py").write_text("from rtp.modules import MLP\nclass Mine(MLP):\n    'A network of mine.'\n")
    program = tmp_path / "bin" / "rtp"
    program.parent.mkdir()
    program.write_text("from rtp.cli import entry_point\nentry_point()\n")
    command = [sys.executable, str(program), "list", "my_parts"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert "my_parts.Mine  A network of mine." in done.stdout, done.stderr
