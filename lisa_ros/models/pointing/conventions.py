# SPDX-License-Identifier: Apache-2.0
"""What released checkpoints expect in their prompts, and what their coordinates mean. Imports no torch.

The prompts are those that each checkpoint was trained with, so they are kept to the letter, missing spaces and grammar
included. Sources: the public code of Seg-Zero, VisionReasoner (dvlab-research, Apache-2.0) and Seg-R1 (geshang).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lisa_ros.models.common.config_file import config_of
from lisa_ros.models.pointing.parsing import Piece, json_pieces, tagged_pieces
from lisa_ros.segmentation.errors import LisaError

Box = tuple[int, int, int, int]
Point = tuple[int, int]


@dataclass(frozen=True)
class Convention:
    """How a checkpoint is asked, and how it answers.

    Attributes:
        question: the user's text; `{command}` is replaced by the command.
        square: side of the square that the image is resized to, pixels; coordinates are those of the square. None: the
            image keeps its aspect, and coordinates are those of the input that the checkpoint's processor makes of it.
        relative: coordinates run from 0 to this over the whole width and height, whatever the image's size; None: they
            are pixels, see `square`.
        read: (text so far, whether it is final) -> pieces.
        write: (box, points) of each object -> the answer as the model would write it, for earlier turns.
        direct: begins an answer without reasoning.
        system: the system text; empty: that of the checkpoint's chat template.
        stripped: characters that the training data have not at the ends of a command; it is in lower case then.
        multimask: whether SAM 2 proposes three masks, of which the one with the highest score counts.
    """

    question: str
    square: int | None
    read: Callable[[str, bool], list[Piece]]
    write: Callable[[list[tuple[Box, Point]]], str]
    direct: str = "<answer>"
    system: str = ""
    stripped: str | None = None
    multimask: bool = True
    relative: int | None = None

    def ask(self, command: str) -> str:
        """The user's text for a command."""
        if self.stripped is not None:
            command = command.strip().lower().strip(self.stripped)
        return self.question.replace("{command}", command)


def _json_list(objects: list[tuple[Box, Point]]) -> str:
    written = (f'{{"bbox_2d": {list(box)}, "point_2d": {list(point)}}}' for box, point in objects)
    return f"<answer>[{', '.join(written)}]</answer>"


def _one_dictionary(objects: list[tuple[Box, Point]]) -> str:
    written = (
        f"{{'bbox': {list(box)}, 'points_1': {list(point)}, 'points_2': {list(point)}}}" for box, point in objects[:1]
    )
    return f"<answer>{''.join(written)}</answer>"


def _tags(objects: list[tuple[Box, Point]]) -> str:
    boxes = ", ".join(f"<bbox>{list(box)}</bbox>" for box, _ in objects)
    points, labels = [list(point) for _, point in objects], [1] * len(objects)
    return f"{boxes}, <points>{points}</points>, <labels>{labels}</labels>" if objects else ""


# For a Qwen-VL that was not trained to segment: our words, and the format of its own grounding.
_QWEN = Convention(
    "Find in the image: {command}\nSay in one sentence what it is. Then list each matching object as JSON: "
    '[{"bbox_2d": [x1, y1, x2, y2], "label": "name"}]. Write [] if there is none.',
    square=None,
    read=json_pieces,
    write=_json_list,
    direct="```json\n[",
)

CONVENTIONS: dict[str, Convention] = {
    "vision_reasoner": Convention(
        'Please find "{command}" with bboxs and points.'
        "Compare the difference between object(s) and find the most closely matched object(s)."
        "Output the thinking process in <think> </think> and final answer in <answer> </answer> tags."
        "Output the bbox(es) and point(s) inside the interested object(s) in JSON format."
        "i.e., <think> thinking process here </think>"
        '<answer>[{"bbox_2d": [10,100,200,210], "point_2d": [30,110]}, '
        '{"bbox_2d": [225,296,706,786], "point_2d": [302,410]}]</answer>',
        square=840,
        read=json_pieces,
        write=_json_list,
        stripped='."?!',
    ),
    "seg_zero": Convention(
        "Please find '{command}' with bbox and points."
        "Compare the difference between objects and find the most closely matched one."
        "Output the thinking process in <think> </think> and final answer in <answer> </answer> tags."
        "Output the one bbox and points of two largest inscribed circles inside the interested object in JSON format."
        "i.e., <think> thinking process here </think>"
        "<answer>{'bbox': [10,100,200,210], 'points_1': [30,110], 'points_2': [35,180]}</answer>",
        square=840,
        read=json_pieces,
        write=_one_dictionary,
        stripped=".",
    ),
    "seg_r1": Convention(
        "{command}",
        square=1024,
        read=tagged_pieces,
        write=_tags,
        direct="<bbox>",
        system="A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
        "The assistant first thinks about the reasoning process in the mind and then provides the user with the "
        "answer. The reasoning process should enclosed within <think> </think> tags, and the bounding box, points and "
        "points labels should be enclosed within <bbox></bbox>, <points></points>, and <labels></labels>, "
        "respectively. i.e., <think> reasoning process here </think> <bbox>[x1,y1,x2,y2]</bbox>, "
        "<points>[[x3,y3],[x4,y4],...]</points>, <labels>[1,0,...]</labels>"
        "Where 1 indicates a foreground (object) point, and 0 indicates a background point.",
        multimask=False,
    ),
    "qwen": _QWEN,
    "qwen_relative": replace(_QWEN, relative=1000),
}
"""Name, as in the model option `prompt` -> convention."""

_RELATIVE = ("qwen2_vl", "qwen3_vl")
"""model_type of those whose coordinates run from 0 to 1000. Those of Qwen2.5-VL are pixels of its input."""

_BY_NAME = (("seg-zero", "seg_zero"), ("visionreasoner", "vision_reasoner"), ("seg-r1", "seg_r1"))


def convention_for(folder: Path, wanted: str = "auto") -> Convention:
    """The convention of a checkpoint.

    Args:
        folder: the checkpoint's; "auto" reads its name, hub ids in the cache included, and then its config.json.
        wanted: "auto" or a key of CONVENTIONS.

    Raises:
        LisaError: there is no such convention.
    """
    if wanted == "auto":
        name = str(folder.resolve()).lower()
        other = "qwen_relative" if config_of(folder).get("model_type") in _RELATIVE else "qwen"
        wanted = next((convention for part, convention in _BY_NAME if part in name), other)
    if wanted not in CONVENTIONS:
        raise LisaError(f"the model option prompt is {wanted!r}; it can be auto, {', '.join(CONVENTIONS)}")
    return CONVENTIONS[wanted]
