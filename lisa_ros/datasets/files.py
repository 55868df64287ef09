# SPDX-License-Identifier: Apache-2.0
"""Files of data sets: JSON in the encodings in use, and pickles that may hold nothing but data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lisa_ros.datasets import plain_pickle
from lisa_ros.datasets.samples import DataError
from lisa_ros.segmentation.files.text_files import read_limited

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Ends of image files' names, in small letters."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def image_files(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())


def read_json_file(file: Path, *, most_bytes: int | None = None) -> Any:
    """The content of a JSON file in utf-8, else cp1252, as some of ReasonSeg's files are.

    Args:
        file: what to read.
        most_bytes: the largest size; None: any, as the annotations of a large data set may have hundreds of megabytes.

    Raises:
        DataError: there is no such file, it is larger, or it is no JSON.
    """
    data = _read_bytes(file) if most_bytes is None else read_limited(_existing(file), DataError, most_bytes)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError as error:
            raise DataError(f"{file} is text neither in utf-8 nor in cp1252: {error}") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not a complete JSON file: {error}") from error
    if _SURROGATE.search(text):
        _check_characters(file, content)
    return content


def read_plain_pickle(file: Path) -> Any:
    """The content of a pickle, if that is lists, dictionaries, tuples, texts and numbers alone; nothing is executed.

    refer's `refs(unc).p` was written by Python 2 and is downloaded from anywhere, and a pickle can execute any code.

    Raises:
        DataError: there is no such file, it is no pickle, or it holds anything else.
    """
    data = _read_bytes(file)
    try:
        return plain_pickle.read(data)
    except DataError as error:
        raise DataError(f"{file} is refused: {error}") from error
    except Exception as error:  # damaged bytes can raise anything
        raise DataError(f"{file} is damaged or not a pickle: {type(error).__name__}: {error}") from error


def first_folder(candidates: Iterable[Path], what: str) -> Path:
    """The first of the folders that exists.

    Raises:
        DataError: none does; the text names what was looked for, and where.
    """
    return _first(candidates, what, Path.is_dir)


def first_file(candidates: Iterable[Path], what: str) -> Path:
    """The first of the files that exists.

    Raises:
        DataError: none does; the text names what was looked for, and where.
    """
    return _first(candidates, what, Path.is_file)


def _first(candidates: Iterable[Path], what: str, exists: Callable[[Path], bool]) -> Path:
    candidates = list(dict.fromkeys(candidates))
    found = next((path for path in candidates if exists(path)), None)
    if found is None:
        raise DataError(f"found no {what}; looked for {', '.join(map(str, candidates))}")
    return found


def _check_characters(file: Path, content: Any) -> None:
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{file} has an escape such as \\ud800, which is half of a character") from error
    except RecursionError as error:
        raise DataError(f"{file} is nested too deeply") from error


def _read_bytes(file: Path) -> bytes:
    return _existing(file).read_bytes()


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise DataError(f"there is no file {file}")
    return file
