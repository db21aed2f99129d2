"""The command line: one LightningCLI with `rtp fit | validate | test | predict`."""

import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rtp.artefact import DistilledMemory
from rtp.callbacks import LastCheckpoint, MemoryPictures, RetrainingEvaluation, RunRecord
from rtp.callbacks.defaults import default_callbacks
from rtp.cli.commands.registry import COMMANDS, DESCRIPTION, OTHER_COMMANDS
from rtp.cli.lines import distilled_lines, distilling_line, measured_table, where_to_look
from rtp.cli.option_parser import OptionParser
from rtp.cli.parse_errors import user_errors
from rtp.cli.process import errors_in_a_line, find_local_modules, keep_compilations, keep_freed_memory, show_log
from rtp.cli.short_names import register_short_names
from rtp.cli.stored_config import use_memory, with_shipped_configs, with_stored_config
from rtp.cli.streams import is_stream, learned_lines, learning_line, link_streams, tested_lines, without_retraining
from rtp.errors import UserError
from rtp.modules import ContinualLearner, Distillation
from rtp.runs.checkpoint_io import AtomicCheckpointIO
from rtp.runs.checkpoints import last_checkpoint, steps_done
from rtp.runs.event_files import CurvesLogger
from rtp.runs.float32_products import TF32, use_tf32
from rtp.runs.folders import (
    common_run_folder,
    config_name,
    held,
    make_run_folder,
    new_run_folder,
    relative,
    resumable_folders,
    run_folder,
)
from rtp.runs.lightning_internals import command_help, command_parser, commands_action, setting
from rtp.runs.trainer import TRAINER_DEFAULTS, quiet_lightning
from rtp.runs.trainer_options import check_callbacks, check_trainer_options, interval_within
from rtp.utils.cores import use_free_cores
from rtp.version import __version__

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


class RtpCLI(LightningCLI):
    """Lightning's command line with a run folder, and with checkpoints that need no configuration file."""

    steps_done: int | None = None
    """Outer steps of the checkpoint to resume from."""
    memory: DistilledMemory | None = None
    """The content of the file in `rtp test --memory FILE`."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add rtp's own options, and let the data set tell the module its shape."""
        parser.add_argument(
            "--run_dir",
            type=str | None,
            default=None,
            help="Folder of the run: checkpoints, curves, pictures, results. By default logs/NAME/NUMBER when "
            "fitting (NAME from the configuration file) and the checkpoint's own folder otherwise.",
        )
        parser.add_argument("--tf32", type=bool, default=False, help=TF32)
        parser.add_lightning_class_args(RetrainingEvaluation, "evaluation")
        parser.add_lightning_class_args(MemoryPictures, "pictures")
        parser.add_lightning_class_args(LastCheckpoint, "checkpoint")
        # jsonargparse silently skips a module without these arguments
        parser.link_arguments("data.image_shape", "model.init_args.image_shape", apply_on="instantiate")
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")
        link_streams(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, with the configuration of the checkpoint or memory if no configuration file is given."""
        given = ["--help" if a == "--help=all" else a for a in (sys.argv[1:] if args is None else args)]
        completed, self.memory = with_stored_config(with_shipped_configs(given))
        self.config = parser.parse_args(completed)  # super() warns where a program passes arguments
        config = self.config[self.config.subcommand]
        if self.config.subcommand != "fit" or not config.get("ckpt_path"):
            return
        if config.ckpt_path == "last":
            folders = [Path(config.run_dir)] if config.run_dir else resumable_folders(config_name(config.get("config")))
            path, self.steps_done, damage = last_checkpoint(folders)
        else:
            path, damage = Path(config.ckpt_path), ""
            self.steps_done = steps_done(path)
        rank_zero_print(f"{damage}; " if damage else "", f"continuing from {path}, step {self.steps_done}", sep="")
        config.ckpt_path = str(path)

    def setup_parser(self, *args: Any) -> None:
        """Describe the commands in terms of memories, and add rtp's own."""
        super().setup_parser(*args)
        for entry in command_help(self):
            entry.help = COMMANDS[entry.dest]
            if entry.dest == "test":
                command_parser(self, "test").add_argument(
                    "--memory",
                    type=str | None,
                    default=None,
                    help="File of `rtp export` to test, with its own settings; results go into a new run folder.",
                )
            if entry.dest != "fit":  # for the help alone: `with_stored_config` takes it
                command_parser(self, entry.dest).add_argument(
                    "--lift_limits", action="store_true", help="Let a file ask for any number of epochs, networks, ..."
                )
        for name, other in OTHER_COMMANDS.items():  # for the help alone: `entry_point` runs them
            commands_action(self).add_subcommand(name, LightningArgumentParser(), help=other.summary)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The Trainer's methods, each with its arguments that are no options."""
        inherited = LightningCLI.subcommands()
        return inherited | {"test": inherited["test"] | {"verbose"}}

    def fit(self, **kwargs: Any) -> None:
        """Train, while no other process can train in the run's folder."""
        with held(Path(self._setting("run_dir"))):
            self.trainer.fit(**kwargs)

    def test(self, **kwargs: Any) -> None:
        """Test without Lightning's table: `after_test` prints one."""
        try:
            self.trainer.test(**kwargs, verbose=False)
        except UserError:  # a full disk must not cost what took hours to measure
            print(*measured_table(self.trainer), sep="\n")
            raise

    def before_instantiate_classes(self) -> None:
        """Check the Trainer's options, and choose and make the run's folder."""
        config = self.config[self.subcommand]
        check_trainer_options(config.trainer)
        if self.subcommand == "fit" and (interval := interval_within(config.trainer)) is not None:
            rank_zero_print(f"the run is validated at its end: it is shorter than {config.trainer.val_check_interval}")
            config.trainer.val_check_interval = interval
        if config.run_dir is not None and not config.run_dir.strip():
            raise UserError("run_dir is empty: give a folder, or leave it out")
        ckpt_path, memory = config.get("ckpt_path"), config.get("memory")
        if config.run_dir is None and memory:
            config.run_dir = str(new_run_folder(Path(memory).stem))
        elif config.run_dir is None:
            config.run_dir = str(Path(ckpt_path).parent if ckpt_path else common_run_folder(config))
        elif self.subcommand == "fit" and not ckpt_path and (Path(config.run_dir) / "config.yaml").exists():
            raise UserError(
                f"the run folder {config.run_dir} exists: choose another --run_dir, "
                f"or continue the run with --ckpt_path last --run_dir {config.run_dir}"
            )
        make_run_folder(Path(config.run_dir))

    def instantiate_classes(self) -> None:
        """Build everything; a run that is refused leaves no empty folder."""
        try:
            super().instantiate_classes()
        except BaseException:
            with suppress(OSError):  # there are files in it
                Path(self._setting("run_dir")).rmdir()
            raise

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Log and save into the run's folder; streams have their own evaluation."""
        streaming = is_stream(self.model, self.datamodule)
        folder = self._setting("run_dir")
        settings = setting(self, self.config_init, "trainer")
        if settings.get("logger") is None:
            # tests have their own folder: TensorBoard would take their steps for a restart of the training
            version = "test" if self.subcommand == "test" else ""
            # curves count steps from 0, pictures from 1; points after the checkpoint will be computed again
            purge_step = None if self.steps_done is None else self.steps_done + 1
            kwargs["logger"] = CurvesLogger(folder, "", version, default_hp_metric=False, purge_step=purge_step)
        kwargs.setdefault("default_root_dir", folder)
        ckpt_path, own = self._setting("ckpt_path"), settings.get("callbacks") or []
        progress = settings.get("enable_progress_bar") is not False and not any(isinstance(c, ProgressBar) for c in own)
        # outside of `fit` nothing is saved, but the state of BestCheckpoint in the checkpoint needs its folder
        best_folder = Path(folder if self.subcommand == "fit" or not ckpt_path else Path(ckpt_path).parent)
        settings.callbacks = [*own, *default_callbacks(best_folder, progress, streaming)]
        settings.plugins = [*(settings.get("plugins") or []), AtomicCheckpointIO()]
        trainer = super().instantiate_trainer(**kwargs)
        use_tf32(self._setting("tf32"), trainer.strategy.root_device, trains=self.subcommand == "fit")
        check_callbacks(trainer.callbacks)  # type: ignore[attr-defined]
        if self.subcommand != "fit":  # the checkpoint's memory is whole without the average and rules of its training
            warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint need to be provided")
        if streaming:
            without_retraining(trainer)
        return trainer

    def before_test(self) -> None:
        """Use the memory in a file, if given."""
        self._use_free_cores()
        if self.memory is not None:
            use_memory(Path(self._setting("memory")), self.memory, self.model, self.datamodule)

    def before_fit(self) -> None:
        """Print what will be learned, and where."""
        self._use_free_cores()
        if isinstance(self.model, ContinualLearner):
            rank_zero_print(learning_line(self.model, self.datamodule, self.trainer))
        elif isinstance(self.model, Distillation):
            rank_zero_print(distilling_line(self.model, self.datamodule, self.trainer))

    def _setting(self, name: str) -> Any:
        return setting(self, self.config, name)

    def _use_free_cores(self) -> None:
        if self.trainer.is_global_zero and self.trainer.strategy.root_device.type == "cpu":
            use_free_cores()

    def after_fit(self) -> None:
        """Print the result and what to do next."""
        if isinstance(self.model, ContinualLearner):
            print(learned_lines(self.trainer))
        elif self.trainer.is_global_zero:
            print(*distilled_lines(self.trainer, self.steps_done), sep="\n")

    def after_test(self) -> None:
        """Print the table of results."""
        if isinstance(self.model, ContinualLearner):
            print(tested_lines(self.trainer))
        elif self.trainer.is_global_zero:
            file = relative(run_folder(self.trainer) / "test.json")
            print(*measured_table(self.trainer), f"results: {file}", *where_to_look(self.trainer), sep="\n")


rank_zero_print = rank_zero_only(print)
"""Prints in the first of several processes alone."""


def main(args: list[str] | None = None) -> RtpCLI:
    """Run the command line with these arguments, by default those of the process.

    Returns:
        The command line with its trainer, module and datamodule, after the run.

    Raises:
        UserError: If an input cannot be used.
    """
    register_short_names()
    arguments = sys.argv[1:] if args is None else args
    cli_of_command = _cli_of(arguments[0] if arguments else "")
    with user_errors():
        return cli_of_command(
            model_class=L.LightningModule,
            datamodule_class=L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=RunRecord,
            save_config_kwargs={"overwrite": True, "save_to_log_dir": False},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_class=OptionParser,
            trainer_defaults=TRAINER_DEFAULTS,
            parser_kwargs={
                "version": __version__,
                "prog": "rtp",
                "description": DESCRIPTION,
                **{command: {"description": COMMANDS[command]} for command in cli_of_command.subcommands()},
            },
            args=args,
        )


def _cli_of(command: str) -> type[RtpCLI]:
    """The class with the parser of one command: those of the others take as long as this one's."""
    known = RtpCLI.subcommands()
    if command not in known:
        return RtpCLI
    return type("RtpCLI", (RtpCLI,), {"subcommands": staticmethod(lambda: {command: known[command]})})


def entry_point() -> None:
    """Run the command line as a program: a UserError is one line, without a traceback."""
    keep_compilations()
    keep_freed_memory()
    find_local_modules()
    show_log()
    try:
        with errors_in_a_line(), quiet_lightning(), user_errors():
            if len(sys.argv) > 1 and sys.argv[1] in OTHER_COMMANDS:
                OTHER_COMMANDS[sys.argv[1]](sys.argv[2:])
            else:
                main()
    except SIGTERMException as error:  # without a code Lightning would end it as if all were done
        sys.exit(error.code or 128 + signal.SIGTERM)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except SystemExit as error:
        # Lightning turns Ctrl-C into exit code 1
        sys.exit(INTERRUPTED if isinstance(error.__context__, KeyboardInterrupt) else error.code)
