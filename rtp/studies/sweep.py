"""`rtp sweep`: selects a numeric option, such as the number of bases, by validation accuracy (figures 2, 5)."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import yaml

from rtp.errors import DivergenceError, UserError, first_line
from rtp.modules.memories.addressable import AddressableMemory
from rtp.modules.memories.budget import StorageBudget
from rtp.studies.data import built_data
from rtp.studies.definition import read_study
from rtp.studies.plan import Plan, Run, Search, digest, make_run
from rtp.studies.runs import claimed, diverged_row, fit, validation_row
from rtp.studies.study import Finished, accuracy_line, conclude, finish, results_file, study_parser
from rtp.studies.summary import accuracy_text
from rtp.studies.table import append_rows, lines_of, read_rows, rows_of
from rtp.utils.shipped import find

if TYPE_CHECKING:
    import optuna

SUMMARY = "Choose a study's number, such as that of the bases, by the accuracy on the validation split"
BASES = "model.memory.num_bases"
"""The option whose values equation 4 limits."""
Tried = tuple[float, str]
"""Accuracy of a value, and its table rows."""
NOTE = "rows"
"""Optuna attribute of a trial's table rows, which other computers lack."""
HEARTBEAT, GRACE = 30, 120
"""Seconds between a trial's heartbeats, and without a heartbeat until the trial is retried."""


class Stopped(BaseException):
    """Ends a trial unseen by Optuna: as after a kill, the trial becomes stale and is retried."""


def sweep(args: Sequence[str]) -> None:
    """Run `rtp sweep`; raise UserError if an argument or a file is invalid, or Optuna is not installed."""
    parser = study_parser(
        "rtp sweep",
        f"{SUMMARY}. The memory with the best number is tested.",
        "The same command continues a sweep that was stopped; processes and computers that name the same --storage "
        "share its trials.",
    )
    parser.add_argument(
        "--sampler",
        choices=("grid", "tpe"),
        default="grid",
        help="grid: every value of the file; tpe: values between the least and the largest, chosen by a "
        "tree-structured Parzen estimator (default: %(default)s)",
    )
    parser.add_argument("--trials", type=int, metavar="N", help="trials of tpe in all (default: as many as values)")
    parser.add_argument("--storage", metavar="URL", help="Optuna's storage (default: a file of SQLite in the folder)")
    options = parser.parse_args(list(args))
    plan = read_study(find("configs", options.file, "studies"), options.size)
    if plan.search is None:
        raise UserError(f"{options.file} compares settings and searches for nothing: run it with `rtp study`")
    if options.trials is not None and (options.sampler == "grid" or options.trials < 1):
        raise UserError(f"--trials {options.trials}: give a number above 0, and with --sampler tpe alone")
    search = within_budget(plan, plan.search)
    root, table = Path(options.folder), results_file(options)
    work: list[Finished] = []

    def run_of(value: int, seed: int) -> Run:
        return make_run(plan, search.setting(value), seed, root, {search.option: value})

    def objective(value: int) -> Tried:
        validations = [validated(run_of(value, seed), table) for seed in plan.seeds]
        work.extend(validations)
        rows = [row for finished in validations for row in finished.rows]
        accuracy = fmean(row.accuracy_mean for row in rows)
        print(f"{search.setting(value)}: {accuracy_text([accuracy])} % on the validation split", flush=True)
        return accuracy, lines_of(rows)

    folder = root / plan.study / plan.size
    if not options.storage:
        folder.mkdir(parents=True, exist_ok=True)
    storage = options.storage or f"sqlite:///{folder / 'optuna.db'}"
    # a sweep with other options or seeds is another study of Optuna
    identity = digest(plan.bases, plan.options, plan.seeded, plan.search.option, plan.seeds)
    name = f"{plan.study}-{plan.size}-{identity}"
    best, notes = optimise(name, storage, search, objective, options.sampler, options.trials)
    here = {row.key for row in read_rows(table)}
    append_rows(table, [row for note in notes for row in rows_of(note) if row.key not in here])
    print(f"best on the validation split: {search.setting(best)}")
    for run in (run_of(best, seed) for seed in plan.seeds):
        if not run.folder.exists() and not any(run.owns(row) and row.key in here for row in read_rows(table)):
            done = "trained on another computer or in another folder: give the same command there to test it"
        elif (finished := finish(run, table)) is None:
            done = "another process tests it"
        else:
            done = accuracy_line(finished.rows)
            work.append(finished)
        print(f"{run.setting}, seed {run.seed}: {done}")
    known = {row.setting for row in read_rows(table)}
    values = range(search.values[0], search.values[-1] + 1)
    tried = [run_of(value, plan.seeds[0]) for value in values if search.setting(value) in known]
    conclude(tried, table, new=any(finished.ran for finished in work))


def optimise(
    name: str, storage: str, search: Search, objective: Callable[[int], Tried], sampler: str, trials: int | None
) -> tuple[int, list[str]]:
    """Maximise `objective`, which maps a value to its accuracy (NaN: diverged) and a note for its trial, with Optuna.

    A study of this name in the storage is continued. The sampler "grid" tries every value; "tpe" stops at `trials`
    finished trials in all, by default the number of values.

    Returns:
        The best value over all trials in the storage, and the notes of all finished trials, of any process.

    Raises:
        UserError: If Optuna is not installed, the storage cannot be used, or all trials diverged.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError("rtp sweep needs Optuna: pip install optuna") from error

    def trial_objective(trial: "optuna.Trial") -> float:
        try:
            accuracy, note = objective(trial.suggest_int(search.axis, search.values[0], search.values[-1], log=True))
        except BaseException as error:
            raise Stopped(error) from error
        trial.set_user_attr(NOTE, note)
        return accuracy

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        # heartbeats, retried trials and the constant liar are long-standing experimental features
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        grid = optuna.samplers.GridSampler({search.axis: list(search.values)})
        # unseeded: processes that share a sweep must not propose the same values
        chooser = grid if sampler == "grid" else optuna.samplers.TPESampler(constant_liar=True)
        try:
            study = optuna.create_study(
                study_name=name,
                storage=optuna.storages.RDBStorage(
                    storage,
                    heartbeat_interval=HEARTBEAT,
                    grace_period=GRACE,
                    heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(),
                ),
                sampler=chooser,
                direction="maximize",
                load_if_exists=True,
            )
        except Exception as error:  # any error of the database driver
            reason = first_line(error)
            raise UserError(f"--storage {storage} cannot be used ({reason}): give a URL like sqlite:///FILE") from error
        finished = optuna.trial.TrialState.COMPLETE
        wanted = trials or len(search.values)
        try:
            if sampler == "tpe":
                left = wanted - len(study.get_trials(states=(finished,)))
                enough = optuna.study.MaxTrialsCallback(wanted, states=(finished,))
                study.optimize(trial_objective, n_trials=max(0, left), callbacks=[enough])
            elif not grid.is_exhausted(study):
                study.optimize(trial_objective)  # until the sampler stops it
        except Stopped as stopped:
            raise stopped.args[0] from None
        if not (done := study.get_trials(states=(finished,))):
            raise UserError(f"training diverged with every {search.axis}: lower the learning rates")
        return int(study.best_params[search.axis]), [trial.user_attrs[NOTE] for trial in done]


def validated(run: Run, table: Path) -> Finished:
    """The row of a run's best validation, from the table or else fitted and added to it; waits for other processes."""
    with claimed(run.folder, wait=True):
        if known := [row for row in read_rows(table) if run.owns(row) and row.split == "validation"]:
            return Finished(known, ran=False)
        ran = True
        try:
            ran = fit(run)
            row = validation_row(run)
        except DivergenceError:
            row = diverged_row(run, "validation")
        append_rows(table, [row])
        return Finished([row], ran)


def within_budget(plan: Plan, search: Search) -> Search:
    """Drop and print the numbers of bases that exceed the budget of equation 4; other options are not limited.

    Raises:
        UserError: If no value is left.
    """
    if search.option != BASES:
        return search
    config: dict[str, Any] = {}
    for base in plan.bases:
        config = _overridden(config, yaml.safe_load(base.read_text(encoding="utf-8")))
    memory = dict(config["model"]["init_args"]["memory"].get("init_args", {}))
    prefix = BASES.rpartition(".")[0] + "."
    memory |= {name.removeprefix(prefix): value for name, value in plan.options.items() if name.startswith(prefix)}
    changes = {name: value for name, value in plan.options.items() if name.partition(".")[0] == "data"}
    data = built_data(config["data"], changes)
    defaults = {name: value.default for name, value in signature(AddressableMemory).parameters.items()}
    memory = defaults | memory
    sizes = memory["images_per_class"], data.num_classes, data.image_shape, memory["downsampling"]
    budget = StorageBudget(
        *sizes, int(memory["learned_rate"]), memory["total_bytes"], memory["bits_per_class"], memory["stored_as"]
    )
    kept = []
    for value in search.values:
        try:
            budget.num_matrices(value)
            kept.append(value)
        except UserError as error:
            print(f"left out {search.setting(value)}: {error}")
    if not kept:
        raise UserError(f"no {search.axis} of the sizes.{plan.size}.search fits the budget: use smaller ones")
    return replace(search, values=tuple(kept))


def _overridden(config: dict[str, Any], by: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the values of another one, name by name, as files given after one another have it."""
    both = {name: _overridden(config[name], value) for name, value in by.items() if _are_mappings(config, name, value)}
    return {**config, **by, **both}


def _are_mappings(config: dict[str, Any], name: str, value: Any) -> bool:
    return isinstance(value, dict) and isinstance(config.get(name), dict)
