# SPDX-License-Identifier: Apache-2.0
"""Pickles that may hold nothing but data: lists, dictionaries, tuples, texts and numbers.

A pickle is a program. What could call something is refused by the unpickler. What takes memory or time beyond the
file's size is refused before: a regular expression reads the steps of the program, which is many times faster than
`pickletools`.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from typing import Any

from lisa_ros.datasets.samples import DataError

_NAMES = {one.code.encode("latin-1"): one.name for one in pickletools.opcodes}
_SIZED = {b"U": 1, b"C": 1, b"\x8c": 1, b"X": 4, b"T": 4, b"B": 4, b"\x8d": 8, b"\x8e": 8}
"""Texts and bytes -> bytes of their length, which comes first."""

_LONGEST = 8
"""Bytes of an integer. Larger ones can all have one hash, and a dictionary of n such keys takes n^2 steps."""

_READ = (b"S", b"V", b"F", b"K", b"M", b"J", b"G", b"\x95")
"""Further steps with arguments that the expression reads; where it does not, the file ends in them."""

_SHORT = 40
"""Bytes of a text that the expression reads by itself."""

_MEMOIZE = b"\x94"
_REFUSED_BY_UNPICKLER = (b"c", b"\x93", b"i", b"P", b"Q")
"""GLOBAL, STACK_GLOBAL, INST, PERSID, BINPERSID: its sentence names what would be called."""


def read(data: bytes) -> Any:
    """What a pickle holds. Nothing in it is executed.

    Texts of Python 2 are UTF-8; other bytes in them become U+FFFD.

    Raises:
        DataError: it holds something else, or would take memory or time beyond its size.
        Exception: damaged bytes can raise anything.
    """
    _Check(data).run()
    return _PlainUnpickler(io.BytesIO(data), encoding="utf-8", errors="replace").load()


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise DataError(f"it is not plain data: reading it would call {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("it is not plain data: it refers to objects outside")


def _harmless(size: int, *, numbered: bool, quick: bool) -> re.Pattern[bytes]:
    """As many steps as possible that need no look.

    Args:
        size: of the file; an object's number cannot be larger.
        numbered: whether objects get their numbers by PUT; else by MEMOIZE.
        quick: whether nothing had to be remembered yet, so that uses of numbered objects are harmless, and MEMOIZE,
            which counts, need not be counted.
    """
    digits, high = max(len(str(size)) - 1, 1), re.escape(bytes([min(max((size >> 16) - 1, 0), 255)]))
    put = rb"(?:q.|p[0-9]{1,%d}\n|r..[\x00-%s]\x00)?" % (digits, high)
    after = put if numbered else rb"\x94?" if quick else rb"(?!\x94)"
    steps = [
        rb"[(Naesut)\x85-\x89]",
        rb"(?:[\]}ld]|[SV][^\n]*\n)" + after,
        rb"K.|M..|J.{4}|G.{8}|\x95.{8}|F[^\n]*\n|[IL]-?[0-9]{1,20}L?\n",
        _of_lengths(rb"\x8a", b"", _LONGEST),
    ]
    if quick:
        texts = _of_lengths(b"[U\x8c]", b"", _SHORT) + b"|" + _of_lengths(b"X", bytes(3), _SHORT)
        steps[1:1] = [rb"h.|g[^\n]*\n|j.{4}", rb"(?:" + texts + rb")" + after]
    return re.compile(rb"(?:" + b"|".join(steps) + rb")*+", re.DOTALL)


def _of_lengths(code: bytes, high: bytes, most: int) -> bytes:
    """Steps with up to `most` bytes; their number stands behind the code, its higher bytes are `high`."""
    each = (rb"%s.{%d}" % (re.escape(bytes([count]) + high), count) for count in range(most + 1))
    return code + b"(?:" + b"|".join(each) + b")"


class _Check:
    """Refuses a pickle that takes memory or time beyond its size. Pickle writes nothing of it for plain data.

    The unpickler's memo is an array up to its largest number. An object with a hash that is not stored (a tuple, a
    number) and that is used in several places is hashed as often as it is reached: 60 tuples of two, each twice in the
    next one, take 2^60 steps. So only texts, lists and dictionaries may be used again.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._numbered = not data.startswith((b"\x80\x04", b"\x80\x05"))
        self._memoized = 0
        self._once: set[int] = set()
        """Numbers of objects that must not be used again."""

    def run(self) -> None:
        """Checks all steps up to STOP, or to the first that the unpickler refuses."""
        if not self._steps(quick=True):
            self._steps(quick=False)

    def _steps(self, quick: bool) -> bool:
        """Whether the end was reached; a quick pass ends at the first object that must not be used again."""
        self._at = 2 if self._data.startswith(b"\x80") else 0
        self._memoized = 0
        self._once.clear()
        pattern = _harmless(len(self._data), numbered=self._numbered, quick=quick)
        while not (quick and self._once):
            found = pattern.match(self._data, self._at)
            assert found is not None  # it may be empty
            self._at = found.end()
            code = self._data[self._at : self._at + 1]
            if code == b"." or code in _REFUSED_BY_UNPICKLER:
                return True
            self._step(code)
        return False

    def _step(self, code: bytes) -> None:
        if code in _SIZED:
            self._skip_text(_SIZED[code])
            self._number_text()
        elif code in (b"p", b"q", b"r") and self._numbered:
            self._once.add(self._put(code))
        elif not self._numbered and code in (b"]", b"}", b"l", b"d", b"S", b"V"):  # and MEMOIZE after it
            self._at = self._line_end() if code in (b"S", b"V") else self._at + 1
            self._number_text()
        elif code == _MEMOIZE and not self._numbered:
            self._once.add(self._memoized)
            self._memoize()
        elif code in (b"g", b"h", b"j"):
            if self._number(code) in self._once:
                raise DataError("it is not plain data: it uses one tuple or number in several places")
        elif code in (b"I", b"L", b"\x8a", b"\x8b"):
            raise DataError(f"it is damaged, or has an integer of more than {_LONGEST} bytes")
        elif code in _NAMES and code not in _READ:
            raise DataError(f"it is not plain data: it has the step {_NAMES[code]}")
        else:
            raise ValueError("it is cut off" if code in _READ or not code else f"there is no step {code!r}")

    def _number_text(self) -> None:
        """The number of a text, list or dictionary, which may be used again."""
        code = self._data[self._at : self._at + 1]
        if code == _MEMOIZE and not self._numbered:
            self._memoize()
        elif code in (b"p", b"q", b"r") and self._numbered:
            self._put(code)

    def _memoize(self) -> None:
        self._memoized += 1
        self._at += 1

    def _put(self, code: bytes) -> int:
        number = self._number(code)
        if number > len(self._data):
            raise DataError(f"it is damaged: it numbers an object {number}, more than the file can have")
        return number

    def _number(self, code: bytes) -> int:
        """The number of a PUT or GET, which is passed."""
        begin = self._at + 1
        if code in (b"p", b"g"):
            self._at = self._line_end()
            return int(self._data[begin : self._at])
        self._at = begin + (1 if code in (b"q", b"h") else 4)
        return int.from_bytes(self._data[begin : self._at], "little")

    def _line_end(self) -> int:
        end = self._data.find(b"\n", self._at) + 1
        if not end:
            raise ValueError("it is cut off")
        return end

    def _skip_text(self, length_bytes: int) -> None:
        begin = self._at + 1 + length_bytes
        self._at = begin + int.from_bytes(self._data[self._at + 1 : begin], "little")
        if self._at > len(self._data):
            raise ValueError("it is cut off")
