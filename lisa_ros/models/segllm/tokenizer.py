# SPDX-License-Identifier: Apache-2.0
"""LLaMA's tokenizer as SegLLM was trained with it: the fast one, not legacy.

It differs from LISA's in white space: only the very first text gets sentencepiece's dummy prefix, and added tokens
remove no white space around them. A legacy tokenizer gives one more id for every `USER` after `</s>`.
"""

from __future__ import annotations

from pathlib import Path

from lisa_ros.models.common.tokenizer import load_sentencepiece, splitter_at

# Protocol buffers merge a message that is appended: normalizer_spec (field 3) with add_dummy_prefix (field 3) false.
_NO_DUMMY_PREFIX = b"\x1a\x02\x18\x00"


class SegllmTokenizer:
    """Text to ids.

    Attributes:
        bos_token_id: id of `<s>`.
        control_texts: everything that would not be tokenized as text if an operator typed it.
    """

    def __init__(self, model_file: Path, added_tokens: dict[str, int]) -> None:
        """Loads a sentencepiece model.

        Args:
            model_file: tokenizer.model of a checkpoint folder.
            added_tokens: token text -> id, from added_tokens.json.

        Raises:
            CheckpointError: the file is missing or is not a sentencepiece model.
        """
        self._sp = load_sentencepiece(model_file, _NO_DUMMY_PREFIX)
        self.bos_token_id = int(self._sp.bos_id())
        special = {int(number) for number in (self._sp.bos_id(), self._sp.eos_id(), self._sp.unk_id())}
        self._tokens = {self._sp.id_to_piece(number): number for number in special} | added_tokens
        self.control_texts = tuple(self._tokens)
        self._splitter = splitter_at(self._tokens)

    def encode_prompt(self, prompt: str) -> list[int]:
        """The ids of a whole prompt, `<s>` first."""
        ids = [self.bos_token_id]
        for i, part in enumerate(self._splitter.split(prompt)):
            if i % 2:
                ids.append(self._tokens[part])
            elif part:
                ids.extend(self._sp.encode(part if i else f" {part}"))
        return ids
