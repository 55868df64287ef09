# SPDX-License-Identifier: Apache-2.0
"""One run over a bag: reads, answers, writes, and can be interrupted and resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lisa_ros.bags.answering import Answerer, AnswerSettings, BagAnswer
from lisa_ros.bags.commands import BagCommand, in_order
from lisa_ros.bags.frames import FramesOfCommands, Topics
from lisa_ros.bags.journal import Journal
from lisa_ros.bags.outputs.answer import overlay
from lisa_ros.bags.reading import Bag, Stored, open_bag
from lisa_ros.bags.report import Report
from lisa_ros.bags.types import deserialize
from lisa_ros.bags.video import Video
from lisa_ros.bags.writing import OutputBag, Storage, check_part
from lisa_ros.images.decoding import rgb_from
from lisa_ros.segmentation.errors import ImageError, LisaError
from lisa_ros.segmentation.files.output_folders import make_output_folder
from lisa_ros.segmentation.interface import Segmenter

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
INFO_TYPES = ("sensor_msgs/msg/CameraInfo",)
_VIDEO_HZ = 10.0
_ESTIMATED_FROM = 0.01
"""Fraction of the bag from which the remaining time is estimated."""


@dataclass(frozen=True)
class BagJob:
    """What is to be done.

    Attributes:
        source: The bag.
        output: The bag of the answers; must not exist.
        topics: The camera's topics.
        commands: What is asked.
        settings: Of the answers.
        model: What identifies the model, for resuming.
        prefix: Of the topics that are written.
        storage: Of the bag that is written.
        compress: Whether it is compressed.
        video: An .mp4; None: none is made.
        report: An .html; None: none is made.
        foxglove: Whether each answer also has Foxglove's own messages.
    """

    source: Path
    output: Path
    topics: Topics
    commands: Sequence[BagCommand]
    settings: AnswerSettings = field(default_factory=AnswerSettings)
    model: str = ""
    prefix: str = "/lisa"
    storage: Storage = "mcap"
    compress: bool = False
    video: Path | None = None
    report: Path | None = None
    foxglove: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        done: Fraction of the bag that was read, 0 to 1.
        left_s: Estimated seconds to the end; None: too little was read for an estimate.
        answer: The newest answer; None: a part of the bag was read without one.
    """

    done: float
    left_s: float | None
    answer: BagAnswer | None = None


@dataclass(frozen=True)
class Summary:
    """The result of a run.

    Attributes:
        statuses: Of each command, in order.
        resumed: How many answers an interrupted run had given already.
        bag_s: Length of the bag.
        took_s: Seconds.
        problems: One sentence for each part that could not be read.
    """

    statuses: list[str]
    resumed: int
    bag_s: float
    took_s: float
    problems: list[str]


def run_bag(job: BagJob, load: Callable[[], Segmenter], report_progress: Callable[[Progress], None]) -> Summary:
    """Answer commands about a bag and write a bag of the answers.

    After an interruption (any exception), the same job asks the model only what it was not asked before.

    Args:
        job: The job.
        load: Loads the model; called when nothing is wrong with the job.
        report_progress: Called about once a second, and after each answer.

    Raises:
        LisaError: The bag, a topic, a command or the output cannot be used.
        OSError: A file cannot be written, for example on a full disk; the text names it.
    """
    if job.output.exists():
        raise LisaError(f"{job.output} exists already; name another output, or delete it")
    make_output_folder(job.output.parent)
    check_part(job.output)
    _check_files(job)
    bag = open_bag(job.source)
    try:
        _check_topics(bag, job.topics)
        commands = in_order(job.commands, bag.start_ns, bag.end_ns)
        journal = Journal(job.output.with_name(f"{job.output.name}.answers.jsonl"), _identity(job, commands))
        try:
            return _Run(job, bag, commands, journal, load(), report_progress).run()
        finally:
            journal.close(delete=False)
    finally:
        bag.close()


def _check_files(job: BagJob) -> None:
    """What is written beside the bag, so that nobody learns after all answers that it cannot be."""
    taken = {job.output.resolve()}
    for option, file, ending in (("--video", job.video, ".mp4"), ("--report", job.report, ".html")):
        if file is None:
            continue
        if file.resolve() in taken:
            raise LisaError(f"{option} {file} is the name of another output; name a file of its own")
        if file.is_dir():
            raise LisaError(f"{option} {file} is a folder; name a file")
        if file.suffix.lower() != ending:  # a bag or a file of commands that is named by mistake is not overwritten
            raise LisaError(f"{option} {file} must end in {ending}")
        make_output_folder(file.parent)
        taken.add(file.resolve())


def _check_topics(bag: Bag, topics: Topics) -> None:
    bag.check_topic(topics.image, "--image", IMAGE_TYPES)
    if topics.depth:
        bag.check_topic(topics.depth, "--depth", IMAGE_TYPES)
    if topics.camera_info:
        bag.check_topic(topics.camera_info, "--camera-info", INFO_TYPES)


def _identity(job: BagJob, commands: Sequence[BagCommand]) -> dict[str, Any]:
    """Everything that the model's answers depend on."""
    # Not what else lies in the folder, such as the journal of an output in it.
    files = [job.source] if job.source.is_file() else sorted(one for one in job.source.iterdir() if _is_of_bag(one))
    return {
        "bag": [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files],
        "topics": [job.topics.image],
        "commands": [[one.time_s, one.operator, one.text] for one in commands],
        "settings": asdict(job.settings),
        "model": job.model,
    }


def _is_of_bag(file: Path) -> bool:
    return file.is_file() and file.suffix in (".mcap", ".db3", ".zstd", ".yaml")


class _Run:
    def __init__(
        self,
        job: BagJob,
        bag: Bag,
        commands: Sequence[BagCommand],
        journal: Journal,
        segmenter: Segmenter,
        report_progress: Callable[[Progress], None],
    ) -> None:
        self._job, self._bag, self._journal = job, bag, journal
        self._frames = FramesOfCommands(bag, job.topics, commands)
        self._answerer = Answerer(segmenter, bag, job.settings)
        self._report_progress = report_progress
        self._output = OutputBag(job.output, job.prefix, job.storage, compress=job.compress, foxglove=job.foxglove)
        self._video = Video(job.video, _VIDEO_HZ) if job.video else None
        self._page = Report() if job.report else None
        self._began_s = self._reported_s = time.monotonic()
        self._statuses: list[str] = []

    def run(self) -> Summary:
        """Everything; what was answered stays in the journal if it ends early."""
        resumed = len(self._journal.earlier)
        try:
            for one in self._frames:
                if isinstance(one, Stored):
                    self._pass(one)
                else:
                    self._answer(*one)
            if self._video:
                self._video.finish()
        except BaseException:
            self._output.abandon()
            if self._video:
                self._video.abandon()
            raise
        problems = self._problems()
        if self._page and self._job.report:
            self._page.write(self._job.report, f"Answers about {self._job.source.name}", problems)
        try:
            self._output.finish()
            self._journal.close(delete=True)
        except KeyboardInterrupt:
            # Once the bag has its name, the run is complete: an interruption must not leave the rest behind.
            if not self._job.output.exists():
                raise
            self._output.clean()
            self._journal.close(delete=True)
        bag_s, took_s = (self._bag.end_ns - self._bag.start_ns) / 1e9, time.monotonic() - self._began_s
        return Summary(self._statuses, resumed, bag_s, took_s, problems)

    def _pass(self, stored: Stored) -> None:
        """An image that nothing is asked about."""
        if self._video and self._video.wants(stored.time_ns):
            try:
                image = rgb_from(deserialize(stored.data, self._bag.types[stored.topic]))
            except ImageError:
                return
            self._video.add(image, stored.time_ns)
        if time.monotonic() > self._reported_s + 1.0:
            self._progress(None)

    def _answer(self, command: BagCommand, frame: Any) -> None:
        index = len(self._statuses)
        answer, inferred = self._answerer.answer(command, frame, self._journal.earlier.get(index))
        if inferred is not None and index not in self._journal.earlier:
            self._journal.add(index, inferred)
        types, topics = self._bag.types, self._job.topics
        self._output.add(answer, str(index + 1), types[topics.image])
        if answer.turn is not None and frame is not None:
            for name, stored in (("image", frame.image), ("depth", frame.depth), ("camera_info", frame.camera_info)):
                if stored is not None:
                    kind = types[stored.topic]
                    self._output.copy(_frame_topic(name, kind), stored, kind, answer.time_ns)
        if self._page:
            self._page.add(answer, self._bag.start_ns)
        drawn = overlay(answer) if self._video else None
        if self._video and drawn is not None:
            self._video.show(drawn)
        self._statuses.append(answer.status)
        self._progress(answer)

    def _progress(self, answer: BagAnswer | None) -> None:
        self._reported_s = time.monotonic()
        length_ns = max(1, self._bag.end_ns - self._bag.start_ns)
        done = min(1.0, max(0.0, (self._frames.now_ns - self._bag.start_ns) / length_ns))
        took_s = self._reported_s - self._began_s
        left_s = took_s * (1.0 - done) / done if done >= _ESTIMATED_FROM else None
        self._report_progress(Progress(done, left_s, answer))

    def _problems(self) -> list[str]:
        problems = list(self._bag.problems)
        if self._frames.damaged:
            problems.append(f"{self._frames.damaged} messages are damaged and were skipped.")
        return problems


def _frame_topic(name: str, kind: str) -> str:
    """As the node names them."""
    if kind.endswith("CompressedImage"):
        return f"frame/{name}/{'compressedDepth' if name == 'depth' else 'compressed'}"
    return f"frame/{name}"
