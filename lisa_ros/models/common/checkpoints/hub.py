# SPDX-License-Identifier: Apache-2.0
"""Checkpoints by name, as Hugging Face users give them: a folder, `~/folder`, or a hub id. Imports no torch."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lisa_ros.models.common.errors import CheckpointError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)

CHECKPOINT_FILES = ("*.json", "*.model", "*.txt", "*.safetensors", "*.bin", "*.pth", "*.jinja", "LICENSE*", "*.md")
"""Of a repository on the hub: weights, configuration, tokenizer and licences."""

VISION_TOWER_FILES = ("config.json", "preprocessor_config.json", "model.safetensors", "pytorch_model.bin")


def find_folder(
    name: str | Path,
    kind: str = "checkpoint",
    *,
    files: tuple[str, ...] = CHECKPOINT_FILES,
    revision: str | None = None,
) -> Path:
    """The local folder that a name stands for; a hub id is looked up in the local cache, then downloaded.

    A download shows huggingface_hub's progress bars. `HF_HUB_OFFLINE=1` keeps it from the network.

    Args:
        name: a folder, `~` included, or a Hugging Face id such as "xinlai/LISA-7B-v1".
        kind: what it is, for the error.
        files: patterns of the files that are wanted of a repository.
        revision: branch, tag or commit of the repository; None: its main branch.

    Raises:
        CheckpointError: there is no such folder, and the hub has it not or cannot be reached.
    """
    path = _expanded(name)
    if path.exists():
        return path
    if not _HUB_ID.fullmatch(str(name)):
        shown = f"{str(name)!r}" if str(name) != str(name).strip() or "://" in str(name) else path
        raise CheckpointError(
            f"{shown} is not a folder; a {kind} is a folder, or a Hugging Face id such as xinlai/LISA-7B-v1"
        )
    return _cached(str(name), files, revision) or _downloaded(str(name), kind, files, revision)


def _expanded(name: str | Path) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~nobody
        return Path(name)


def _cached(repository: str, files: tuple[str, ...], revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(repository, revision=revision, allow_patterns=list(files), local_files_only=True)
    except Exception:  # not there, or not all of it: huggingface_hub has an error for each case
        return None
    return Path(str(found))


def _downloaded(repository: str, kind: str, files: tuple[str, ...], revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download

    where = f"{kind} {repository!r} is neither a folder nor in the Hugging Face cache"
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE") == "1":
        raise CheckpointError(
            f"{where}, and HF_HUB_OFFLINE is set; unset it, or run `lisa download` where there is a network"
        )
    try:
        return Path(str(snapshot_download(repository, revision=revision, allow_patterns=list(files))))
    except KeyboardInterrupt:
        raise
    except Exception as error:
        raise CheckpointError(f"{where}, and {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """A clause for people: huggingface_hub's own texts have several lines and addresses."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "the hub gives it only to those who accepted its terms: accept them there, then run `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the hub has no such revision of it"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the hub has no such repository, or it is private"
    if isinstance(error, OSError) and error.errno is not None:
        return f"it could not be written: {error.strerror}"
    return f"the hub could not be reached ({type(error).__name__}); check the network, or download it elsewhere"
