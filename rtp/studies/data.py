"""The data module of a configuration, built for its name and sizes."""

from collections.abc import Mapping
from typing import Any

import jsonargparse

from rtp.cli.parse_errors import user_errors
from rtp.datamodules import ImageDataModule, TaskStream
from rtp.studies.plan import Options, option_arguments


def built_data(part: Mapping[str, Any], changes: Options | None = None) -> ImageDataModule | TaskStream:
    """Build the data module of a configuration's `data`, overridden by options `data` and `data.*`; read no files.

    Raises:
        UserError: If `rtp fit` would not accept it.
    """
    with user_errors():
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments((ImageDataModule, TaskStream), "data", required=False)
        parser.set_defaults({"data": part})
        data: ImageDataModule | TaskStream = parser.instantiate_classes(
            parser.parse_args(option_arguments(changes or {}))
        ).data
    return data
