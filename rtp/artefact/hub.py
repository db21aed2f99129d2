"""The Hugging Face Hub: uploading a folder as a data-set repository, and finding a memory's file, there or here."""

from pathlib import Path
from typing import Any

from rtp.errors import UserError, first_line
from rtp.utils.shipped import find

PREFIX = "hf://"
"""Begins the address of a repository, "hf://user/name" or "hf://user/name@revision"."""
FILE, IMAGES, CARD = "memory.safetensors", "data/train.parquet", "README.md"
"""Files of a repository: the memory, the recalled images, and what they are."""


def upload(folder: Path, repository: str, message: str, private: bool, token: Any) -> str:
    """Upload a folder's files as one commit of a data-set repository, which is created if it is missing.

    Args:
        folder: The folder.
        repository: "user/name".
        message: Of the commit.
        private: Whether a new repository is private.
        token: As `huggingface_hub` takes it.

    Returns:
        The address of the commit.

    Raises:
        UserError: If `huggingface_hub` is not installed, or the Hub refuses.
    """
    client = _client()
    try:
        api = client.HfApi(token=token)
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository, repo_type="dataset", folder_path=str(folder), commit_message=message
        )
    except (client.errors.HFValidationError, OSError) as error:  # OSError: HTTP, no token, no network
        raise UserError(f"the Hub did not take {repository!r} ({first_line(error)}): see `hf auth login`") from error
    return str(commit)


def download(address: str) -> Path:
    """Fetch a memory's file into the cache of `huggingface_hub`.

    Args:
        address: Begins with `PREFIX`.

    Raises:
        UserError: If `huggingface_hub` is not installed, or there is no such repository with a memory.
    """
    client = _client()
    repository, _, revision = address.removeprefix(PREFIX).partition("@")
    try:
        return Path(client.hf_hub_download(repository, FILE, repo_type="dataset", revision=revision or None))
    except (client.errors.HFValidationError, OSError) as error:
        raise UserError(f"{address!r} has no {FILE} that can be read ({first_line(error)})") from error


def memory_path(given: str | Path) -> Path:
    """The file of a memory that a user names: an address of the Hub, a file's path, or a name of what rtp ships.

    Raises:
        UserError: See `download` and `find`.
    """
    return download(str(given)) if str(given).startswith(PREFIX) else find("memories", given)


def _client() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise UserError("the Hub needs the library `huggingface_hub`: pip install rtp[hf]") from error
    return huggingface_hub
