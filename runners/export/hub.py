"""Upload of an exported folder to the Hugging Face hub."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from configs.schema import ConfigError

log = logging.getLogger("skip_step")


def api(repo: str) -> Any:
    """The client of the hub. Raises ConfigError where the library is not installed."""
    try:
        from huggingface_hub import HfApi
    except ModuleNotFoundError as err:
        text = "needs `pip install huggingface_hub`; without the flag the folder is written only"
        raise ConfigError(f"--push_to_hub {repo}: {text}") from err
    return HfApi()


def push(client: Any, folder: Path, repo: str) -> None:
    """Make the repository where it is missing, and upload the folder as one commit. Raises OSError
    that says how to upload the folder later.
    """
    try:
        client.create_repo(repo, exist_ok=True)
        client.upload_folder(
            repo_id=repo, folder_path=str(folder), commit_message="Export of skip-step"
        )
    except Exception as err:  # noqa: BLE001 - whatever the client raises, the way out is the same
        text = " ".join(str(err).split())
        raise OSError(
            f"--push_to_hub {repo}: not uploaded ({type(err).__name__}: {text}); {folder} is "
            f"written, and `hf upload {repo} {folder}` sends it"
        ) from err
    log.info("uploaded to https://huggingface.co/%s", repo)
