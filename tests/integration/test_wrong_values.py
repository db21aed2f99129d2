"""Every option of the command line with wrong values: one line each, no traceback, no silent nonsense."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtp.cli import RtpCLI, main
from rtp.cli.parse_errors import user_errors
from rtp.errors import UserError
from rtp.runs.lightning_internals import command_parser

CONFIG = Path(__file__).parents[1] / "conf" / "addressable.yaml"
WRONG = ["@wrong", "[1, {a: 2}]", "-1e400", "{class_path: os.system}", "''"]
TEXT = {"run_dir", "ckpt_path", "memory"}
"""Options whose value may be any text."""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> RtpCLI:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightning.Trainer.fit", lambda *_, **__: None)
        return main(["fit", "--config", str(CONFIG), "--run_dir", str(folder)])


def options(cli: RtpCLI, command: str) -> list[str]:
    """The options that take a value, without those of classes, which have parsers of their own."""
    actions = command_parser(cli, command)._actions
    return sorted({o[2:] for a in actions for o in a.option_strings if o.startswith("--") and a.nargs != 0})


def test_every_option_refuses_what_it_cannot_take(cli: RtpCLI) -> None:
    names = options(cli, "fit")
    assert len(names) > 70
    taken = []
    for name in names:
        for value in WRONG:
            said = ""
            try:
                with user_errors():
                    command_parser(cli, "fit").parse_args([f"--{name}={value}"], _skip_validation=True)
                taken.append((name, value))
            except UserError as error:
                said = str(error)
            assert "\n" not in said, (name, value)
    # text is taken as it is: folders, names of devices, durations; other options refuse at least the first
    wrong = {name for name, value in taken if value == "@wrong"}
    assert wrong <= TEXT | {
        "print_config",
        *(f"trainer.{name}" for name in ("accelerator", "strategy", "devices", "default_root_dir", "max_time")),
        *(f"trainer.{name}" for name in ("precision", "profiler", "model_registry", "gradient_clip_algorithm")),
        *(
            f"trainer.{name}"
            for name in ("val_check_interval", "devices+", "deterministic", "callbacks", "logger", "plugins")
        ),
    }


def attacks() -> Iterator[list[str]]:
    """100 seeded command lines, each with one or two values that a careless user may give."""
    generator = random.Random(0)
    numbers = ["0", "-1", "-5", "1e300", "nan", "inf", "-inf", "1.5", "10**9", "null", "true", "[]", "{}", "many", "''"]
    names = [
        "trainer.max_steps", "trainer.max_epochs", "trainer.val_check_interval", "trainer.gradient_clip_val",
        "trainer.log_every_n_steps", "trainer.accumulate_grad_batches", "trainer.devices", "trainer.accelerator",
        "trainer.precision", "trainer.limit_train_batches", "trainer.limit_val_batches", "trainer.num_nodes",
        "trainer.enable_checkpointing", "trainer.strategy", "seed_everything", "run_dir", "data.zca",
        "data.validation_fraction", "data.real_images_per_class", "data.classes_per_step", "data.seed",
        "data.batch_size", "model.memory.images_per_class", "model.memory.num_bases", "model.memory.downsampling",
        "model.slots_per_class", "model.unroll.num_steps", "model.network.width", "model.network.depth",
        "evaluation.networks", "evaluation.validation_networks", "evaluation.protocol.epochs",
        "evaluation.protocol.learning_rate", "evaluation.protocol.momentum", "evaluation.architectures",
        "checkpoint.every_n_steps", "checkpoint.every_n_minutes", "pictures.max_classes", "pictures.max_images",
    ]  # fmt: skip
    for _ in range(100):
        chosen = generator.sample(names, generator.choice([1, 1, 2]))
        yield [f"--{name}={generator.choice(numbers)}" for name in chosen]


HUGE = ("1e300", "inf", "10**9")


@pytest.mark.parametrize("part", range(4))
def test_values_of_careless_users(part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lightning.Trainer.fit", lambda *_, **__: None)  # what is refused is refused before
    for arguments in list(attacks())[part::4]:
        said: Any = ""
        try:
            main(["fit", "--config", str(CONFIG), "--trainer.enable_progress_bar=false", *arguments])
        except UserError as error:
            said = str(error)
        assert "\n" not in said, arguments
        assert len(said) < 800, arguments
        nonsense = [a for a in arguments if a.endswith(("=-1", "=-5", "=nan", "=-inf", "=many", "=[]", "={}", "=''"))]
        fine = ("max_steps=-1", "max_epochs=-1", "devices=-1", "architectures=[]", "run_dir", "seed")
        if [a for a in nonsense if not any(word in a for word in fine)]:
            assert said, arguments
