# SPDX-License-Identifier: Apache-2.0
"""Pickles of data sets: all plain data of all protocols is read, quickly; everything that costs more is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lisa_ros.datasets import plain_pickle
from lisa_ros.datasets.files import read_plain_pickle
from lisa_ros.datasets.samples import DataError

VALUES = (
    st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans() | st.none() | st.text(max_size=60)
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.dictionaries(st.text(max_size=50), inner, max_size=4)
    return st.lists(inner, max_size=4) | named | st.tuples(inner, inner)


@settings(max_examples=300, deadline=None)
@given(
    content=st.recursive(VALUES, containers, max_leaves=20),
    data=st.binary(max_size=60) | st.binary(min_size=300, max_size=300),
    protocol=st.integers(0, 5),
)
def test_plain_data_of_every_protocol_is_read(content: Any, data: bytes, protocol: int) -> None:
    shared = {"content": content, "data": data if protocol >= 3 else ""}  # before, pickle writes bytes as a call
    found = plain_pickle.read(pickle.dumps([shared, shared], protocol=protocol))
    assert found == [shared, shared] and found[0] is found[1]


def references(count: int) -> list[dict[str, Any]]:
    """As refer's file has them."""
    return [
        {
            "sent_ids": [3 * number, 3 * number + 1],
            "file_name": f"COCO_train2014_{number:012d}_0.jpg",
            "ann_id": 1719310 + number,
            "split": "train",
            "sentences": [{"tokens": ["red", "cup"], "raw": "red cup", "sent_id": 3 * number, "sent": "red cup é" * 9}],
        }
        for number in range(count)
    ]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_large_file_is_read_as_it_is(protocol: int) -> None:
    content = references(8000)
    assert plain_pickle.read(pickle.dumps(content, protocol=protocol)) == content


TWICE = "it uses one tuple or number in several places"
LARGE = "it is damaged, or has an integer of more than 8 bytes"
TUPLE = b"K\x01K\x01\x86"
NEXT = b"h\x01h\x01\x86"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\x80\x02" + TUPLE + b"q\x01" + NEXT + b".", TWICE),
        (b"\x80\x02" + TUPLE + b"q\x00q\x01" + NEXT + b".", TWICE),  # two numbers of one tuple
        (b"\x80\x02" + TUPLE + b"N0q\x01" + NEXT + b".", "it has the step POP"),
        (b"\x80\x02" + TUPLE + b"(1q\x01" + NEXT + b".", "it has the step POP_MARK"),
        (b"\x80\x02" + TUPLE + b"2\x86.", "it has the step DUP"),
        (b"\x80\x02]q\x01" + TUPLE + b"q\x01" + NEXT + b".", TWICE),  # a list's number, then a tuple's
        (b"\x80\x02" + TUPLE + b"q\x01]q\x01h\x01\x86.", TWICE),
        (TUPLE + b"p1\ng 1\n\x85.", TWICE),
        (TUPLE + b"p1\ng01\n\x85.", TWICE),
        (TUPLE + b"r\x01\x00\x00\x00j\x01\x00\x00\x00\x85.", TWICE),
        (b"\x80\x04]\x94]\x94" + TUPLE + b"\x94h\x02h\x02\x86.", TWICE),
        (b"\x80\x04\x8c\x03red\x94" + TUPLE + b"\x94" + NEXT + b".", TWICE),
        (b"\x80\x04]q\x00]q\x00" + TUPLE + b"\x94" + NEXT + b".", "it has the step BINPUT"),  # MEMOIZE would be 1
        (b"\x80\x02]\x94.", "it has the step MEMOIZE"),
        (b"\x80\x02\x8a\x08" + bytes(8) + b"q\x01h\x01\x86.", TWICE),  # an integer is hashed each time
        (b"\x80\x02}\x8a\x09" + bytes(9) + b"Ns.", LARGE),
        (b"\x80\x02}\x8b\x00\x01\x00\x00" + bytes(256) + b"Ns.", LARGE),
        (b"}I" + b"9" * 4000 + b"\nNs.", LARGE),
        (b"\x80\x04(K\x01\x91\x94h\x00\x85.", "it has the step FROZENSET"),
        (b"\x80\x04\x8f.", "it has the step EMPTY_SET"),
        (b"\x80\x02]q\x00}b.", "it has the step BUILD"),
        (b"\x80\x02\x82\x01.", "it has the step EXT1"),
        (b"\x80\x02c__builtin__\nset\nq\x00]\x85R.", r"reading it would call __builtin__.set"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", r"reading it would call os\.system"),
        (b"(S'x'\nios\nsystem\n.", r"reading it would call os\.system"),
        (b"Pelsewhere\n.", "it refers to objects outside"),
        (b"]p99999\n.", "it numbers an object 99999"),
        (b"\x80\x02]r\xff\xff\x0f\x00.", "it numbers an object 1048575"),
        (b"\x80\x02X\xff\xff\xff\x7fred.", "it is cut off"),
        (b"\x80\x04\x8d" + b"\xff" * 8 + b"red.", "it is cut off"),
        (b"\x80\x02]q\x01", "it is cut off"),
        (b"S'red'", "it is cut off"),
        (b"]p1073741823", "it is cut off"),
        (b"\x80\x02J\x01\x02", "it is cut off"),
        (b"\x80\x04\x95\x01", "it is cut off"),
        (b"no pickle", "there is no step b'n'"),
    ],
)
def test_what_costs_more_than_its_size_or_is_no_data_is_refused(tmp_path: Path, data: bytes, sentence: str) -> None:
    file = tmp_path / "refs(unc).p"
    file.write_bytes(data)
    with pytest.raises(DataError, match=sentence) as refused:
        read_plain_pickle(file)
    assert str(file) in str(refused.value)


class Call:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_called(tmp_path: Path, protocol: int) -> None:
    file, mark = tmp_path / "refs(unc).p", tmp_path / "called"
    file.write_bytes(pickle.dumps([references(3), Call(mark)], protocol=protocol))
    with pytest.raises(DataError, match=r"reading it would call posix\.mkdir"):
        read_plain_pickle(file)
    assert not mark.exists()
    pickle.loads(file.read_bytes())
    assert mark.is_dir()


def test_an_expression_that_reads_a_long_run_keeps_no_memory_of_it() -> None:
    """4 million steps in one run; a backtracking expression keeps a state of each."""
    import tracemalloc

    data = b"(" + b"K\x01" * 4_000_000 + b"l."
    tracemalloc.start()
    plain_pickle._Check(data).run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000
