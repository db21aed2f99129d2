"""The program `rtp`: help and typing errors are answered at once, before torch and Lightning are imported."""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import rtp.datamodules
import rtp.modules
from rtp.cli.commands.registry import COMMANDS, DESCRIPTION, OTHER_COMMANDS
from rtp.cli.commands.short_help import short_help
from rtp.cli.process import errors_in_a_line, find_local_modules
from rtp.errors import UserError
from rtp.version import __version__

ALL_COMMANDS = (*COMMANDS, *OTHER_COMMANDS)
LIGHT = ("list", "info")
"""Commands that import by themselves what they need, as does the export of a memory's file."""
GROUPS = (
    *("trainer", "model", "data", "evaluation", "pictures", "checkpoint"),
    *("seed_everything", "run_dir", "tf32", "ckpt_path"),
)
OPTIONS: dict[str, tuple[str, ...]] = {
    "fit": GROUPS,
    "validate": (*GROUPS, "lift_limits", "verbose"),
    "test": (*GROUPS, "lift_limits", "memory"),
    "predict": (*GROUPS, "lift_limits", "return_predictions"),
}
"""First parts of the options of each command, beside `ALWAYS`; a test compares them with the parsers."""
ALWAYS = ("config", "print_config", "help", "weights_only", "optimizer", "lr_scheduler")


ERASED_LINE = "\r\033[K"
"""Takes a line away from a terminal, see ECMA-48."""


def entry_point() -> None:
    """Run the command line as a program: a UserError is one line, without a traceback."""
    args = sys.argv[1:]
    with errors_in_a_line():
        if answered(args):
            return
        if args[0] in LIGHT or (args[0] == "export" and len(args) > 1 and args[1].endswith(".safetensors")):
            find_local_modules()
            OTHER_COMMANDS[args[0]](args[1:])
            return
    if sys.stderr.isatty():  # the imports take seconds
        print("loading PyTorch and Lightning ...", end="", file=sys.stderr, flush=True)
    from rtp.cli.app import entry_point as run

    if sys.stderr.isatty():
        print(ERASED_LINE, end="", file=sys.stderr, flush=True)
    run()


def answered(args: Sequence[str]) -> bool:
    """Answer what needs no library: help on the commands, the version.

    Args:
        args: The program's arguments.

    Returns:
        Whether that was all.

    Raises:
        UserError: If a command or an option is misspelled, or a class that is neither rtp's nor has a module's name.
    """
    if not args or args[0] in ("-h", "--help"):
        print(overview())
        return True
    if args[0] == "--version":
        print(f"rtp {__version__}")
        return True
    command = args[0]
    if command.startswith("-"):
        raise UserError(
            f"{command} stands before the command: start with one of {', '.join((*COMMANDS, *OTHER_COMMANDS))}"
        )
    if command not in (*COMMANDS, *OTHER_COMMANDS):
        raise UserError(f"there is no command {command!r}{suggestion(command, (*COMMANDS, *OTHER_COMMANDS))}")
    if command in OPTIONS and set(args[1:]) & {"-h", "--help"}:
        print(short_help(command))
        return True
    if command in OPTIONS:
        _check(command, args[1:])
    return False


def overview() -> str:
    """The text of `rtp --help`."""
    commands = COMMANDS | {name: command.summary for name, command in OTHER_COMMANDS.items()}
    lines = [f"  {name.ljust(10)}{summary}" for name, summary in commands.items()]
    return "\n".join(
        [
            "usage: rtp COMMAND [OPTIONS]",
            "",
            *DESCRIPTION.split("; "),
            "",
            "commands (`rtp COMMAND --help` shows the options of each):",
            *lines,
            "",
            "  --version   the version",
        ]
    )


def suggestion(name: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown name: what is spelled alike, or else all that is known if it is short."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    if not close:  # another case alone
        close = [other for other in known if other.lower() == name.lower()]
    return f": did you mean {close[0]}?" if close else f": use one of {', '.join(known)}"


def _check(command: str, args: Sequence[str]) -> None:
    known = (*OPTIONS[command], *ALWAYS)
    for argument, following in zip(args, [*args, ""][1:], strict=True):
        if not argument.startswith("--"):
            continue
        option, _, value = argument[2:].partition("=")
        if option.rpartition(".")[2] == "help" and option != "help":
            continue  # of a class
        group = option.partition(".")[0].removesuffix("+")
        if group not in known:
            elsewhere = [name for name, options in OPTIONS.items() if group in options]
            hint = f": it is an option of `rtp {elsewhere[0]}`" if elsewhere else suggestion(group, known)
            raise UserError(f"`rtp {command}` has no option --{group}{hint}")
        if option in ("data", "model"):
            _check_class(option, value or following)
    given = {argument.partition("=")[0] for argument in args}
    if not given & {"--ckpt_path", "--memory", "--config", "-c", "--help", "-h", "--print_config"}:
        if command == "test":
            raise UserError("`rtp test` needs --ckpt_path RUN/best.ckpt or --memory FILE")
        if command in ("validate", "predict"):
            raise UserError(f"`rtp {command}` needs --ckpt_path RUN/best.ckpt")


def _check_class(option: str, value: str) -> None:
    """Refuse the name of a class that is not rtp's; names with a dot are a user's own, others may be files."""
    own = list((rtp.datamodules if option == "data" else rtp.modules).__dir__())
    if value.isidentifier() and value not in own and not Path(value).exists():
        raise UserError(f"--{option} names {value!r}, which is no class of rtp{suggestion(value, own)}")
