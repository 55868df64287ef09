# SPDX-License-Identifier: Apache-2.0
"""An error at each stage of a command: one FAILED answer with a sentence, no turn, and the next command works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from typing import Any
from unittest.mock import MagicMock

import camera_images
import pytest
from ros_harness import talking_node, wait_until
from scripted_segmenter import ScriptedSegmenter, ScriptedSession

from lisa_ros.dialogue.dialogues import Dialogues
from lisa_ros.msg import Segmentation
from lisa_ros.nodes.lisa.answers import answers as answers_module
from lisa_ros.nodes.lisa.answers.transforms import Transforms
from lisa_ros.nodes.lisa.camera.camera import Camera
from lisa_ros.nodes.lisa.camera.frames import FrameBuffer
from lisa_ros.nodes.lisa.commands.commands import DEACTIVATED, Commands
from lisa_ros.nodes.lisa.live_parameters import LiveParameters
from lisa_ros.nodes.lisa.request import Request
from lisa_ros.nodes.lisa.state import NodeState
from lisa_ros.nodes.lisa.statistics import Statistics
from lisa_ros.segmentation.answers import Event, MaskFound


class Listener:
    """Counts the answers to one command."""

    def __init__(self) -> None:
        self.answers: list[Segmentation] = []

    def on_start(self) -> None:
        """Nothing is shown."""

    def on_event(self, event: Event, header: object) -> None:
        """Parts of the answer are not needed."""

    def on_answer(self, answer: Segmentation) -> None:
        self.answers.append(answer)


class Bench:
    """Commands with the scripted segmenter and one image, without the node around them."""

    def __init__(self, node: Any) -> None:
        self.node = node
        parameters = LiveParameters(node, lambda: False)
        parameters.current = replace(parameters.current, max_image_age=0.0, same_frame_difference=0.0)
        self.dialogues = Dialogues()
        self._levels = cycle(range(256))
        state = NodeState()
        self.commands = Commands(
            *(node, parameters, state, self.dialogues, Statistics()),
            transforms=Transforms(node),
            on_answered=lambda *_: None,
            on_exhausted=lambda: None,
        )
        self.camera = Camera("/image", FrameBuffer(lambda: 1, lambda: 0.0, lambda: 0.02), lambda: 1)
        self.commands.use_model(ScriptedSegmenter(), parameters.current)
        state.change(camera=self.camera, lifecycle="active")
        model = state.now.model
        assert model is not None
        self.model = model

    def ask(self, text: str) -> list[Segmentation]:
        """All answers to one command about a new image."""
        image = camera_images.message("rgb8")
        image.data[0] = next(self._levels)
        self.camera.frames.add_image(image)
        listener = Listener()
        assert self.commands.accept(Request("1", "ann", text, listener=listener))
        wait_until(lambda: listener.answers, "an answer")
        wait_until(lambda: not self.commands.answers.unanswered(), "the end of the command")
        return listener.answers

    def close(self) -> None:
        self.model.worker.stop()
        self.commands.answers.close(5.0)


def after_the_first_mask(error: BaseException) -> Callable[..., Iterator[Event]]:
    segment = ScriptedSession.segment

    def failing(self: ScriptedSession, command: str, *arguments: Any, **options: Any) -> Iterator[Event]:
        for event in segment(self, command, *arguments, **options):
            yield event
            if isinstance(event, MaskFound):
                raise error

    return failing


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise error

    return fail


STAGES: dict[str, tuple[object, str, Callable[[BaseException], Any]]] = {
    "the dialogue is read": (Dialogues, "snapshot", raising),
    "a frame is chosen": (Camera, "choose", raising),
    "the image is encoded": (ScriptedSegmenter, "encode", raising),
    "the session begins": (ScriptedSegmenter, "session", raising),
    "the answer begins": (ScriptedSession, "segment", raising),
    "a mask is there already": (ScriptedSession, "segment", after_the_first_mask),
    "an object is located": (answers_module.Answers, "_locate", raising),
    "the message is made": (answers_module, "segmentation_message", raising),
    "the turn is stored": (Dialogues, "append", raising),
}
PUBLISHING = ("an object is located", "the message is made", "the turn is stored")
ERRORS = (RuntimeError("it broke \udce9\x1b[31m" + "x" * 2000), MemoryError(), SystemExit(3), KeyboardInterrupt())


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with talking_node("stages") as node:
        bench = Bench(node)
        yield bench
        bench.close()


@pytest.mark.parametrize("stage", STAGES)
def test_an_error_at_each_stage(bench: Bench, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, fault = STAGES[stage]
    for error in ERRORS:
        with monkeypatch.context() as patch:
            once = [error]
            original, failing = getattr(owner, name), fault(error)
            patch.setattr(
                owner, name, lambda *a, o=original, f=failing, n=once, **k: (f if n and n.pop() else o)(*a, **k)
            )
            (answer,) = bench.ask("red")
        assert answer.status == Segmentation.FAILED and answer.turn == 0
        assert answer.detail.startswith("The answer could not" if stage in PUBLISHING else "The model failed: ")
        assert type(error).__name__ in answer.detail and len(answer.detail) <= 500 and answer.detail.isprintable()
        assert bench.dialogues.turns("ann") == ()
    (answer,) = bench.ask("red")
    assert (answer.status, answer.turn) == (Segmentation.OK, 1)
    bench.dialogues.reset("ann")


def test_a_command_that_comes_while_the_model_is_released_is_cancelled_for_that_reason() -> None:
    with talking_node("bench") as node:
        bench = Bench(node)
        bench.model.worker.stop()  # by cleanup, after the command was found to be acceptable
        listener = Listener()
        assert not bench.commands.accept(Request("1", "ann", "red", listener=listener))
        (answer,) = listener.answers
        assert (answer.status, answer.detail) == (Segmentation.CANCELLED, DEACTIVATED.detail)
        bench.close()


def test_topics_that_cannot_be_published_after_the_answer_cost_nobody_the_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A goal of the action would wait for it for ever."""
    log = MagicMock()
    monkeypatch.setattr(bench.node, "get_logger", lambda: log)
    monkeypatch.setattr(answers_module.PlannerTopics, "publish", raising(RuntimeError("it broke")))
    (answer,) = bench.ask("red")
    assert answer.status == Segmentation.OK
    wait_until(lambda: log.error.called, "the error in the log")  # the topics come after the answer
    (sentence,) = log.error.call_args.args
    assert sentence.startswith("Topics of an answer could not be published:") and "it broke" in sentence
    bench.dialogues.reset("ann")


def test_commands_that_were_kept_during_the_start_come_before_later_ones(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.ask("red")
    first, second = (Request(name, "ann", name, listener=Listener()) for name in ("first", "second"))
    accept, queued, released = bench.commands._accept, [], threading.Event()

    def slow(request: Request) -> bool:
        if request is first:
            released.set()
            time.sleep(0.2)
        queued.append(request)
        return accept(request)

    monkeypatch.setattr(bench.commands, "_accept", slow)
    bench.commands.hold()
    bench.commands.accept(first)
    release = threading.Thread(target=bench.commands.release)
    release.start()
    assert released.wait(10)
    bench.commands.accept(second)
    release.join()
    assert queued == [first, second]
    wait_until(lambda: not bench.commands.answers.unanswered(), "the answers")
    bench.dialogues.reset("ann")


def test_a_command_that_is_kept_during_the_start_can_be_cancelled(bench: Bench) -> None:
    bench.commands.hold()
    listener = Listener()
    request = Request("1", "ann", "red", listener=listener)
    assert bench.commands.accept(request)
    bench.commands.cancel(request)
    (answer,) = listener.answers
    assert answer.status == Segmentation.CANCELLED
    bench.commands.release()
    assert listener.answers == [answer]
