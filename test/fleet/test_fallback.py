# SPDX-License-Identifier: Apache-2.0
"""Which model answers when the server is lost, in the middle of an answer or before it."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from ros_harness import wait_until
from scripted_segmenter import ScriptedSegmenter

from lisa_ros.fleet import fallback
from lisa_ros.fleet.connection import UnreachableError
from lisa_ros.fleet.fallback import FallbackSegmenter
from lisa_ros.models.combined.by_name import ByNameSegmenter
from lisa_ros.nodes.lisa.loading import model_trouble
from lisa_ros.segmentation.answers import Finished, MaskFound
from lisa_ros.segmentation.errors import LisaError

IMAGE = np.zeros((8, 8, 3), np.uint8)
IMAGE[:4, :, 0] = 255


class Server(ScriptedSegmenter):
    """A scripted model that is lost after some events."""

    lost_after: int | None = None

    def check(self) -> None:
        if self.lost_after is not None:
            raise UnreachableError("no route")

    def session(self, encoded: Any, turns: Any = (), *, max_history_tokens: int = 0) -> Any:
        session = super().session(encoded, turns)
        inner = session.segment

        def segment(*arguments: Any, **more: Any) -> Iterator[Any]:
            for number, event in enumerate(inner(*arguments, **more)):
                if number == self.lost_after:
                    raise UnreachableError("no route")
                yield event

        session.segment = segment  # type: ignore[method-assign]
        return session


Both = tuple[FallbackSegmenter, Server, list[str]]


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    monkeypatch.setattr(fallback, "CHECK_S", 0.02)
    server, said = Server(name="server"), list[str]()
    segmenter = FallbackSegmenter(server, ScriptedSegmenter(name="local"), said.append)  # type: ignore[arg-type]
    yield segmenter, server, said
    segmenter.release()


def ask(segmenter: FallbackSegmenter) -> list[Any]:
    return list(segmenter.session(segmenter.encode(IMAGE)).segment("the red part"))


def test_the_server_answers_while_it_can(both: Both) -> None:
    segmenter, _, said = both
    assert ask(segmenter)[-1].model == "server" and not said


@pytest.mark.parametrize("lost_after", [0, 1])
def test_the_local_model_answers_a_command_that_the_server_loses(both: Both, lost_after: int) -> None:
    segmenter, server, said = both
    whole = ask(segmenter)
    server.lost_after = lost_after
    events = ask(segmenter)
    assert events[-1].model == "local" and events[-1].answer == whole[-1].answer
    assert sum(isinstance(one, Finished) for one in events) == 1
    # What the server had given out is not given out twice.
    assert sum(isinstance(one, MaskFound) for one in events) <= sum(isinstance(one, MaskFound) for one in whole)
    assert len(said) == 1 and "local" in said[0] and segmenter.is_local


def test_the_server_is_asked_again_once_it_answers(both: Both) -> None:
    segmenter, server, said = both
    by_name: Any = ByNameSegmenter(segmenter, ScriptedSegmenter())
    assert model_trouble(by_name) == ""
    server.lost_after = 0
    assert ask(segmenter)[-1].model == ask(segmenter)[-1].model == "local"
    assert "cannot be reached; the local model local answers" in model_trouble(by_name)
    server.lost_after = None
    wait_until(lambda: len(said) == 2, "the server")  # said after it is used again
    assert model_trouble(by_name) == ""
    assert ask(segmenter)[-1].model == "server" and "answers again" in said[-1]


@pytest.mark.parametrize("part", ["model", "image"])
def test_the_local_part_is_freed_where_the_connection_cannot_be_closed(part: str) -> None:
    remote, local = MagicMock(), MagicMock()
    remote.release.side_effect = remote.encode.return_value.release.side_effect = OSError("the connection is gone")
    segmenter = FallbackSegmenter(remote, local, print)
    image = segmenter.encode(IMAGE)
    encoded = image.encoded()
    with pytest.raises(OSError, match="the connection is gone"):
        (segmenter if part == "model" else image).release()
    (local if part == "model" else encoded).release.assert_called_once()


def test_a_command_that_is_refused_is_not_asked_twice(both: Both) -> None:
    segmenter, _, said = both
    with pytest.raises(LisaError, match="does not take this word"):
        list(segmenter.session(segmenter.encode(IMAGE)).segment("forbidden"))
    assert not said
