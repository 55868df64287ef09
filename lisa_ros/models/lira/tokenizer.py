# SPDX-License-Identifier: Apache-2.0
"""InternLM2's tokenizer as LIRA is run with it: the slow one, without a dummy space in front.

* the text is split at added and special tokens, the longest first; the white space around them stays text;
* every piece between them goes to sentencepiece on its own;
* an answer's text is that of its tokens one by one, as LIRA's tools put it together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lisa_ros.models.common.tokenizer import IMAGE_PLACEHOLDER, IMAGE_TOKEN_INDEX, load_sentencepiece, splitter_at

_SPACE = "\u2581"
"""Sentencepiece's mark for a space."""


class LiraTokenizer:
    """Text to ids and back.

    Attributes:
        bos_token_id: id of `<s>`.
        control_texts: everything that would not be tokenized as text if an operator typed it.
    """

    def __init__(self, model_file: Path, added_tokens: Mapping[str, int]) -> None:
        """Loads a sentencepiece model.

        Args:
            model_file: tokenizer.model of InternVL2.
            added_tokens: token text -> id.

        Raises:
            CheckpointError: the file is missing or is not a sentencepiece model.
        """
        self._sp = load_sentencepiece(model_file)
        self.bos_token_id = int(self._sp.bos_id())
        specials = (self.bos_token_id, int(self._sp.eos_id()), int(self._sp.unk_id()))
        self._tokens = {self._sp.id_to_piece(number): number for number in specials} | dict(added_tokens)
        self._texts = {number: text for text, number in self._tokens.items()}
        # InternLM2's sentencepiece has names of its own for the chat's marks ("[UNUSED_TOKEN_145]").
        inside = {self._sp.id_to_piece(number) for number in self._texts if number < self._sp.get_piece_size()}
        self.control_texts = (*self._tokens, *sorted(inside - self._tokens.keys()), IMAGE_PLACEHOLDER)
        self._splitter = splitter_at(self._tokens)

    def encode(self, text: str) -> list[int]:
        """The ids of a text without an image placeholder; no `<s>` is put in front."""
        ids: list[int] = []
        for i, part in enumerate(self._splitter.split(text)):
            ids.extend([self._tokens[part]] if i % 2 else self._sp.encode(part))
        return ids

    def encode_prompt(self, prompt: str, *, bos: bool = False) -> list[int]:
        """The ids of a prompt: IMAGE_TOKEN_INDEX where `<image>` stands, `<s>` first if wanted."""
        ids = [self.bos_token_id] if bos else []
        for i, chunk in enumerate(prompt.split(IMAGE_PLACEHOLDER)):
            ids += [IMAGE_TOKEN_INDEX] if i else []
            ids += self.encode(chunk)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, token by token.

        A character that several tokens spell byte by byte is assembled (LIRA's tools return U+FFFD for each); one
        whose last bytes are missing is U+FFFD.
        """
        text, spelt = "", bytearray()
        for number in [*ids, None]:
            if number is not None and self._is_byte(number):
                spelt.append(int(self._sp.id_to_piece(number)[3:-1], 16))  # "<0xE4>"
                continue
            text += spelt.decode("utf-8", errors="replace")
            spelt.clear()
            text += "" if number is None else self._text_of(number)
        return text

    def single(self, word: str) -> int | None:
        """The id of a word that is a single token, or None."""
        ids = self.encode(word)
        return ids[0] if len(ids) == 1 and ids[0] != int(self._sp.unk_id()) else None

    def _is_byte(self, number: int) -> bool:
        return number not in self._texts and number < self._sp.get_piece_size() and bool(self._sp.is_byte(number))

    def _text_of(self, number: int) -> str:
        if number in self._texts:
            return self._texts[number]
        # A vocabulary padded beyond tokenizer.model has ids that mean nothing.
        known = number < self._sp.get_piece_size()
        return str(self._sp.id_to_piece(number)).replace(_SPACE, " ") if known else ""
