"""A study of a second a run, and folders of its own."""

from pathlib import Path

import pytest

CONF = Path(__file__).parents[1] / "conf"

STUDY = f"""
seeds: [0, 1]
sizes:
  fast:
    base: {CONF / "addressable.yaml"}
    options: {{trainer.max_steps: 4, evaluation.networks: 1, evaluation.validation_networks: 1}}
settings:
  short: {{model.unroll.num_steps: 1}}
  pixels: {{model.memory: PixelMemory, model.memory.downsampling: 1}}
"""


@pytest.fixture
def study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study file in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.yaml"
    path.write_text(STUDY)
    return path
