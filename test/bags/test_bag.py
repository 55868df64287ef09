# SPDX-License-Identifier: Apache-2.0
"""Commands about recorded bags: answers, the bag that is written, interruption, and damaged bags."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from recorded_bags import DEPTH, IMAGE, INFO, PERIOD_NS, START_NS, table, write_bag
from rosbags.highlevel import AnyReader
from scripted_segmenter import ScriptedSegmenter, pixels_of

from lisa_ros.bags.commands import BagCommand, parse_command, read_commands
from lisa_ros.bags.frames import Topics
from lisa_ros.bags.journal import Journal
from lisa_ros.bags.run import BagJob, Progress, Summary, run_bag
from lisa_ros.models.combined.by_name import ByNameSegmenter
from lisa_ros.segmentation.answers import Finished
from lisa_ros.segmentation.errors import LisaError

COMMANDS = (BagCommand(0.55, "ann", "two"), BagCommand(0.75, "bob", "history"), BagCommand(1.25, "ann", "history"))
ALL = Topics(IMAGE, DEPTH, INFO)


def run(source: Path, output: Path, segmenter: Any = None, **changes: Any) -> Summary:
    job = BagJob(source, output, ALL, COMMANDS)
    return run_bag(dataclasses.replace(job, **changes), lambda: segmenter or ScriptedSegmenter(), lambda _: None)


def written(bag: Path) -> dict[str, list[tuple[int, Any]]]:
    """Topic -> times and messages; the reader knows only what the bag itself defines."""
    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([bag]) as reader:
        for connection, time_ns, data in reader.messages():
            found.setdefault(connection.topic, []).append((time_ns, reader.deserialize(data, connection.msgtype)))
    return found


def _not_loaded() -> Any:
    raise AssertionError("the model is loaded although the job is wrong")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "recorded")


@pytest.mark.parametrize(
    ("storage", "compression"),
    [
        ("mcap", ""),
        ("mcap", "storage"),
        ("mcap", "message"),
        ("sqlite3", ""),
        ("sqlite3", "file"),
        ("sqlite3", "message"),
    ],
)
def test_each_command_is_answered_with_the_frame_of_its_time(tmp_path: Path, storage: str, compression: str) -> None:
    source = write_bag(tmp_path / "in", storage=storage, compression=compression)
    summary = run(source, tmp_path / "out", storage="mcap" if storage == "sqlite3" else "sqlite3", compress=True)
    assert summary.statuses == ["OK", "NO_OBJECT", "NO_OBJECT"] and summary.problems == []
    found = written(tmp_path / "out")
    # Messages are recorded 2 ms after their stamps: at 0.55 s after the first one, image 5 is the newest.
    stamps = [one.header.stamp.sec * 10**9 + one.header.stamp.nanosec for _, one in found["/lisa/segmentation"]]
    assert stamps == [START_NS + number * PERIOD_NS for number in (5, 7, 12)]
    assert [time_ns for time_ns, _ in found["/lisa/segmentation"]] == [
        START_NS + 2_000_000 + round(command.time_s * 1e9) for command in COMMANDS
    ]
    _, answer = found["/lisa/segmentation"][0]
    red = pixels_of(table(), "red")
    assert np.array_equal(answer.objects[0].mask.data.reshape(red.shape) > 0, red)
    assert answer.objects[0].pixels == red.sum() and answer.explanation == "The red ① and the blue ②."
    assert answer.objects[0].located and answer.objects[0].pose.position.z == pytest.approx(0.8)
    assert found["/lisa/pose"][0][1].pose.position.z == pytest.approx(0.8)
    assert found["/lisa/frame/image"][0][1].header.stamp.nanosec == answer.header.stamp.nanosec
    assert len(found["/lisa/points"][0][1].data) == 16 * found["/lisa/points"][0][1].width
    # Each operator has a dialogue.
    assert [one.answer for _, one in found["/lisa/segmentation"]][1:] == ["History: ", "History: two"]


def test_images_of_mixed_encodings_and_compressed_images_are_read(tmp_path: Path) -> None:
    mixed = write_bag(tmp_path / "mixed", encodings=("rgb8", "bgr8"))
    run(mixed, tmp_path / "out", commands=(BagCommand(0.55, "a", "two"), BagCommand(0.65, "a", "two")))
    first, second = (one for _, one in written(tmp_path / "out")["/lisa/segmentation"])
    assert np.array_equal(first.objects[0].mask.data, second.objects[0].mask.data)
    jpeg = write_bag(tmp_path / "jpeg", encodings=("jpeg",))
    summary = run(jpeg, tmp_path / "out2", topics=Topics(f"{IMAGE}/compressed"))
    assert summary.statuses[0] == "OK"
    assert "/lisa/frame/image/compressed" in written(tmp_path / "out2")


def test_depth_is_that_of_the_image(tmp_path: Path) -> None:
    """Nineteen depth images come after that of the image, before the last command. Another camera's does not count."""
    source = write_bag(tmp_path / "in", images=20, size=(160, 120), image_every=20)
    commands = tuple(BagCommand(time_s, "ann", "two") for time_s in (0.05, 1.0, 1.88))
    run(source, tmp_path / "out", commands=commands)
    answers = [one for _, one in written(tmp_path / "out")["/lisa/segmentation"]]
    assert [one.objects[0].location_detail for one in answers] == ["", "", ""]
    assert all(one.objects[0].located for one in answers)
    other = write_bag(tmp_path / "other", images=3, size=(160, 120), depth_frame="depth_optical")
    run(other, tmp_path / "out2", commands=(BagCommand(0.15, "ann", "two"),))
    ((_, answer),) = written(tmp_path / "out2")["/lisa/segmentation"]
    assert not answer.objects[0].located and "has frame_id 'depth_optical'" in answer.objects[0].location_detail


class Interrupted(ScriptedSegmenter):
    """Ctrl-C during the third command."""

    def session(self, *arguments: Any, **options: Any) -> Any:
        if self.asked == 2:
            raise KeyboardInterrupt
        self.asked += 1
        return super().session(*arguments, **options)

    asked = 0


def test_an_interrupted_run_goes_on_and_the_model_is_not_asked_twice(tmp_path: Path, recorded: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(recorded, tmp_path / "out", Interrupted())
    assert not (tmp_path / "out").exists()
    journal = tmp_path / "out.answers.jsonl"
    journal.write_text(journal.read_text() + '{"index": 2, "answ')  # as a power cut leaves it
    with pytest.raises(LisaError, match=r"from another run \(different: commands\)"):
        run(recorded, tmp_path / "out", commands=COMMANDS[:2])
    resumed = Interrupted()
    resumed.asked = 1  # one more command, not two
    summary = run(recorded, tmp_path / "out", resumed)
    assert summary.resumed == 2 and resumed.asked == 2
    assert {file.name for file in tmp_path.iterdir()} == {"out"}
    run(recorded, tmp_path / "whole")
    whole, parts = written(tmp_path / "whole"), written(tmp_path / "out")
    for (_, one), (_, other) in zip(whole["/lisa/segmentation"], parts["/lisa/segmentation"], strict=True):
        assert (one.answer, one.turn, one.header.stamp.nanosec) == (
            other.answer,
            other.turn,
            other.header.stamp.nanosec,
        )
        assert [o.mask.data.tobytes() for o in one.objects] == [o.mask.data.tobytes() for o in other.objects]
    with pytest.raises(LisaError, match="exists already"):
        run(recorded, tmp_path / "out")


def test_after_an_error_before_the_first_answer_the_command_may_be_corrected(tmp_path: Path, recorded: Path) -> None:
    def fail() -> ScriptedSegmenter:
        raise LisaError("no such checkpoint")

    with pytest.raises(LisaError, match="no such checkpoint"):
        run_bag(BagJob(recorded, tmp_path / "out", ALL, COMMANDS, model="wrong"), fail, lambda progress: None)
    assert not (tmp_path / "out.answers.jsonl").exists()
    job = BagJob(recorded, tmp_path / "out", ALL, COMMANDS, model="wrong")
    (tmp_path / "out.answers.jsonl").write_text('{"run": "of a process that was killed"}\n')
    assert run_bag(job, ScriptedSegmenter, lambda progress: None).resumed == 0


def test_an_interrupted_run_keeps_its_answers_where_the_disk_is_full_or_the_journal_damaged(
    tmp_path: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(recorded, tmp_path / "out", Interrupted())
    journal = tmp_path / "out.answers.jsonl"
    kept = journal.read_bytes()
    with monkeypatch.context() as full, pytest.raises(OSError, match="No space left"):
        full.setattr(Journal, "_write", fail_to_write)
        run(recorded, tmp_path / "out", Interrupted())
    assert journal.read_bytes() == kept, "answers must stay in the file while it is opened"
    journal.write_bytes(kept + b'{"index": 2, "bits": "\xff\x00\n[]\n')
    assert run(recorded, tmp_path / "out", ScriptedSegmenter()).resumed == 2


def fail_to_write(journal: Journal, entry: Any) -> None:
    raise OSError(28, "No space left on device")


def test_two_runs_with_the_same_output_are_refused(tmp_path: Path, recorded: Path) -> None:
    def load() -> ScriptedSegmenter:
        with pytest.raises(LisaError, match=r"another process is writing .*out\.answers\.jsonl now"):
            run(recorded, tmp_path / "out")
        return ScriptedSegmenter()

    run_bag(BagJob(recorded, tmp_path / "out", ALL, COMMANDS), load, lambda progress: None)
    assert {file.name for file in tmp_path.iterdir()} == {"out"}


def test_a_run_with_its_output_in_the_folder_of_its_bag_is_resumed(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "in", images=20)
    with pytest.raises(KeyboardInterrupt):
        run(source, source / "out", Interrupted())
    assert run(source, source / "out", ScriptedSegmenter()).resumed == 2


@pytest.mark.parametrize(("where", "when"), [("rename", "after"), ("rmdir", "before"), ("unlink", "after")])
def test_an_interruption_after_the_bag_has_its_name_leaves_nothing_behind(
    tmp_path: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch, where: str, when: str
) -> None:
    act = getattr(Path, where)
    calls: list[Path] = []

    def interrupted(path: Path, *arguments: Any, **options: Any) -> Any:
        calls.append(path)
        if len(calls) == 1 and when == "before":
            raise KeyboardInterrupt
        done = act(path, *arguments, **options)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Path, where, interrupted)
    assert run(recorded, tmp_path / "out").statuses
    assert calls and {file.name for file in tmp_path.iterdir()} == {"out"}
    assert "/lisa/segmentation" in written(tmp_path / "out")


class InterruptedOnce(ScriptedSegmenter):
    """Ctrl-C during the first command."""

    begun = False

    def session(self, *arguments: Any, **options: Any) -> Any:
        if not self.begun:
            self.begun = True
            raise KeyboardInterrupt
        return super().session(*arguments, **options)


class Noting(ScriptedSegmenter):
    """It says of each command what it cannot do of it."""

    def session(self, *arguments: Any, **options: Any) -> Any:
        session = super().session(*arguments, **options)
        segment = session.segment

        def noted(*said: Any, **how: Any) -> Any:
            for event in segment(*said, **how):
                yield dataclasses.replace(event, note="One is left out.") if isinstance(event, Finished) else event

        session.segment = noted
        return session


def test_with_two_models_each_answer_says_which_one_answered_also_after_an_interruption(
    tmp_path: Path, recorded: Path
) -> None:
    both = ByNameSegmenter(InterruptedOnce(name="reasoning"), Noting(name="names"))
    commands = (BagCommand(0.55, "a", "the red mug"), BagCommand(0.75, "a", "something blue"))
    with pytest.raises(KeyboardInterrupt):
        run(recorded, tmp_path / "out", both, commands=commands)
    assert run(recorded, tmp_path / "out", both, commands=commands).resumed == 1
    answers = [one for _, one in written(tmp_path / "out")["/lisa/segmentation"]]
    said = [(one.status, one.model, one.detail) for one in answers]
    assert said == [(0, "names", "One is left out."), (0, "reasoning", "")]
    run(recorded, tmp_path / "alone", commands=commands)
    assert {one.model for _, one in written(tmp_path / "alone")["/lisa/segmentation"]} == {"scripted"}


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_what_is_left_of_a_truncated_bag_is_used(tmp_path: Path, storage: str) -> None:
    source = write_bag(tmp_path / "in", storage=storage, images=40)
    (file,) = (one for one in source.iterdir() if one.suffix in (".mcap", ".db3"))
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    (source / "metadata.yaml").unlink()
    summary = run(source, tmp_path / "out")
    assert summary.statuses == ["OK", "NO_OBJECT", "NO_OBJECT"]
    assert any("was not recorded to its end, or lost its index" in problem for problem in summary.problems)
    assert any("cannot be read after its message of" in problem for problem in summary.problems)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_without_index_is_read(tmp_path: Path, storage: str) -> None:
    source = write_bag(tmp_path / "in", storage=storage)
    (source / "metadata.yaml").unlink()
    (file,) = source.iterdir()
    assert run(source, tmp_path / "out").statuses[0] == "OK"
    assert run(file, tmp_path / "out2").statuses[0] == "OK"


def test_wrong_topics_bags_and_commands_are_refused_with_what_would_be_right(tmp_path: Path, recorded: Path) -> None:
    for topics, sentence in (
        (Topics("/camera/imgae"), f"--image /camera/imgae is not in the bag; .* are: {DEPTH}, {IMAGE}$"),
        (Topics(INFO), f"--image {INFO} is of type sensor_msgs/msg/CameraInfo; .*"),
        (Topics(IMAGE, camera_info=DEPTH), f"--camera-info {DEPTH} is of type .* are: {INFO}$"),
    ):
        with pytest.raises(LisaError, match=sentence):
            run(recorded, tmp_path / "out", topics=topics)
    with pytest.raises(LisaError, match=r"the command at 99 s .* is outside the bag, which is 1\.9 s long"):
        run(recorded, tmp_path / "out", commands=(BagCommand(99.0, "a", "red"),))
    with pytest.raises(LisaError, match=r"the command at 1800000000\.5 s"):
        run(recorded, tmp_path / "out", commands=(BagCommand(1_800_000_000.5, "a", "red"),))
    (tmp_path / "text.mcap").write_text("no bag")
    with pytest.raises(LisaError, match=r"nothing can be read of .*text\.mcap, which must be a rosbag2 folder"):
        run(tmp_path / "text.mcap", tmp_path / "out")
    with pytest.raises(LisaError, match="there is no bag"):
        run_bag(BagJob(tmp_path / "none", tmp_path / "out", ALL, COMMANDS), _not_loaded, lambda _: None)
    assert not (tmp_path / "out").exists()


def test_an_image_that_cannot_be_used_is_an_answer(tmp_path: Path, recorded: Path) -> None:
    summary = run(recorded, tmp_path / "out", topics=Topics(DEPTH), report=tmp_path / "report.html")
    assert summary.statuses == ["NO_IMAGE"] * 3
    answers = [one for _, one in written(tmp_path / "out")["/lisa/segmentation"]]
    assert all("16UC1" in one.detail for one in answers)
    assert (tmp_path / "report.html").read_text().count("NO_IMAGE") >= 3


def test_commands_are_read_as_they_are_written(tmp_path: Path) -> None:
    assert parse_command("12.5s operator1: the red mug") == BagCommand(12.5, "operator1", "the red mug")
    assert parse_command("3 what is left of it: the mug?") == BagCommand(3.0, "default", "what is left of it: the mug?")
    assert BagCommand(1.7e9, "a", "b").time_ns(START_NS) == START_NS
    file = tmp_path / "commands.txt"
    file.write_text("# times\n1 a: x\n\nno time\n")
    with pytest.raises(LisaError, match="line 4: 'no time' is not a command with its time"):
        read_commands(file)
    file.write_bytes(b"\xef\xbb\xbf1 a: x\n")  # with a byte order mark, as editors on Windows save it
    assert read_commands(file) == [BagCommand(1.0, "a", "x")]
    file.write_bytes("1 a: das Gef\xe4\xdf\n".encode("latin-1"))
    with pytest.raises(LisaError, match=r"commands\.txt is not UTF-8 text"):
        read_commands(file)


def test_files_beside_the_bag_that_cannot_be_written_are_refused_before_the_model_is_loaded(
    tmp_path: Path, recorded: Path
) -> None:
    (tmp_path / "file").touch()
    for files, sentence in (
        ({"report": tmp_path / "out"}, "--report .*out is the name of another output"),
        ({"video": tmp_path / "a.mp4", "report": tmp_path / "a.mp4"}, "--report .* is the name of another output"),
        ({"report": tmp_path}, "--report .* is a folder; name a file"),
        ({"report": recorded / "metadata.yaml"}, r"--report .*metadata\.yaml must end in \.html"),
        ({"report": tmp_path / "file" / "r.html"}, "file is a file; name a folder"),
        ({"video": tmp_path / "film.avi"}, r"--video .*film\.avi must end in \.mp4"),
    ):
        job = BagJob(recorded, tmp_path / "out", ALL, COMMANDS, **files)
        with pytest.raises(LisaError, match=sentence):
            run_bag(job, _not_loaded, lambda _: None)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file"], "nothing is left of a refused run"
    run(recorded, tmp_path / "out", report=tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").is_file()


def test_video_report_and_progress(tmp_path: Path, recorded: Path) -> None:
    seen: list[Progress] = []
    job = BagJob(recorded, tmp_path / "out", ALL, COMMANDS, video=tmp_path / "v.mp4", report=tmp_path / "r.html")
    run_bag(job, ScriptedSegmenter, seen.append)
    assert [round(one.done, 2) for one in seen if one.answer] == sorted(
        round(one.done, 2) for one in seen if one.answer
    )
    assert len([one for one in seen if one.answer]) == 3 and all((one.left_s or 0) >= 0 for one in seen)
    video = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    # 1.9 s of the camera and 2 s for each answer, 10 images a second.
    assert 75 <= video.get(cv2.CAP_PROP_FRAME_COUNT) <= 82
    page = (tmp_path / "r.html").read_text()
    assert "The red ① and the blue ②." in page and page.count("<img") == 3


def test_a_copied_bag_is_the_same_to_every_reader(tmp_path: Path, recorded: Path) -> None:
    run(recorded, tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "out.mcap").is_file()
    with AnyReader([tmp_path / "elsewhere"]) as reader:
        (answers,) = [one for one in reader.connections if one.topic == "/lisa/segmentation"]
    assert "MSG: lisa_ros/ObjectMask" in answers.msgdef.data
    pytest.importorskip("rclpy")
    from rclpy.serialization import deserialize_message

    from lisa_ros.msg import Segmentation

    with AnyReader([tmp_path / "elsewhere"]) as reader:
        data = next(data for one, _, data in reader.messages() if one.topic == "/lisa/segmentation")
    assert deserialize_message(bytes(data), Segmentation).objects[0].pixels > 0
