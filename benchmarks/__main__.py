"""Measure, print rows as they come, and write `benchmarks/results/<device>.json`: `python -m benchmarks [--quick]`."""

import argparse
import json
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.machine import default_device, device_name
from benchmarks.sections import Section, sections

RESULTS = Path(__file__).parent / "results"
QUICK_SECONDS = 200
"""No part of a quick run begins after this time, so that all of it takes less than five minutes."""


def measure(parts: Iterable[Section], machine: dict[str, Any], partial: Path, most_seconds: float) -> bool:
    """Measure one part after the other, print its rows, and write what there is so far.

    Args:
        parts: What to measure.
        machine: What it is measured on; the figures are added.
        partial: File for what there is so far.
        most_seconds: No part begins later.

    Returns:
        Whether all parts were measured: neither was there too little time, nor was Ctrl-C pressed.
    """
    begin, parts, whole = time.perf_counter(), list(parts), True
    with tqdm(parts, bar_format="{desc} {bar:20} {n_fmt}/{total_fmt} {elapsed}", file=sys.stderr) as bar:
        for part in parts:
            bar.set_description_str(f"{part.title:18}")
            if time.perf_counter() - begin > most_seconds:
                bar.write(f"{part.title:48} not measured: there was no time left", file=sys.stdout)
                whole = False
            else:
                try:
                    figures = part.measure(machine)
                except KeyboardInterrupt:
                    return False
                machine |= figures
                for what, figure in part.rows(figures):
                    bar.write(f"{what:48} {figure}", file=sys.stdout)
                partial.write_text(json.dumps(machine, indent=2) + "\n", encoding="utf-8")
            bar.update()
    return whole


def main(args: list[str] | None = None) -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smaller case, in under five minutes on two cores")
    quick = parser.parse_args(args).quick
    device = default_device()
    machine = {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch_version": torch.__version__.split("+")[0],
        "quick": quick,
    }
    print(f"{'machine':48} {machine['device']}, {machine['threads']} threads, torch {machine['torch_version']}")
    stem = re.sub(r"[^a-z0-9]+", "-", machine["device"].lower()) + ("-quick" if quick else "")
    partial, path = RESULTS / f"{stem}-partial.json", RESULTS / f"{stem}.json"
    described = len(machine)
    if measure(sections(quick, device), machine, partial, QUICK_SECONDS if quick else float("inf")):
        partial.replace(path)
        print(f"written to benchmarks/results/{path.name}")
    elif len(machine) > described:
        print(f"not all was measured; what was is in benchmarks/results/{partial.name}")
    else:
        print("nothing was measured")


if __name__ == "__main__":
    main()
