"""`rtp fit --help` and its like: rtp's own options with examples; `--help=all` has the Trainer's too."""

import textwrap
from collections.abc import Iterator

from rtp.cli.commands.own_classes import ROOT, described
from rtp.cli.commands.registry import COMMANDS

WIDTH, COLUMN = 100, 36
"""Characters of a line, and where descriptions begin."""
FILE = "--ckpt_path logs/digits_ipc1/0/best.ckpt"
EXAMPLES = {
    "fit": (
        "rtp fit --config configs/digits_ipc1.yaml",
        "rtp fit --config configs/digits_ipc1.yaml --ckpt_path last",
        "rtp fit --config my.yaml --data ImageFolder --data.folder flowers --data.image_size 32",
    ),
    "validate": (f"rtp validate {FILE}",),
    "test": (f"rtp test {FILE} --evaluation.baselines true", "rtp test --memory digits.safetensors"),
    "predict": (f"rtp predict {FILE}",),
}
OPTIONS = {
    "--config FILE": "settings in YAML; several files are merged, and options on the command line come last",
    "--print_config": "print the settings as they are, instead of running",
    "--ckpt_path FILE": "the checkpoint of a run; to fit, `last` continues the newest run of --config or --run_dir",
    "--run_dir FOLDER": "of checkpoints, curves, pictures, results; by default logs/NAME/NUMBER",
    "--seed_everything N": "seed of all random numbers (default: 0)",
    "--data CLASS": "the data set: `rtp list` shows them, `--data.help ImageFolder` the options --data.NAME of one",
    "--model CLASS": "what is learned and how: `--model.help MemoryDistillation` shows its options --model.NAME",
}
TESTED = {
    "--memory FILE": "test a file of `rtp export` instead of a checkpoint (`rtp test`)",
    "--lift_limits": "let a file ask for any number of epochs, networks, ...",
}
TRAINER = {
    "--trainer.max_steps N": "outer steps",
    "--trainer.val_check_interval N": "outer steps between two validations, which choose best.ckpt",
    "--trainer.gradient_clip_val X": "largest norm of the outer gradient",
    "--trainer.accelerator NAME": "cpu, gpu or auto (default: auto)",
    "--trainer.devices N": "devices or processes (default: 1)",
    "--tf32 BOOL": "round a GPU's products to TF32: faster, 3 digits (default: false)",
    "--trainer.enable_progress_bar BOOL": "the progress bar (default: true)",
}
CLASSES = {
    "evaluation": ("evaluation/base.py", "EvaluationSettings"),
    "evaluation.protocol": ("modules/networks/training.py", "TrainingProtocol"),
    "pictures": ("callbacks/pictures.py", "MemoryPictures"),
    "checkpoint": ("callbacks/last_checkpoint.py", "LastCheckpoint"),
}
"""File and class of each group of options."""


def short_help(command: str) -> str:
    """The text of `rtp COMMAND --help`, from the sources of `CLASSES`.

    Args:
        command: One of `COMMANDS`.
    """
    blocks = [f"usage: rtp {command} [OPTIONS]\n\n{COMMANDS[command]}.", _block("examples", EXAMPLES[command])]
    own = OPTIONS if command == "fit" else OPTIONS | TESTED
    blocks.append(_block("options", _lines(own)))
    for group, (file, name) in CLASSES.items():
        options = {
            f"--{group}.{argument} {argument.rpartition('_')[2].upper()}": text
            + (f" (default: {default})" if default else "")
            for argument, (default, text) in described(ROOT / "rtp" / file, name).items()
        }
        blocks.append(_block(f"{group} ({name})", _lines(options)))
    blocks.append(_block("Lightning's Trainer, the most used", _lines(TRAINER)))
    return "\n\n".join([*blocks, f"`rtp {command} --help=all` shows every option, the Trainer's too."])


def _block(title: str, lines: Iterator[str] | tuple[str, ...]) -> str:
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)])


def _lines(options: dict[str, str]) -> Iterator[str]:
    for option, text in options.items():
        wrapped = textwrap.wrap(text, WIDTH - COLUMN) or [""]
        if len(option) > COLUMN - 2:
            yield option
            option = ""
        yield f"{option.ljust(COLUMN)}{wrapped[0]}".rstrip()
        yield from (" " * COLUMN + line for line in wrapped[1:])
