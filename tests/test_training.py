"""What runs from the command line and from a program share."""

import logging
import warnings

import pytest

from rtp.training import without_remarks


def test_remarks_are_left_out_and_what_was_set_comes_back(recwarn: pytest.WarningsRecorder) -> None:
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level, list(warnings.filters)
    with without_remarks():
        assert logger.level == logging.WARNING
        warnings.warn("Checkpoint directory /here exists and is not empty.", stacklevel=1)
        assert not recwarn.list
    assert (logger.level, list(warnings.filters)) == before
