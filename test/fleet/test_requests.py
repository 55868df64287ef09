# SPDX-License-Identifier: Apache-2.0
"""Requests and answers on the wire: nothing is lost, and nothing hostile gets far."""

import json
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from lisa_ros.fleet.messages import PixelBudget, event_from, event_json, turn_json
from lisa_ros.fleet.requests import (
    MOST_BODY_BYTES,
    MOST_JPEG_SCANS,
    MOST_TURNS,
    Query,
    RequestError,
    compress_image,
    decompress_image,
    frame_id,
    newest_turns,
    pack,
    unpack,
)
from lisa_ros.segmentation.answers import Finished, MaskFound, ObjectMask, Region, TextDelta
from lisa_ros.segmentation.pointing import Pointing
from lisa_ros.segmentation.turns import Turn

RANDOM = np.random.default_rng(1)
IMAGE = RANDOM.integers(0, 256, (40, 60, 3), dtype=np.uint8)
MASK = RANDOM.random((40, 60)) > 0.5
FRAME = frame_id(b"an image")
FOUND = ObjectMask(
    mask=MASK,
    span=(4, 9),
    score=1 / 3,
    score_calibrated=True,
    evidence={"iou": float(np.float32(0.1))},
    region=Region(np.eye(5, dtype=bool), (0.5, 1.25, 3.0, 4.0)),
    phrase="the ☕",
    refined=~MASK,
    box=(-1.0, 0.1, 2.0, 3.0),
    attributes={"colour": {"red": -1.5}},
)


def same(one: ObjectMask, other: ObjectMask) -> bool:
    assert one.region is not None and other.region is not None
    assert one.refined is not None and other.refined is not None
    return (
        np.array_equal(one.mask, other.mask)
        and np.array_equal(one.refined, other.refined)
        and np.array_equal(one.region.mask, other.region.mask)
        and one.region.box == other.region.box
        and (one.span, one.score, one.score_calibrated, one.evidence, one.phrase, one.box, one.attributes)
        == (other.span, other.score, other.score_calibrated, other.evidence, other.phrase, other.box, other.attributes)
    )


def test_a_query_arrives_as_it_was_sent() -> None:
    turn = Turn("the mug", "It is [SEG].", (FOUND,), (2, 1), 3)
    text, pointing = "the 杯 left of it", Pointing(((1.5, 2.0),))
    sent = Query(FRAME, text, "id-1", (turn,), (3, MASK), 17, 200, "mask_only", pointing, 2.5)
    found, image = unpack(pack(sent, b"an image"))
    assert image == b"an image"
    (read,) = found.turns
    assert (read.command, read.answer, read.references, read.number) == (turn.command, turn.answer, (2, 1), 3)
    assert same(read.objects[0], FOUND)
    assert found.references[0] == 3 and np.array_equal(found.references[1], MASK)
    assert (found.command, found.command_id, found.max_new_tokens) == (text, "id-1", 17)
    assert (found.max_history_tokens, found.answer, found.pointing, found.deadline_s) == (
        200,
        "mask_only",
        pointing,
        2.5,
    )


def test_events_arrive_as_they_were_sent() -> None:
    def sent(event: Any) -> Any:
        return event_from(json.loads(json.dumps(event_json(event))), PixelBudget(10**6))

    assert same(sent(MaskFound(FOUND)).object, FOUND)
    assert sent(TextDelta(" mug\n")) == TextDelta(" mug\n")
    finished = sent(Finished("It is [SEG].", (FOUND,), "length", (4,), note="At most two."))
    assert (finished.answer, finished.reason, finished.references) == ("It is [SEG].", "length", (4,))
    assert finished.note == "At most two."
    assert same(finished.objects[0], FOUND)


def test_what_an_older_robot_or_server_does_not_send_has_its_default_and_what_a_newer_one_sends_is_ignored() -> None:
    mask = {"size": [1, 2], "runs": [1, 1]}
    old_turn = {
        "command": "the mug",
        "answer": "[SEG]",
        "objects": [{"mask": mask, "span": [0, 5], "new": 1}],
        "new": 1,
    }
    query, _ = unpack(packed({"frame": FRAME, "command": "it", "turns": [old_turn], "new": {"of": [1]}}))
    (turn,) = query.turns
    (found,) = turn.objects
    assert query == Query(FRAME, "it", turns=query.turns)
    assert (turn.references, turn.number, found.score, found.attributes) == ((), 0, None, {})
    event = event_from({"event": "finished", "answer": "", "objects": [], "reason": "end"}, PixelBudget(1))
    assert event == Finished("", (), "end")


def packed(description: Any) -> bytes:
    data = zlib.compress(description if isinstance(description, bytes) else json.dumps(description).encode())
    return struct.pack(">I", len(data)) + data


def changed(**changes: Any) -> bytes:
    description = json.loads(zlib.decompress(pack(Query(FRAME, "a"))[4:]))
    return packed({**description, **changes})


HUGE_MASK = {"size": [16000, 16000], "runs": [256_000_000]}
HOSTILE = {
    "empty": b"",
    "short": b"\0\0",
    "length": struct.pack(">I", 2**31) + b"x",
    "not compressed": struct.pack(">I", 4) + b"abcd",
    "cut": pack(Query(FRAME, "a"))[:-5],
    "not JSON": packed(b"{"),
    "deep": packed(b"[" * 200_000),
    "a list": packed([]),
    "a turn": changed(turns=[[1]]),
    "an object": changed(turns=[{"command": "a", "answer": "b", "objects": ["x"]}]),
    "bomb": packed(b" " * 2**25),
    "frame": changed(frame="../../etc/passwd"),
    "long": changed(command="x" * 20_000),
    "tokens": changed(max_new_tokens=10**9),
    "deadline": changed(deadline_s=float("nan")),
    "answer": changed(answer="everything"),
    "points": changed(points=[[1, 2]] * 17),
    "infinite": changed(max_new_tokens=float("inf")),
    "turns": changed(turns=[{"command": "a"}]),
    "many turns": changed(turns=[turn_json(Turn("", ""))] * (MOST_TURNS + 1)),
    "masks": changed(references=[HUGE_MASK, HUGE_MASK]),
    "mask size": changed(references=[{"size": [-3, -4], "runs": [12]}]),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_requests_are_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        unpack(body)


def test_a_body_that_is_too_large_is_not_read() -> None:
    with pytest.raises(RequestError, match="bytes"):
        unpack(bytes(MOST_BODY_BYTES + 1))


def test_an_image_is_sent_without_loss_or_as_jpeg() -> None:
    assert np.array_equal(decompress_image(compress_image(IMAGE, 0)), IMAGE)
    smooth = np.full((48, 64, 3), (200, 30, 60), np.uint8)
    assert np.abs(decompress_image(compress_image(smooth, 90)).astype(int) - smooth).max() < 8


def png_of(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize("data", [b"", b"GIF89a", png_of(30_000, 30_000), png_of(0, 5), png_of(8, 8), b"\xff\xd8\xff"])
def test_other_images_are_refused_before_they_are_decoded(data: bytes) -> None:
    with pytest.raises(RequestError):
        decompress_image(data)


def test_formats_that_are_not_promised_are_refused(tmp_path: Any) -> None:
    PillowImage.fromarray(IMAGE).save(tmp_path / "image.bmp")
    with pytest.raises(RequestError, match="neither"):
        decompress_image((tmp_path / "image.bmp").read_bytes())


def test_a_dialogue_of_megabytes_is_refused_before_it_is_tokenized() -> None:
    turns = tuple(Turn("c" * 1000, "a" * 10_000, number=number) for number in range(1, 20))
    with pytest.raises(RequestError, match="the dialogue has 209000 characters; 200000 are accepted"):
        unpack(pack(Query("0" * 64, "the mug", turns=turns)))
    assert len(unpack(pack(Query("0" * 64, "the mug", turns=turns[:18])))[0].turns) == 18


def test_a_robot_sends_as_much_of_a_long_dialogue_as_the_server_takes() -> None:
    long = [Turn("c" * 1000, "a" * 10_000, number=number) for number in range(1, 40)]
    short = [Turn("a", "b", number=number) for number in range(1, MOST_TURNS + 20)]
    for turns, kept in ((long, 18), (short, MOST_TURNS), (short[:5], 5), ([], 0)):
        sent = newest_turns(turns)
        assert sent == tuple(turns[len(turns) - kept :])
        assert len(unpack(pack(Query("0" * 64, "the mug", turns=sent)))[0].turns) == kept


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() -> None:
    """Each scan of a few bytes goes over all pixels: a small file would take hours."""
    _, encoded = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    data = encoded.tobytes()
    assert decompress_image(data).shape == (64, 64, 3)
    last = data[data.rfind(b"\xff\xda") : -2]
    with pytest.raises(RequestError, match=f"more than {MOST_JPEG_SCANS} scans"):
        decompress_image(data[:-2] + last * MOST_JPEG_SCANS + data[-2:])
