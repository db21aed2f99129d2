"""Short names of classes work by registration alone, without the list of trusted classes."""

import subprocess
import sys

import rtp.datamodules
import rtp.modules
from rtp.cli.short_names import register_short_names


def test_the_names_are_the_public_classes() -> None:
    registered = register_short_names()
    assert registered["rtp.modules.GradientMatching"] is rtp.modules.GradientMatching
    assert registered["rtp.datamodules.CIFAR10"] is rtp.datamodules.CIFAR10
    assert "rtp.modules.NetworkFactory" not in registered  # not a class


def test_a_parser_resolves_them_after_the_registration_alone() -> None:
    program = """
import sys, lightning, jsonargparse
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("short_names", sys.argv[1])  # not through rtp.cli, which imports everything
module = module_from_spec(spec)
spec.loader.exec_module(module)
module.register_short_names()
assert "rtp.cli.trusted_config" not in sys.modules
parser = jsonargparse.ArgumentParser()
parser.add_subclass_arguments(lightning.LightningDataModule, "data")
print(parser.parse_args(["--data", "Digits"]).data.class_path)
"""
    path = sys.modules[register_short_names.__module__].__file__
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("Digits\n")
