"""CITATION.cff names the version that is installed, and the paper."""

from pathlib import Path

import yaml

from rtp.version import __version__


def test_the_citation_names_this_version_and_the_paper() -> None:
    citation = yaml.safe_load((Path(__file__).parents[2] / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["preferred-citation"]["title"].startswith("Remember the Past")
