# SPDX-License-Identifier: Apache-2.0
"""Checkpoints by name, as Hugging Face users give them: a folder, `~/folder`, or a hub id. Imports no torch."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from fnmatch import fnmatch
from http import HTTPStatus
from pathlib import Path

from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.errors import CheckpointError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)

CHECKPOINT_FILES = ("*.json", "*.model", "*.txt", "*.safetensors", "*.bin", "*.pth", "*.jinja", "LICENSE*", "*.md")
"""Of a repository on the hub: weights, configuration, tokenizer and licences."""

_WEIGHTS = (".safetensors", ".bin", ".pth")
_EXAMPLES = {"CLIP": "openai/clip-vit-large-patch14"}

SECOND_COPIES = ["pytorch_model*.bin*"]
"""Of a repository that has the same weights as safetensors."""

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
    if not isinstance(name, str | os.PathLike):
        raise CheckpointError(f"the {kind} is {name!r:.80}; it must be a folder or a Hugging Face id")
    path = _expanded(name)
    if is_here(name):
        return path
    if not _is_hub_id(str(name)):
        shown = f"{str(name)!r}" if str(name) != str(name).strip() or "://" in str(name) or not str(name) else path
        example = _EXAMPLES.get(kind, "xinlai/LISA-7B-v1")
        raise CheckpointError(
            f"{shown} is not a folder{_below(name)}; a {kind} is a folder, or a Hugging Face id such as"
            f" {_hub_id_in(str(name)) or example}"
        )
    cached = _cached(str(name), files, revision)
    if cached is not None and _is_complete(cached, files):
        return cached
    where = (
        "is only partly in the Hugging Face cache" if cached else "is neither a folder nor in the Hugging Face cache"
    )
    return _downloaded(str(name), f"{kind} {str(name)!r} {where}", files, revision)


def is_here(name: str | Path) -> bool:
    """Whether a name stands for a folder or file of this machine, which `find_folder` looks for first."""
    return bool(str(name)) and _exists(_expanded(name))


def title_of(folder: Path) -> str:
    """A checkpoint folder's name for people: the id of a repository in the Hugging Face cache, else the last part."""
    folder = folder.resolve()
    repository = folder.parent.parent.name
    if folder.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.removeprefix("models--").replace("--", "/")
    return folder.name


def _below(name: str | Path) -> str:
    """Where a relative path was looked for: a launched node's working folder is seldom the terminal's."""
    return "" if _expanded(name).is_absolute() or "://" in str(name) or not str(name).strip() else f" in {Path.cwd()}"


def _hub_id_in(name: str) -> str:
    """The id that an address of the hub, or an id with a revision, is about, and how a revision is had."""
    if found := re.match(rf"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/({_HUB_ID.pattern})", name, re.ASCII):
        return found[1]
    if found := re.fullmatch(rf"({_HUB_ID.pattern})[@:]([\w./-]+)", name, re.ASCII):
        fetch = f"lisa download {found[1]} --revision {found[2]}"
        return f"{found[1]}; for one revision of it, run `{fetch}` and name the folder that it prints"
    return ""


def _expanded(name: str | Path) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~nobody
        return Path(name)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be read
        return False


def _is_hub_id(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return bool(_HUB_ID.fullmatch(name))


def _is_complete(snapshot: Path, files: tuple[str, ...]) -> bool:
    """Whether a snapshot in the cache has weights, where weights are wanted, and the files that are wanted by name.

    Where another program has fetched a single file, huggingface_hub cannot tell that the rest is missing.
    """
    if any(file.endswith(".json") and "*" not in file and not (snapshot / file).is_file() for file in files):
        return False
    if not any(file.endswith(_WEIGHTS) for file in files):
        return True
    if indexes := [*snapshot.glob("*.index.json")]:
        return any(_has_shards(index) for index in indexes)
    return any(file.suffix in _WEIGHTS and file.is_file() for file in snapshot.rglob("*"))


def _has_shards(index: Path) -> bool:
    shards = read_json(index).get("weight_map")
    return isinstance(shards, dict) and all((index.parent / str(name)).is_file() for name in shards.values())


def _cached(repository: str, files: tuple[str, ...], revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download

    for ignored in ([], SECOND_COPIES):
        with suppress(Exception):  # not there, or not all of it: huggingface_hub has an error for each case
            found = snapshot_download(
                repository,
                revision=revision,
                allow_patterns=list(files),
                ignore_patterns=ignored,
                local_files_only=True,
            )
            return Path(str(found))
    return None


def _downloaded(repository: str, where: str, files: tuple[str, ...], revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download

    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE") == "1":
        raise CheckpointError(
            f"{where}, and HF_HUB_OFFLINE is set; unset it, or run `lisa download` where there is a network"
        )
    began_s = time.time()
    try:
        ignored = _second_copies(repository, revision)
        found = snapshot_download(repository, revision=revision, allow_patterns=list(files), ignore_patterns=ignored)
    except KeyboardInterrupt:
        raise
    except Exception as error:
        raise CheckpointError(f"{where}, and {_reason(error)}") from error
    folder = Path(str(found))
    _remove_parts(folder.parent.parent / "blobs", began_s)
    return folder


def _second_copies(repository: str, revision: str | None) -> list[str]:
    """SECOND_COPIES where a repository has its weights as safetensors too."""
    from huggingface_hub import HfApi

    files = [one.rfilename for one in HfApi().model_info(repository, revision=revision).siblings or ()]
    return SECOND_COPIES if any(fnmatch(name, "model*.safetensors") for name in files) else []


def _remove_parts(blobs: Path, began_s: float) -> None:
    """Remove what killed downloads left of files that are complete now: gigabytes that nothing else removes.

    A part of a file that is not complete, or that was written since our download began, may be another process's.
    """
    for part in blobs.glob("*.incomplete"):
        with suppress(OSError):
            if (blobs / part.name.partition(".")[0]).is_file() and part.stat().st_mtime < began_s:
                part.unlink()


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
    answers = (getattr(one, "response", None) for one in (error, error.__cause__))
    if status := next((answer.status_code for answer in answers if answer is not None), None):
        return _refused(int(status))
    return (
        f"the hub could not be reached, or the download was interrupted ({type(error).__name__}); check the network "
        "and repeat this, which keeps the files that are complete, or download it elsewhere"
    )


def _refused(status: int) -> str:
    if status in (401, 403):
        return f"the hub refused access ({status}): run `hf auth login` with a token that may read it"
    name = HTTPStatus(status).phrase if status in set(HTTPStatus) else "an error"
    return f"the hub answered {status} ({name}); try again later"
