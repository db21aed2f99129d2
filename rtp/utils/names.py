"""Names of folders for classes that anybody may have named."""

MAX_NAME = 60
"""Most bytes of a class's name in its folder's name; file systems allow 143 to 255 for the whole."""


def folder_names(class_names: tuple[str, ...]) -> list[str]:
    """Folder names that any file system accepts, for classes of any name: `003_cat`.

    The number, padded to equal length, makes the names distinct, sorts them by label, and makes class names such as
    "CON", "." and "" harmless.
    """
    digits = max(3, len(str(len(class_names) - 1)))
    return [f"{label:0{digits}d}_{_safe(name)}".rstrip("_") for label, name in enumerate(class_names)]


def _safe(name: str) -> str:
    # letters and digits of any script; everything else may mean something to a file system, a shell or a terminal
    kept = "".join(character if character.isalnum() or character in "-_" else "_" for character in name[:MAX_NAME])
    return kept.encode()[:MAX_NAME].decode(errors="ignore")
