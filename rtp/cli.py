"""The command line: one LightningCLI with `rtp fit | validate | test | predict`."""

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

# This and the import of rtp.modules let classes be named without their module: `--data CIFAR10`.
import rtp.datamodules  # noqa: F401
from rtp.callbacks import LastCheckpoint, MemoryPictures, RetrainingEvaluation, RunRecord, TrainingSpeed
from rtp.callbacks.progress import OuterLoopBar
from rtp.callbacks.run_record import run_folder
from rtp.checkpoints import checkpoint_config, read_checkpoint
from rtp.errors import UserError
from rtp.modules import MemoryDistillation
from rtp.parse_errors import one_line
from rtp.process import keep_compilations, keep_freed_memory, show_log
from rtp.report import format_table
from rtp.version import __version__

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


DESCRIPTION = (
    "Distil an image data set into a few kilobytes of addressable memory, and train networks from it. For example: "
    "rtp fit --config configs/digits_ipc1.yaml; rtp test --ckpt_path logs/digits_ipc1/0/best.ckpt"
)
COMMANDS = {
    "fit": "Distil a data set into a memory",
    "validate": "Measure a checkpoint's memory on the validation split, by training a few networks on it",
    "test": "Measure it on the test set, with 20 networks and any architectures, beside baselines if wanted",
    "predict": "Write the images that a checkpoint's memory recalls, as PNG",
}


class RtpCLI(LightningCLI):
    """Lightning's command line with a run folder, and with checkpoints that need no configuration file."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add rtp's own options, and let the data set tell the module its shape."""
        parser.add_argument(
            "--run_dir",
            type=str | None,
            default=None,
            help="Folder of the run: checkpoints, curves, pictures, results. By default logs/NAME/NUMBER when "
            "fitting (NAME from the configuration file) and the checkpoint's own folder otherwise.",
        )
        parser.add_lightning_class_args(RetrainingEvaluation, "evaluation")
        parser.add_lightning_class_args(MemoryPictures, "pictures")
        parser.add_lightning_class_args(LastCheckpoint, "checkpoint")
        # A module without these arguments is skipped silently by jsonargparse.
        parser.link_arguments("data.image_shape", "model.init_args.image_shape", apply_on="instantiate")
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, with the checkpoint's own configuration where a checkpoint and no file is given."""
        # not through super(), which warns where a caller inside another program passes arguments
        self.config = parser.parse_args(with_checkpoint_config(sys.argv[1:] if args is None else args))
        if ckpt_path := self.config[self.config.subcommand].get("ckpt_path"):
            read_checkpoint(Path(ckpt_path))  # a damaged one is reported now, in a line

    def setup_parser(self, *args: Any) -> None:
        """Say what the commands do with memories; Lightning's sentences are about models."""
        super().setup_parser(*args)
        commands = self.parser._subcommands_action
        assert commands is not None  # they have just been added
        for command in commands._choices_actions:
            command.help = COMMANDS[command.dest]

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Let errors be raised, so that `main` can put them in one line."""
        return super().init_parser(**kwargs, exit_on_error=False)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The Trainer's methods with the arguments that are no options; rtp prints its own table of a test."""
        inherited = LightningCLI.subcommands()
        return inherited | {"test": inherited["test"] | {"verbose"}}

    def test(self, **kwargs: Any) -> None:
        """Test without Lightning's own table: RetrainingEvaluation prints one."""
        self.trainer.test(**kwargs, verbose=False)

    def before_instantiate_classes(self) -> None:
        """Decide on the run's folder before anything is built."""
        config = self.config[self.subcommand]
        ckpt_path = config.get("ckpt_path")
        if config.run_dir is None:
            config.run_dir = str(
                Path(ckpt_path).parent if ckpt_path else next_run_folder(config_name(config.get("config")))
            )
        elif self.subcommand == "fit" and not ckpt_path and (Path(config.run_dir) / "config.yaml").exists():
            raise UserError(
                f"the run folder {config.run_dir} exists: choose another --run_dir, "
                f"or continue the run with --ckpt_path {Path(config.run_dir) / 'last.ckpt'}"
            )

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Log and save into the run's folder."""
        folder = self._get(self.config, "run_dir")
        settings = self._get(self.config_init, "trainer")
        if settings.get("logger") is None:
            # tests have a folder of their own: TensorBoard would take their steps for a restart of the training
            version = "test" if self.subcommand == "test" else ""
            kwargs["logger"] = TensorBoardLogger(folder, name="", version=version, default_hp_metric=False)
        kwargs.setdefault("default_root_dir", folder)
        # outside of `fit` nothing is saved, but the callback's state in the checkpoint wants its folder back
        ckpt_path = self._get(self.config, "ckpt_path")
        best = best_checkpoint(folder if self.subcommand == "fit" or not ckpt_path else str(Path(ckpt_path).parent))
        callbacks = [*(settings.get("callbacks") or []), TrainingSpeed(), best]
        if settings.get("enable_progress_bar") is not False and not any(
            isinstance(callback, ProgressBar) for callback in callbacks
        ):
            callbacks.append(OuterLoopBar())
        settings.callbacks = callbacks
        return super().instantiate_trainer(**kwargs)

    def before_fit(self) -> None:
        """Say what is going to be distilled into what, and where."""
        if not isinstance(self.model, MemoryDistillation):
            return
        memory, device = self.model.memory, self.trainer.strategy.root_device
        bases = f"{len(memory.bases)} bases of {'x'.join(map(str, memory.bases.shape[1:]))}"
        print(
            f"distilling {self.datamodule.name} into {bases}, {memory.num_slots} images a class, "
            f"{memory.storage_floats:,} floats; on {device}; run folder {relative(run_folder(self.trainer))}"
        )

    def after_fit(self) -> None:
        """Say what came out and what to do next."""
        best = next(c for c in self.trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint))
        if self.trainer.is_global_zero and best.best_model_path:
            print(
                f"best validation accuracy {float(best.best_model_score or 0):.4f}\n"
                f"test it: rtp test --ckpt_path {relative(best.best_model_path)}"
            )
            self._print_where_to_look()

    def after_test(self) -> None:
        """Print the table of results."""
        if self.trainer.is_global_zero:
            evaluation: RetrainingEvaluation = self._get(self.config_init, "evaluation")
            print(f"\n{format_table(evaluation.results)}\n")
            print(f"results: {relative(run_folder(self.trainer) / 'test.json')}")
            self._print_where_to_look()

    def _print_where_to_look(self) -> None:
        folder = run_folder(self.trainer)
        print(f"recalled images: {relative(folder / 'recalled.png')}")
        print(f"curves and pictures: tensorboard --logdir {relative(folder)}")


def best_checkpoint(folder: str) -> ModelCheckpoint:
    """The callback that keeps `best.ckpt`, the memory with the highest validation accuracy."""
    return ModelCheckpoint(
        dirpath=folder,
        filename="best",
        monitor="val/accuracy",
        mode="max",
        auto_insert_metric_name=False,
        enable_version_counter=False,
    )


def with_checkpoint_config(args: Sequence[str]) -> list[str]:
    """Put a checkpoint's configuration in front of the other options of `validate`, `test` and `predict`.

    Args:
        args: Command-line arguments, the subcommand first.

    Returns:
        The same arguments if there is a `--config` or no `--ckpt_path` among them; otherwise with the memory, data
        and evaluation of the run that wrote the checkpoint, which the other arguments override.

    Raises:
        UserError: If the file is no checkpoint of rtp.
    """
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    options.add_argument("-c", "--config")
    options.add_argument("--ckpt_path")
    known, _ = options.parse_known_args(args)
    if not args or args[0] not in ("validate", "test", "predict") or known.config or not known.ckpt_path:
        return list(args)
    return [args[0], "--config", checkpoint_config(Path(known.ckpt_path)), *args[1:]]


def config_name(config: Sequence[Any] | None) -> str:
    """Name of the runs of a configuration: the last file's stem, "unnamed" where there is none."""
    return Path(str(config[-1])).stem if config else "unnamed"


def next_run_folder(name: str) -> Path:
    """The first of logs/NAME/0, logs/NAME/1, ... that does not exist, above all that do."""
    parent = Path("logs") / name
    taken = [int(folder.name) for folder in parent.glob("*") if folder.name.isdigit()]
    return parent / str(max(taken, default=-1) + 1)


def relative(path: Path | str) -> str:
    """The path as seen from the current folder, where it lies below it."""
    full = Path(path).resolve()
    return str(full.relative_to(Path.cwd()) if full.is_relative_to(Path.cwd()) else full)


def main(args: list[str] | None = None) -> RtpCLI:
    """Run the command line.

    Args:
        args: Arguments; by default those of the process.

    Returns:
        The command line with its trainer, module and datamodule, after the run.

    Raises:
        UserError: If something that the user gave is not usable.
    """
    try:
        return RtpCLI(
            model_class=L.LightningModule,
            datamodule_class=L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=RunRecord,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            trainer_defaults={
                "devices": 1,
                # networks are trained during evaluation, which tensors made in inference mode do not allow
                "inference_mode": False,
                "num_sanity_val_steps": 0,
                # val_check_interval counts outer steps, not epochs
                "check_val_every_n_epoch": None,
                "enable_model_summary": False,
            },
            parser_kwargs={
                "version": __version__,
                "prog": "rtp",
                "description": DESCRIPTION,
                **{command: {"description": description} for command, description in COMMANDS.items()},
            },
            args=args,
        )
    except argparse.ArgumentError as error:
        raise UserError(one_line(str(error))) from error
    except ValueError as error:
        # jsonargparse wraps what a constructor raises into its own ValueError
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise cause from None


def entry_point() -> None:
    """Run the command line as a program: errors a user can mend are one line, without a traceback."""
    # Lightning's remarks on the machine and on other products; what it warns of is kept, less what means nothing
    # here: the run folder is made before its checkpoints, and torch 2.15 deprecates what it and lightning 2.6 use
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated")
    warnings.filterwarnings("ignore", ".torch.jit.script.* is deprecated")
    keep_compilations()
    keep_freed_memory()
    show_log()
    try:
        main()
    except UserError as error:
        print(f"rtp: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except SystemExit as error:
        # Lightning turns Ctrl-C into exit code 1
        sys.exit(INTERRUPTED if isinstance(error.__context__, KeyboardInterrupt) else error.code)
