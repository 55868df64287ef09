# SPDX-License-Identifier: Apache-2.0
"""Loads sentencepiece models, and splits texts at tokens; the placeholder of an image in a prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from lisa_ros.models.common.errors import CheckpointError

IMAGE_PLACEHOLDER = "<image>"

IMAGE_TOKEN_INDEX = -200
"""Stands in a prompt's ids where the image's features go (LLaVA's number)."""


def splitter_at(tokens: Iterable[str]) -> re.Pattern[str]:
    """Its `split` makes text, token, text, token, ..., text of a text; of tokens that overlap, the longest counts."""
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")


def load_sentencepiece(model_file: Path, change: bytes = b"") -> SentencePieceProcessor:
    """The sentencepiece model of a checkpoint folder.

    Args:
        model_file: tokenizer.model.
        change: appended to the file's protocol buffer, which replaces fields of it.

    Raises:
        CheckpointError: the file is missing, empty, or not a sentencepiece model.
    """
    if not model_file.is_file():
        raise CheckpointError(f"{model_file} is missing; a checkpoint folder has the language model's tokenizer.model")
    try:
        model = model_file.read_bytes()
        if not model:
            raise CheckpointError(f"{model_file} is empty, as after an interrupted download; download it again")
        return SentencePieceProcessor(model_proto=model + change)
    except CheckpointError:
        raise
    except Exception as error:  # sentencepiece raises bare RuntimeErrors and OSErrors
        raise CheckpointError(f"{model_file} is not a sentencepiece model: {error}") from error
