# SPDX-License-Identifier: Apache-2.0
"""The base class of the errors that a user can correct."""

from __future__ import annotations


class LisaError(ValueError):
    """What a user gave cannot be used; the text is one sentence that says what was wrong and what would be right.

    Programs show the text alone. Any other exception is a fault of the software and is shown with its traceback.
    """


class ImageError(LisaError):
    """An image cannot be used; the text says what was wrong and what would be right."""
