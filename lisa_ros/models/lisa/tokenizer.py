# SPDX-License-Identifier: Apache-2.0
"""LLaMA's tokenizer as in LISA's training and upstream's inference: the slow one of transformers 4.31.

Later versions of transformers tokenize the white space around added tokens differently: the same checkpoint files give
other ids, and a `[SEG]` another embedding, without an error. The rule of 4.31, on top of sentencepiece:

* the text is split at added and special tokens, the longest first;
* the white space on both sides of an added token is removed, that beside `<s>`, `</s>` and `<unk>` is not;
* every piece between tokens is encoded on its own, with sentencepiece's dummy prefix in front ("legacy").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.tokenizer import IMAGE_PLACEHOLDER, IMAGE_TOKEN_INDEX, load_sentencepiece, splitter_at


class LisaTokenizer:
    """Text to ids and back.

    Attributes:
        bos_token_id, eos_token_id: ids of `<s>` and `</s>`.
        control_texts: everything that, typed literally, would not be tokenized as text: added and special tokens and
            the image's placeholder.
    """

    def __init__(self, model_file: Path, added_tokens: dict[str, int], *, legacy: bool = True) -> None:
        """Loads a sentencepiece model.

        Args:
            model_file: tokenizer.model of a checkpoint folder.
            added_tokens: token text -> id, from added_tokens.json.
            legacy: tokenizer_config.json's `legacy`; only true, which the released checkpoints have, is supported.

        Raises:
            CheckpointError: the file is missing or is not a sentencepiece model.
        """
        if not legacy:
            raise CheckpointError(
                f"{model_file.parent}/tokenizer_config.json has legacy: false; LISA's checkpoints have true "
                "(false is another tokenization, LISA++'s)"
            )
        self._sp = load_sentencepiece(model_file)
        self._added = dict(added_tokens)
        self._added_text = {number: text for text, number in added_tokens.items()}
        self.bos_token_id = int(self._sp.bos_id())
        self.eos_token_id = int(self._sp.eos_id())
        special_ids = (self.bos_token_id, self.eos_token_id, int(self._sp.unk_id()))
        self._special = {self._sp.id_to_piece(number): number for number in special_ids}
        self.control_texts = (*self._added, *self._special, IMAGE_PLACEHOLDER)
        self._splitter = splitter_at([*self._added, *self._special])

    def encode(self, text: str) -> list[int]:
        """The ids of a text without an image placeholder, without `<s>`."""
        parts = self._splitter.split(text)
        for i in range(1, len(parts), 2):
            if parts[i] in self._added:
                parts[i - 1] = parts[i - 1].rstrip()
                parts[i + 1] = parts[i + 1].lstrip()
        ids: list[int] = []
        for i, part in enumerate(parts):
            if i % 2:
                ids.append(self._added[part] if part in self._added else self._special[part])
            elif part:
                ids.extend(self._sp.encode(part))
        return ids

    def encode_prompt(self, prompt: str) -> list[int]:
        """The ids of a whole prompt: `<s>` first, IMAGE_TOKEN_INDEX where `<image>` stands.

        The texts before and after `<image>` are tokenized separately, as in LLaVA.
        """
        ids = [self.bos_token_id]
        for i, chunk in enumerate(prompt.split(IMAGE_PLACEHOLDER)):
            if i:
                ids.append(IMAGE_TOKEN_INDEX)
            ids.extend(self.encode(chunk))
        return ids

    def decode(self, ids: Sequence[int], *, continues: bool = False) -> str:
        """The text of ids, with the white space of transformers 4.31.

        Args:
            ids: token ids, without image placeholders.
            continues: the ids continue an earlier text, as an answer continues its prompt. The first piece then has no
                space in front, which 4.31 puts before a text with a special token.
        """
        pieces: list[str] = []
        run: list[int] = []
        for number in [*ids, None]:
            if number is not None and number not in self._added_text:
                run.append(number)
                continue
            if run:
                pieces.append(self._decode_run(run, spaced=not (continues and not pieces)))
                run = []
            if number is not None:
                pieces.append(self._added_text[number])
        return " ".join(pieces)

    def decode_answer(self, ids: Sequence[int]) -> str:
        """The text of generated ids as upstream decodes it, without the closing `</s>` and outer white space."""
        closing = self._sp.id_to_piece(self.eos_token_id)
        return self.decode(ids, continues=True).removesuffix(closing).strip()

    def _decode_run(self, ids: Sequence[int], *, spaced: bool) -> str:
        text, after_special = "", False
        plain: list[int] = []
        for i, number in enumerate(ids):
            if number in self._special.values():
                if spaced and not after_special and i != 0:
                    text += " "
                text += self._decode_plain(plain) + self._sp.id_to_piece(number)
                plain, after_special = [], True
            else:
                plain.append(number)
                after_special = False
        return text + self._decode_plain(plain)

    def _decode_plain(self, ids: list[int]) -> str:
        # A vocabulary padded beyond tokenizer.model has ids without text.
        known = [number for number in ids if 0 <= number < self._sp.get_piece_size()]
        return str(self._sp.decode(known)) if known else ""
