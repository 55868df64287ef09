# SPDX-License-Identifier: Apache-2.0
"""lisa_node with the scripted stand-in for the model, as a process of its own, driven over DDS."""

import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pictures
import pytest
from node_probe import Probe, pixels, probing
from paths import PROCESSES
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import scripted_node, started, talking_node, wait_at, wait_until
from scripted_segmenter import bright, pixels_of
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.nodes.lisa.answers import answers as answers_module
from lisa_ros.nodes.lisa.answers.answers import Answers
from lisa_ros.nodes.lisa.camera.frames import EncodedFrame
from lisa_ros.nodes.lisa.parameters import LiveParameters
from lisa_ros.nodes.lisa.request import Outcome, Request
from lisa_ros.segmentation.answers import ObjectMask


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    with probing() as probe, started(scripted_node()) as process:
        probe.wait_for_node(process)
        assert probe.set_parameter("queue_size", 300).successful
        yield probe


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that does not exist: a command "gate <file>" stays in the model until it does."""
    return tmp_path / "gate"


def assert_masks_right(answer: Segmentation, encoding: str) -> None:
    truth = pictures.expected(encoding)
    wanted = [bright(truth)] if encoding in pictures.MONO else [pixels_of(truth, "red"), pixels_of(truth, "blue")]
    assert answer.status == Segmentation.OK
    assert len(answer.objects) == len(wanted)
    inside = pictures.inside_blocks()
    for found, mask in zip(answer.objects, wanted, strict=True):
        assert np.array_equal(pixels(found.mask)[inside], mask[inside])


@pytest.mark.parametrize("padding", [0, 10])
@pytest.mark.parametrize("encoding", pictures.ENCODINGS)
def test_every_encoding(probe: Probe, encoding: str, padding: int) -> None:
    text = "bright" if encoding in pictures.MONO else "two"
    assert_masks_right(probe.ask_about(pictures.message(encoding, padding), text), encoding)


def test_an_answer_holds_everything_about_its_image(probe: Probe) -> None:
    picture = pictures.message("rgb8")
    answer = probe.ask_about(picture, "the two parts")
    assert answer.header == picture.header
    assert (answer.status, answer.detail) == (Segmentation.OK, "")
    assert (answer.operator_id, answer.text) == ("default", "the two parts")
    assert answer.answer == "The red [SEG] and the blue [SEG]."
    assert answer.explanation == "The red ① and the blue ②."
    assert [answer.answer[o.span_begin : o.span_end] for o in answer.objects] == ["[SEG]", "[SEG]"]
    red, blue = answer.objects
    assert red.mask.header == blue.mask.header == picture.header
    assert (red.bbox.x_offset, red.bbox.y_offset, red.bbox.width, red.bbox.height) == (0, 0, 16, 32)
    assert (blue.bbox.x_offset, blue.pixels) == (32, 16 * 32)
    assert (red.centroid_pixel.x, red.centroid_pixel.y, red.centroid_pixel.z) == (7.5, 15.5, 0.0)
    assert 0 <= answer.first_mask_ms <= answer.total_ms and answer.queued_ms >= 0 and answer.turn > 0


def test_the_parts_are_published_with_the_answers_header(probe: Probe) -> None:
    picture = pictures.message("rgb8")
    answer = probe.ask_about(picture, "two")
    together = pixels(answer.objects[0].mask) | pixels(answer.objects[1].mask)
    mask = wait_until(lambda: next((m for m in probe.masks if m.header == answer.header), None), "the mask")
    assert np.array_equal(pixels(mask), together)
    point = wait_until(lambda: next((c for c in probe.centroids if c.header == answer.header), None), "the centroid")
    # Between the two objects lies their mean; the point must be the pixel nearest to it.
    marked = np.argwhere(together)
    distances = np.hypot(*(marked - marked.mean(axis=0)).T)
    where = [round(point.point.y), round(point.point.x)]
    assert distances[(marked == where).all(axis=1)].tolist() == [distances.min()]
    frame = probe.ask("frame?").explanation  # nothing else has said this
    wait_until(lambda: frame in [said.data for said in list(probe.explanations)], "the explanation")


def test_nothing_found_is_an_answer(probe: Probe) -> None:
    answer = probe.ask_about(pictures.message("rgb8"), "the unicorn")
    assert answer.status == Segmentation.NO_OBJECT
    assert answer.detail and answer.answer == "There is no such thing." and answer.turn > 0
    mask = wait_until(lambda: next((m for m in probe.masks if m.header == answer.header), None), "the empty mask")
    assert pixels(mask).shape == (pictures.HEIGHT, pictures.WIDTH) and not pixels(mask).any()
    assert not [c for c in probe.centroids if c.header == answer.header]


def test_an_object_without_a_pixel_is_not_an_object(probe: Probe) -> None:
    answer = probe.ask_about(pictures.message("rgb8"), "the invisible man")
    assert (answer.status, len(answer.objects), answer.answer) == (Segmentation.NO_OBJECT, 0, "It is [SEG].")


def test_a_bare_sentence_is_a_command_of_the_default_operator(probe: Probe) -> None:
    probe.ask_about(pictures.message("rgb8"), "green")
    probe.send_text("the green one, said plainly")
    answer = wait_until(
        lambda: next((a for a in list(probe.answers) if a.text == "the green one, said plainly"), None), "the answer"
    )
    assert (answer.status, answer.operator_id) == (Segmentation.OK, "default")
    assert answer.id


def test_two_commands_on_one_picture_look_once(probe: Probe) -> None:
    first = probe.ask_about(pictures.message("rgb8"), "frame?").answer
    assert probe.ask("frame?").answer == probe.ask("frame?", "jon").answer == first
    assert probe.ask_about(pictures.message("mono8"), "frame?").answer != first


def test_pictures_of_a_still_scene_share_one_look(probe: Probe) -> None:
    first = probe.ask_about(pictures.message("rgb8"), "frame?")
    second = probe.ask_about(pictures.message("bgr8"), "frame?")
    assert second.answer == first.answer and second.header.stamp != first.header.stamp


def test_operators_hear_only_their_own_turns_when_they_interleave(probe: Probe) -> None:
    probe.ask_about(pictures.message("rgb8"), "red")
    operators = ("anna", "ben", "carl", "Ünal")
    sent = [
        (operator, number, probe.send(f"history {operator} {number}", operator))
        for number in range(6)
        for operator in operators
    ]
    for operator, number, identity in sent:
        answer = probe.answer_to(identity)
        told = " | ".join(f"history {operator} {earlier}" for earlier in range(number))
        assert (answer.answer, answer.turn, answer.operator_id) == (f"I was told: {told}", number + 1, operator)


def test_one_operators_command_does_not_wait_for_anothers(probe: Probe, gate: Path) -> None:
    probe.ask_about(pictures.message("rgb8"), "red")
    held = probe.send(f"gate {gate}", "slow")
    wait_at(gate)
    after = probe.send("history", "slow")
    assert probe.ask("red", "quick").status == Segmentation.OK
    assert not [a for a in probe.answers if a.id in (held, after)]
    gate.touch()
    assert probe.answer_to(after).answer == f"I was told: gate {gate}"


def test_an_operators_newer_command_takes_the_place_of_those_that_wait(probe: Probe, gate: Path) -> None:
    probe.ask_about(pictures.message("rgb8"), "red")
    assert probe.set_parameter("queue_policy", "latest_wins").successful
    held = probe.send(f"gate {gate}", "rita")
    wait_at(gate)
    older = [probe.send("red", "rita") for _ in range(2)]
    newest = probe.send("blue", "rita")
    for identity in older:
        answer = probe.answer_to(identity)
        assert answer.status == Segmentation.CANCELLED and "latest_wins" in answer.detail
    gate.touch()
    assert probe.answer_to(held).status == Segmentation.NO_OBJECT
    assert probe.answer_to(newest).status == Segmentation.OK
    assert probe.set_parameter("queue_policy", "queue").successful


def test_mask_only_by_command_and_by_parameter(probe: Probe) -> None:
    probe.ask_about(pictures.message("rgb8"), "red")
    only = probe.ask("red", "olga", answer="mask_only")
    assert (only.status, only.answer, only.explanation, len(only.objects)) == (Segmentation.OK, "[SEG].", "", 1)
    assert probe.ask("red", "olga").answer == "The red part is [SEG]."
    assert probe.set_parameter("answer", "mask_only").successful
    assert probe.ask("red", "olga").answer == "[SEG]."
    assert probe.ask("red", "olga", answer="full").answer == "The red part is [SEG]."
    assert probe.set_parameter("answer", "full").successful
    assert not probe.set_parameter("answer", "some").successful
    refused = probe.ask("red", "olga", answer="some")
    assert refused.status == Segmentation.REJECTED and "'full', 'mask_only', or empty" in refused.detail


def test_the_oldest_turns_are_forgotten_and_the_others_keep_their_numbers(probe: Probe) -> None:
    probe.ask_about(pictures.message("rgb8"), "red")
    assert probe.set_parameter("max_turns", 2).successful
    assert [probe.ask(f"unicorn {i}", "dora").turn for i in (1, 2, 3)] == [1, 2, 3]
    assert probe.ask("references", "dora", references=[3]).answer == "References [3]."
    refused = probe.ask("references", "dora", references=[1])
    assert refused.status == Segmentation.REJECTED and "turn 1" in refused.detail
    assert probe.set_parameter("max_turns", 8).successful


def test_only_answers_become_turns(probe: Probe) -> None:
    probe.ask_about(pictures.message("rgb8"), "red")
    for text in ("", "crash", "forbidden", "the red part"):
        probe.ask(text, "emil")
    assert probe.ask("history", "emil").answer == "I was told: the red part"


def test_reset_forgets_one_operator(probe: Probe) -> None:
    probe.ask_about(pictures.message("rgb8"), "red")
    for operator in ("fred", "gina"):
        probe.ask("red", operator)
    response = probe.reset("fred")
    assert (response.success, response.turns) == (True, 1)
    assert probe.ask("history", "fred").answer == "I was told: "
    assert probe.ask("history", "gina").answer == "I was told: red"
    refused = probe.reset("x" * 65)
    assert not refused.success and "64" in refused.message


def test_a_killed_node_goes_on_with_its_dialogues(tmp_path: Path) -> None:
    file = tmp_path / "new" / "dialogues.sqlite"
    arguments = ("-r", "__node:=stored", "-p", f"dialogue_file:={file}")
    with probing("stored") as probe, started(scripted_node(*arguments)) as process:
        probe.wait_for_node(process)
        assert probe.ask_about(pictures.message("rgb8"), "two").turn == 1
        assert probe.ask("red", "anna").turn == 1
        with started(scripted_node(*arguments[2:], "-r", "__node:=second")) as second:
            assert second.wait() == 1
            assert "another node has it open" in second.output and "Traceback" not in second.output
        process.send_signal(signal.SIGKILL)
        process.wait()
    with probing("stored") as probe, started(scripted_node(*arguments)) as process:
        probe.wait_for_node(process)
        listed = probe.dialogues()
        assert {name: (one.turns, one.last_turn) for name, one in listed.items()} == {"default": (1, 1), "anna": (1, 1)}
        assert listed["anna"].idle_s >= 0
        answer = probe.ask_about(pictures.message("rgb8"), "history")
        assert answer.answer.startswith("I was told: two") and answer.turn >= 2


def test_an_answer_that_was_on_its_way_at_a_reset_does_not_come_back(probe: Probe, gate: Path) -> None:
    probe.ask_about(pictures.message("rgb8"), "red")
    probe.ask("red", "hans")
    waiting = probe.send(f"gate {gate}", "hans")
    wait_at(gate)
    assert probe.reset("hans").turns == 1
    gate.touch()
    answer = probe.answer_to(waiting)
    assert (answer.status, answer.turn) == (Segmentation.NO_OBJECT, 0)
    assert probe.ask("history", "hans").answer == "I was told: "


@pytest.mark.parametrize(
    ("text", "operator", "says"),
    [
        ("", "ina", "empty"),
        (" \n\t ", "ina", "empty"),
        ("\u200b\u2060\ufeff", "ina", "empty"),
        ("\x07 \x1b", "ina", "empty"),
        ("x" * 501, "ina", "501 characters; max_text_length allows 500"),
        ("red", "x" * 65, "1 to 64 printable"),
        ("red", "a\nb", "1 to 64 printable"),
        ("forbidden", "ina", "does not take this word"),
        ("surrogate", "ina", "does not take ?."),
    ],
)
def test_what_cannot_be_asked_is_rejected(probe: Probe, text: str, operator: str, says: str) -> None:
    before = probe.ask_about(pictures.message("rgb8"), "red")
    answer = probe.ask(text, operator)
    assert answer.status == Segmentation.REJECTED and says in answer.detail
    assert (answer.text, answer.operator_id, answer.turn, len(answer.objects)) == (text, operator, 0, 0)
    next_one = probe.ask_about(pictures.message("rgb8"), "red")
    assert next_one.status == Segmentation.OK
    wait_until(lambda: next_one.header in [mask.header for mask in list(probe.masks)], "the next mask")
    # What the model refuses is about the picture of before, which has the mask of before alone.
    assert [mask.header for mask in probe.masks].count(answer.header) == int(answer.header == before.header)


def test_a_failing_model_is_an_answer_and_the_next_command_works(probe: Probe) -> None:
    picture = pictures.message("rgb8")
    answer = probe.ask_about(picture, "crash")
    assert (answer.status, answer.header) == (Segmentation.FAILED, picture.header)
    assert answer.detail == "The model failed: RuntimeError: the model broke"
    assert probe.ask("crash badly").detail == "The model failed: RuntimeError: the model broke ?"
    assert probe.ask_about(picture, "red").status == Segmentation.OK


def test_masks_that_do_not_fit_the_picture_are_a_failure_and_no_turn(probe: Probe) -> None:
    picture = pictures.message("rgb8")
    probe.ask_about(picture, "red")
    answer = probe.ask("misshapen", "otto")
    assert (answer.status, answer.header, answer.turn) == (Segmentation.FAILED, picture.header, 0)
    assert "a mask of shape (3, 5)" in answer.detail and f"({pictures.HEIGHT}, {pictures.WIDTH})" in answer.detail
    assert probe.ask("history", "otto").answer == "I was told: "


def test_an_answer_that_cannot_be_published_is_still_one_answer(probe: Probe) -> None:
    picture = pictures.message("rgb8")
    probe.ask_about(picture, "red")
    answer = probe.ask("misplaced")
    assert answer.status == Segmentation.FAILED and "could not be published" in answer.detail
    assert probe.ask_about(picture, "red").status == Segmentation.OK


def malformed() -> dict[str, Image]:
    bad = {name: pictures.message("rgb8") for name in ("unknown", "empty", "short", "step", "huge", "none")}
    bad["unknown"].encoding = "rgb12packed"
    bad["empty"].width = bad["empty"].height = 0
    bad["short"].data = bad["short"].data[:50]
    bad["step"].step = 7
    bad["huge"].width = bad["huge"].height = bad["huge"].step = 2**32 - 1
    bad["none"] = Image()
    return bad


@pytest.mark.parametrize("name", malformed())
def test_a_malformed_image_is_an_answer_and_the_next_picture_works(probe: Probe, name: str) -> None:
    answer = probe.show_until(malformed()[name], "red", lambda a: a.status == Segmentation.NO_IMAGE)
    assert "image" in answer.detail and answer.header.frame_id == ""
    assert answer.header.stamp.sec > 0
    assert probe.ask_about(pictures.message("rgb8"), "red").status == Segmentation.OK


def test_an_old_picture_is_refused_unless_the_command_is_as_old(probe: Probe) -> None:
    then = (probe.node.get_clock().now() - Duration(seconds=100)).to_msg()
    answer = probe.show_until(pictures.message("rgb8"), "red", lambda a: a.status == Segmentation.NO_IMAGE, then)
    assert "max_image_age allows 5 s" in answer.detail and "100" in answer.detail
    assert probe.ask("red", stamp=then).status == Segmentation.OK
    assert probe.set_parameter("max_image_age", 0.0).successful
    assert probe.ask("red").status == Segmentation.OK
    assert probe.set_parameter("max_image_age", 5.0).successful


def test_a_flood_is_answered_at_once_beyond_the_bound_and_later_within_it(probe: Probe, gate: Path) -> None:
    probe.ask_about(pictures.message("rgb8"), "red")
    assert probe.set_parameter("queue_size", 16).successful
    held = probe.send(f"gate {gate}", "flood")
    wait_at(gate)
    before = len(probe.answers)
    sent = [probe.send("two", "flood") for _ in range(200)]
    rejected = wait_until(lambda: len(probe.answers) - before >= 184 and probe.answers[before:], "184 rejections")
    assert [a.id for a in rejected] == sent[16:]
    assert {a.status for a in rejected} == {Segmentation.REJECTED}
    assert "queue_size" in rejected[0].detail
    gate.touch()
    assert [probe.answer_to(identity).status for identity in sent[:16]] == [Segmentation.OK] * 16
    assert probe.set_parameter("queue_size", 300).successful
    # Answers go out in order: what follows this one would have come.
    last = probe.ask("red")
    assert Counter(a.id for a in probe.answers[before:]) == Counter([*sent, held, last.id])


def test_a_flood_of_large_answers_is_not_lost(probe: Probe) -> None:
    large = np.zeros((240, 320, 3), dtype=np.uint8)
    large[:, :160, 0], large[:, 160:, 2] = 255, 255
    probe.ask_about(to_image_message(large, "rgb8", Header()), "red")
    assert probe.set_parameter("max_image_age", 0.0).successful
    before = len(probe.answers)
    sent = [probe.send("two", f"operator {number % 4}") for number in range(200)]
    for identity in sent:
        assert len(probe.answer_to(identity).objects) == 2
    for operator in range(4):  # each has its answers in its own order
        mine = [a.id for a in probe.answers[before:] if a.operator_id == f"operator {operator}"]
        assert mine == sent[operator::4]
    assert probe.set_parameter("max_image_age", 5.0).successful


def test_two_commands_with_one_id_are_two_commands(probe: Probe) -> None:
    probe.ask_about(pictures.message("rgb8"), "red")
    for text in ("red", "blue"):
        probe.send(text, "paul", id="the same")
    answers = wait_until(
        lambda: len(both := [a for a in list(probe.answers) if a.id == "the same"]) == 2 and both, "two answers"
    )
    assert [(a.text, a.turn) for a in answers] == [("red", 1), ("blue", 2)]


def test_a_flood_from_several_processes_is_not_lost(probe: Probe) -> None:
    names, count = [f"flooder_{i}" for i in range(4)], 600
    before = len(probe.answers)
    program = [sys.executable, str(PROCESSES / "flooding_operator.py"), "/lisa/command"]
    with ExitStack() as stack:
        processes = [stack.enter_context(started([*program, name, str(count)])) for name in names]
        assert [process.wait() for process in processes] == [0] * len(names)
    wait_until(lambda: len(probe.answers) - before >= len(names) * count, "an answer to every command")
    assert Counter(a.id for a in probe.answers[before:]) == Counter(f"{n}-{i}" for n in names for i in range(count))


def test_a_frozen_subscriber_costs_the_others_nothing() -> None:
    large = np.zeros((480, 640, 3), dtype=np.uint8)
    large[:, :320, 0], large[:, 320:, 2] = 255, 255
    settings = ("-r", "__node:=held", "-p", "queue_size:=300", "-p", "max_image_age:=0.0")
    with probing("held") as probe, started(scripted_node(*settings)) as process:
        probe.wait_for_node(process)
        planner_program = [sys.executable, str(PROCESSES / "listening_planner.py"), "/held/segmentation"]
        with started(planner_program) as planner:
            # Both have found the node when both have heard it.
            wait_until(lambda: probe.ask("red") and "heard" in planner.output, "the planner")
            probe.ask_about(to_image_message(large, "rgb8", Header()), "red")
            planner.send_signal(signal.SIGSTOP)
            try:
                before = len(probe.answers)
                sent = [probe.send("two") for _ in range(60)]
                wait_until(lambda: sent[-1] in [a.id for a in list(probe.answers)], "the last answer")
                assert [a.id for a in probe.answers[before:]] == sent
                assert "does not take its messages" in process.output
            finally:
                planner.send_signal(signal.SIGCONT)


def test_a_late_joiner_gets_the_newest_answer_and_mask_alone(probe: Probe) -> None:
    for text in ("red", "blue", "green"):
        last = probe.ask_about(pictures.message("rgb8"), text)
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    with talking_node("late_joiner") as node:
        late: list[Segmentation] = []
        masks: list[Image] = []
        node.create_subscription(Segmentation, "/lisa/segmentation", late.append, latched)
        node.create_subscription(Image, "/lisa/mask", masks.append, latched)
        wait_until(lambda: late and masks, "the latched answer")
        assert [a.id for a in late] == [last.id]
        assert [m.header for m in masks] == [last.header]


def test_parameters_are_checked_while_running(probe: Probe) -> None:
    assert not probe.set_parameter("queue_size", 0).successful
    assert not probe.set_parameter("queue_size", "many").successful
    assert not probe.set_parameter("max_image_age", float("nan")).successful
    assert not probe.set_parameter("max_image_age", float("inf")).successful
    assert not probe.set_parameter("quantization", "8bit").successful
    assert probe.ask_about(pictures.message("rgb8"), "red").status == Segmentation.OK
    assert probe.set_parameter("max_text_length", 5).successful
    assert probe.ask("the red one").status == Segmentation.REJECTED
    assert probe.set_parameter("max_text_length", 500).successful


def test_no_picture_then_compressed_ones_then_the_end_with_commands_waiting(gate: Path) -> None:
    remapped = (
        "-r",
        "__node:=other",
        "-r",
        "image:=/robot/colour",
        "-p",
        "image_transport:=compressed",
        "-p",
        "queue_size:=3",
    )
    with probing("other", "/robot/colour") as probe, started(scripted_node(*remapped)) as process:
        probe.wait_for_node(process)
        answer = probe.ask("red")
        assert answer.status == Segmentation.NO_IMAGE and "/robot/colour/compressed" in answer.detail
        bgr = np.ascontiguousarray(pictures.colours()[:, :, ::-1])
        for suffix in (".jpg", ".png"):
            picture = pictures.compressed(suffix, f"rgb8; {suffix[1:]} compressed bgr8", bgr)
            assert_masks_right(probe.ask_about(picture, "two"), "rgb8")
        garbage = CompressedImage(format="jpeg", data=b"no picture")
        probe.show_until(garbage, "red", lambda a: a.status == Segmentation.NO_IMAGE)
        probe.ask_about(pictures.compressed(".png", "png", bgr), "red")

        held = probe.send(f"gate {gate}")
        wait_at(gate)
        waiting = [probe.send("red") for _ in range(3)]
        assert probe.ask("one too many").status == Segmentation.REJECTED
        process.send_signal(signal.SIGINT)
        for identity in (held, *waiting):
            assert probe.answer_to(identity).status == Segmentation.CANCELLED
        assert process.wait() == 0
        assert "Traceback" not in process.output


def test_commands_that_have_arrived_at_a_sigint_get_their_answer() -> None:
    with probing("ended") as probe, started(scripted_node("-r", "__node:=ended")) as process:
        probe.wait_for_node(process)
        probe.ask("red")
        before = len(probe.answers)
        sent = [probe.send("red") for _ in range(300)]
        probe.wait_for_arrival()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        wait_until(lambda: len(probe.answers) - before >= len(sent), "an answer to every command")
        assert Counter(a.id for a in probe.answers[before:]) == Counter(sent)
        assert "Traceback" not in process.output


def test_nodes_in_two_namespaces_do_not_mix() -> None:
    with ExitStack() as stack:
        probes: list[Probe] = []
        processes = []
        for side in ("left", "right"):
            probe = stack.enter_context(probing(f"{side}/lisa", f"/{side}/image"))
            process = stack.enter_context(started(scripted_node("-r", f"__ns:=/{side}")))
            probe.wait_for_node(process)
            probes.append(probe)
            processes.append(process)
        left, right = probes
        left.ask_about(pictures.message("rgb8"), "red")
        assert right.ask("history").status == Segmentation.NO_IMAGE
        right.ask_about(pictures.message("rgb8"), "blue")
        assert "red" in left.ask("history").answer and "blue" not in left.ask("history").answer
        assert "blue" in right.ask("history").answer and "red" not in right.ask("history").answer
        # What strangers send is in the log, but cannot write a line of its own there, nor a long one.
        left.ask("red", "eve\nadmin: all is well")
        left.ask("blue" + "e" * 400)
        wait_until(lambda: r"'eve\nadmin: all is well': 'red' -> " in processes[0].output, "the log")
        wait_until(lambda: f"'default': 'blue{'e' * 60}' -> " in processes[0].output, "the log")


def test_sigterm_ends_an_idle_node() -> None:
    with probing("idle") as probe, started(scripted_node("-r", "__node:=idle")) as process:
        probe.wait_for_node(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
        assert "Traceback" not in process.output


def test_what_keeps_the_node_from_starting_is_said_in_one_sentence() -> None:
    wrong = {
        "checkpoint:=broken": "Could not load the checkpoint broken: ValueError: the folder has no config.json",
        "quantization:=2bit": "quantization is '2bit'; it must be one of auto, none, 8bit, 4bit",
        "queue_size:=0": "queue_size must be a whole number from 1 to 1000",
        "max_image_age:=old": "max_image_age must be a number with a decimal point",
    }
    for setting, says in wrong.items():
        with started(scripted_node("-p", setting)) as process:
            assert process.wait() == 1
            assert says in process.output
            assert "Traceback" not in process.output


@pytest.mark.parametrize("arguments", [["--nonsense"], ["-p", "x"], ["--params-file", "/no/such/file"]])
def test_a_slip_on_the_command_line_is_said_in_one_sentence(arguments: list[str]) -> None:
    with started(scripted_node(*arguments)) as process:
        assert process.wait() == 1
        assert "check what stands after --ros-args" in process.output
        assert arguments[-1] in process.output
        assert "Traceback" not in process.output


def test_the_overlay_is_made_only_while_someone_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    real = answers_module.draw_overlay

    def counted(image: np.ndarray, masks: list[np.ndarray], caption: str, labels: list[str]) -> np.ndarray:
        drawn.append(caption)
        return real(image, masks, caption, labels)

    monkeypatch.setattr(answers_module, "draw_overlay", counted)
    with talking_node("drawer") as node:
        answers = Answers(node, LiveParameters(node, lambda: False))
        encoded = EncodedFrame(Header(frame_id="camera"), pictures.colours(), None, False)
        found = ObjectMask(pixels_of(encoded.picture, "red"), (0, 5))
        outcome = Outcome(Segmentation.OK, header=encoded.header, answer="[SEG]", objects=(found,))

        def settle() -> None:
            request = Request("1", "anna", "red")
            answers.open(request)
            answers.settle(request, outcome, encoded)

        settle()
        assert drawn == []
        overlays: list[Image] = []
        node.create_subscription(Image, "/drawer/overlay", overlays.append, 10)
        wait_until(
            lambda: node.count_subscribers("/drawer/overlay") and answers._overlay.get_subscription_count(),
            "a listener",
        )
        settle()
        overlay = wait_until(lambda: overlays and overlays[-1], "the overlay")
        assert len(drawn) == 1 and "anna: red" in drawn[0]
        assert (overlay.encoding, overlay.width, overlay.header) == ("rgb8", pictures.WIDTH, encoded.header)
        answers.close(10)
