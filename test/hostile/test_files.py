# SPDX-License-Identifier: Apache-2.0
"""Damaged and malicious files end in one sentence or in what they hold, never in another exception."""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import wave
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_cases import cases
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from lisa_ros.dialogue.dialogues import Dialogues
from lisa_ros.dialogue.store import DialogueStore
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.weights.files import WeightFiles, load_pickle
from lisa_ros.models.lisa.configuration import read_configuration
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.turns import Turn
from lisa_ros.speech.audio.samples import AudioError, read_wav

pytestmark = pytest.mark.unit

NUMBERS = st.one_of(st.integers(-(10**30), 10**30), st.floats(), st.sampled_from([0, -1, 2**31, 2**63, 10**9]))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
SAFETENSORS = save({"a": torch.arange(12.0).reshape(3, 4), "b": torch.zeros(5, dtype=torch.int64)})


@cases(400)
@given(changes=st.lists(st.tuples(st.integers(0, 200), VALUES), min_size=1, max_size=3))
def test_a_config_with_any_values(golden_lisa: Path, shared_folder: Path, changes: list[tuple[int, Any]]) -> None:
    """Absurd sizes, such as 10^9 layers, are refused before a network is built."""
    raw = json.loads((golden_lisa / "config.json").read_text())
    names = sorted(raw)
    for number, value in changes:
        raw[names[number % len(names)]] = value
    (shared_folder / "config.json").write_text(json.dumps(raw))
    try:
        config = read_configuration(shared_folder)
    except LisaError:
        return
    assert 1 <= config.language.num_hidden_layers <= 512 and config.language.hidden_size <= 1 << 16


def safetensors_with(entries: dict[str, Any], length: int | None, data: bytes) -> bytes:
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header) if length is None else length % 2**64) + header + data


OFFSETS = st.lists(st.sampled_from([-8, -1, 0, 4, 8, 16, 48, 60, 2**40, 2**63]) | st.integers(), max_size=3)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "I64", "F999", "", 3]),
        "shape": st.lists(st.sampled_from([-1, 0, 1, 3, 4, 2**31, 2**62]), max_size=4),
        "data_offsets": OFFSETS,
    }
)


@cases(800)
@given(
    entries=st.dictionaries(st.sampled_from(["a", "b", "__metadata__", "../x", "\x00"]), ENTRY, max_size=4),
    length=st.none() | st.sampled_from([0, 1, 2**40, 2**64 - 1]),
    data=st.binary(max_size=64),
)
def test_safetensors_with_any_header(
    shared_folder: Path, entries: dict[str, Any], length: int | None, data: bytes
) -> None:
    """Overlapping, negative and too large offsets, and shapes that do not fit."""
    (shared_folder / "model.safetensors").write_bytes(safetensors_with(entries, length, data))
    try:
        tensors = dict(WeightFiles(shared_folder).tensors())
    except CheckpointError:
        return
    assert sum(tensor.nbytes for tensor in tensors.values()) <= len(data) * max(1, len(tensors))


@cases(300)
@given(place=st.integers(0, len(SAFETENSORS) - 1), change=st.binary(min_size=1, max_size=4), cut=st.booleans())
def test_safetensors_that_were_changed_or_cut(shared_folder: Path, place: int, change: bytes, cut: bool) -> None:
    data = SAFETENSORS[:place] if cut else SAFETENSORS[:place] + change + SAFETENSORS[place + len(change) :]
    (shared_folder / "model.safetensors").write_bytes(data)
    try:
        assert all(isinstance(one, torch.Tensor) for _, one in WeightFiles(shared_folder).tensors())
    except CheckpointError:
        return


STEPS = st.sampled_from(
    [
        *(b"cos\nsystem\n", b"cbuiltins\neval\n", b"csubprocess\nPopen\n", b"ctorch\nload\n", b"cbuiltins\ngetattr\n"),
        *(b"X\x05\x00\x00\x00touch", b"(", b"t", b"R", b"o", b"b", b"i", b"}", b"]", b")", b"N", b"K\x01", b"\x93"),
        *(b"\x81", b"\x92", b"s", b"u", b"e", b"a", b"0", b"2", b"h\x00", b"q\x00", b"P1\n", b"Q", b"\x82\x01", b"."),
    ]
)


@cases(500)
@given(steps=st.lists(STEPS, min_size=1, max_size=12), protocol=st.sampled_from([b"", b"\x80\x02", b"\x80\x05"]))
def test_a_pickle_of_any_steps_runs_nothing(
    shared_folder: Path, steps: list[bytes], protocol: bytes, monkeypatch_module: list[str]
) -> None:
    file = shared_folder / "pytorch_model.bin"
    file.write_bytes(protocol + b"".join(steps) + b".")
    with suppress(CheckpointError):
        load_pickle(file)
    assert monkeypatch_module == [], "a function was called"


@pytest.mark.parametrize("opcode", range(256))
def test_every_opcode_is_refused_or_read(shared_folder: Path, opcode: int) -> None:
    file = shared_folder / "pytorch_model.bin"
    file.write_bytes(b"\x80\x02" + bytes([opcode]) + b"cos\nsystem\nX\x04\x00\x00\x00true\x85R.")
    with pytest.raises(CheckpointError):
        load_pickle(file)


def wav(rate: int, channels: int, width: int, frames: bytes) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as opened:
        opened.setnchannels(channels)
        opened.setsampwidth(width)
        opened.setframerate(rate)
        opened.writeframes(frames)
    return stream.getvalue()


@cases(400)
@given(
    rate=st.sampled_from([1, 8000, 16000, 44100, 192000]),
    channels=st.integers(1, 8),
    width=st.integers(1, 4),
    frames=st.binary(max_size=64),
    place=st.integers(0, 60),
    change=st.binary(max_size=4),
)
def test_a_wav_file_that_was_changed(
    shared_folder: Path, rate: int, channels: int, width: int, frames: bytes, place: int, change: bytes
) -> None:
    data = bytearray(wav(rate, channels, width, frames))
    data[place : place + len(change)] = change
    file = shared_folder / "speech.wav"
    file.write_bytes(bytes(data))
    try:
        samples = read_wav(file)
    except AudioError:
        return
    assert samples.ndim == 1 and len(samples) < 10_000_000


COLUMNS = ("operator", "number", "spoken_s", "command", "answer", "objects", "masks", "refers")
CELLS = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=8), st.binary(max_size=8),
    VALUES.map(lambda value: json.dumps(value)),
)  # fmt: skip


@cases(240)
@given(cells=st.dictionaries(st.sampled_from(COLUMNS), CELLS, min_size=1, max_size=3))
def test_a_dialogue_file_with_any_cells(tmp_path_factory: pytest.TempPathFactory, cells: dict[str, Any]) -> None:
    file = tmp_path_factory.mktemp("dialogue") / "dialogues.sqlite"
    store = DialogueStore(file)
    Dialogues(store=store).append("ann", Turn("a", "b"))
    store.close()
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        for column, value in cells.items():
            try:
                database.execute(f"update or replace turns set {column} = ?", (value,))
            except sqlite3.IntegrityError:  # the table refuses NULL
                continue
    dialogues = Dialogues(store=DialogueStore(file))
    assert dialogues.append("ben", Turn("a", "b")) == 1
    dialogues.close()


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def monkeypatch_module() -> Any:
    """The names of dangerous functions that were called."""
    import os
    import subprocess

    called: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "system", lambda *_: called.append("system"))
        patch.setattr(subprocess, "Popen", lambda *_, **__: called.append("Popen"))
        yield called
