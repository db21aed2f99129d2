"""Saving figures as PNG and PDF, and to TensorBoard."""

from pathlib import Path

from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from rtp.errors import UserError
from rtp.runs.event_files import EventWriter
from rtp.studies.figures.style import styled
from rtp.utils.files import atomic_write

FORMATS = ("png", "pdf")


def without_suffix(out: str) -> Path:
    """The path of `--out` without .png or .pdf; raise UserError for the suffix of another image format."""
    path = Path(out)
    if path.suffix[1:] in FORMATS:
        return path.with_suffix("")
    if path.suffix[1:] in FigureCanvasBase.get_supported_filetypes():
        raise UserError(f"--out {out} is written as PNG and PDF: call it {path.stem}, without {path.suffix}")
    return path  # ipc0.5 has no image suffix


def save_figure(figure: Figure, path_without_suffix: Path, tensorboard: Path | None) -> list[Path]:
    """Save a figure as PNG and PDF, with reproducible bytes.

    Args:
        figure: The figure.
        path_without_suffix: Missing folders are created, existing files replaced.
        tensorboard: Folder of event files to which the figure is added under its name, or None.

    Returns:
        The two files.

    Raises:
        UserError: If a file cannot be written.
    """
    files = [path_without_suffix.with_name(f"{path_without_suffix.name}.{suffix}") for suffix in FORMATS]
    try:
        with styled():
            # fix the layout for all files: each drawing would shift it by a fraction of a pixel
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            for path in files:
                metadata = {"CreationDate": None} if path.suffix == ".pdf" else {}
                with atomic_write(path) as file:
                    figure.savefig(file, format=path.suffix[1:], metadata=metadata)
            if tensorboard is not None:
                with EventWriter(str(tensorboard)) as writer:
                    writer.add_figure(f"figures/{path_without_suffix.name}", figure, close=False)
    except OSError as error:
        raise UserError(
            f"{path_without_suffix} cannot be written ({error.strerror or error}): use another --out"
        ) from error
    return files
