# SPDX-License-Identifier: Apache-2.0
"""The optional packages of setup.py's extra `speech`: whether they are installed, and how to get them."""

from __future__ import annotations

import importlib
from types import ModuleType

from lisa_ros.segmentation.errors import how_to_install


class SpeechError(RuntimeError):
    """Speech cannot be used; the text is one sentence for people."""


def optional(module: str) -> ModuleType:
    """Imports a module of the extra.

    Raises:
        SpeechError: it is not installed, or one of its libraries is missing.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise SpeechError(missing_package(error)) from error
    except OSError as error:
        raise SpeechError(_missing_library(module, error)) from error


def missing_package(error: ModuleNotFoundError) -> str:
    """The sentence for a package that could not be imported."""
    return f"Speech needs the package {error.name}, which is not installed; {how_to_install('speech')}."


def _missing_library(module: str, error: OSError) -> str:
    if module == "sounddevice":
        return "The microphone needs the library PortAudio; type: sudo apt-get install libportaudio2."
    return f"The package {module} cannot be loaded: {error}."
