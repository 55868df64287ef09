# SPDX-License-Identifier: Apache-2.0
"""Files of data sets: JSON in the encodings they come in, pickles that may hold nothing but data."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lisa_ros.datasets.samples import DataError

PICTURES = (".jpg", ".jpeg", ".png")
"""File names' endings, in small letters."""

_PLAIN_CLASSES = {
    *((module, name) for module in ("builtins", "__builtin__") for name in ("set", "frozenset")),
    ("collections", "OrderedDict"),
}


def read_json_file(file: Path) -> Any:
    """What a JSON file says; utf-8, else cp1252, as some of ReasonSeg's files are.

    Raises:
        DataError: there is no such file, or it is no JSON.
    """
    data = _read_bytes(file)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError as error:
            raise DataError(f"{file} is text neither in utf-8 nor in cp1252: {error}") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is no whole JSON file: {error}") from error


def read_plain_pickle(file: Path) -> Any:
    """What a pickle holds, if that is containers, texts and numbers alone; nothing in it is run.

    refer's `refs(unc).p` was written by Python 2 and is downloaded from anywhere, and a pickle can run any code.

    Raises:
        DataError: there is no such file, it is no pickle, or it asks for anything else.
    """
    stream = io.BytesIO(_read_bytes(file))
    try:
        return _PlainUnpickler(stream, encoding="utf-8", errors="replace").load()
    except DataError as error:
        raise DataError(f"{file} is refused: {error}") from error
    except Exception as error:  # damaged bytes can raise anything
        raise DataError(f"{file} is damaged or no pickle: {type(error).__name__}: {error}") from error


def first_folder(candidates: Iterable[Path], what: str) -> Path:
    """The first of the folders that is there.

    Raises:
        DataError: none is; the text says what was looked for, and where.
    """
    candidates = list(dict.fromkeys(candidates))
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise DataError(f"found no {what}; looked for {_listing(candidates)}")


def first_file(candidates: Iterable[Path], what: str) -> Path:
    """The first of the files that is there.

    Raises:
        DataError: none is; the text says what was looked for, and where.
    """
    candidates = list(dict.fromkeys(candidates))
    for file in candidates:
        if file.is_file():
            return file
    raise DataError(f"found no {what}; looked for {_listing(candidates)}")


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN_CLASSES:
            return super().find_class(module, name)
        raise DataError(f"it is no plain data, reading it would call {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("it is no plain data, it refers to objects outside")


def _read_bytes(file: Path) -> bytes:
    if not file.is_file():
        raise DataError(f"there is no file {file}")
    return file.read_bytes()


def _listing(paths: Iterable[Path]) -> str:
    return ", ".join(str(path) for path in paths)
