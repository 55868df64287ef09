# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: names, defaults, meanings and bounds, in this one table.

config/lisa.yaml repeats the defaults for people to edit; a test compares the two.
"""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter


class ParameterError(ValueError):
    """A parameter with a value that cannot be used; the text names it and what would be right."""


@dataclass(frozen=True)
class Bounds:
    """What is known of a parameter besides its name and default.

    Attributes:
        read_only: read when the process starts.
        at_configure: read when the node is configured; cannot be changed until it is cleaned up.
    """

    description: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    read_only: bool = False
    at_configure: bool = False


def _fixed(default: str | bool, description: str, *choices: str) -> Any:
    """Read once, when the process starts."""
    return field(default=default, metadata={"bounds": Bounds(description, choices, read_only=True)})


def _configured(default: str, description: str, *choices: str) -> Any:
    """A text that is read when the node is configured."""
    return field(default=default, metadata={"bounds": Bounds(description, choices, at_configure=True)})


def _configured_number(default: int, description: str, minimum: int, maximum: int) -> Any:
    """A number that is read when the node is configured."""
    return field(default=default, metadata={"bounds": Bounds(description, (), minimum, maximum, at_configure=True)})


def _switch(default: bool, description: str) -> Any:
    """True or false, which may be changed while the node runs."""
    return field(default=default, metadata={"bounds": Bounds(description)})


def _choice(default: str, description: str, *choices: str) -> Any:
    """A text that may be changed while the node runs."""
    return field(default=default, metadata={"bounds": Bounds(description, choices)})


def _number(default: float, description: str, minimum: float, maximum: float) -> Any:
    """A number that may be changed while the node runs."""
    return field(default=default, metadata={"bounds": Bounds(description, (), minimum, maximum)})


@dataclass(frozen=True)
class NodeParameters:
    """The parameters' values at one moment."""

    autostart: bool = _fixed(True, "Configure and activate at once. False: somebody else manages the node's lifecycle.")
    checkpoint: str = _configured(
        "", "Folder of the LISA checkpoint. Empty: the small one that comes with the package."
    )
    quantization: str = _configured(
        "auto",
        "How the language model's weights are held. auto: as `lisa convert` wrote the checkpoint, else none.",
        "auto",
        "none",
        "8bit",
        "4bit",
    )
    precision: str = _configured("auto", "Number format of the computation.", "auto", "fp32", "bf16", "fp16")
    device: str = _configured("auto", "Where the model runs.", "auto", "cpu", "cuda")
    template: str = _configured(
        "llava_v1", "Prompt template the checkpoint was trained with.", "llava_v1", "llava_llama_2"
    )
    vision_tower: str = _configured("", "Folder of CLIP. Empty: the one that the checkpoint's config.json names.")
    image_transport: str = _fixed("raw", "Subscribe to `image` or to `image/compressed`.", "raw", "compressed")
    use_depth: bool = _fixed(
        True,
        "Subscribe to `depth` and `camera_info`. False: their transport is spared, and nothing has a place in metres.",
    )
    cache_mib: int = _configured_number(
        -1,
        "Memory for what the model has read, MiB, so that nothing is read twice. -1: 1024, on a GPU at most 5 % of it.",
        -1,
        1_000_000,
    )
    threads: int = _configured_number(
        0,
        "CPU threads of the model. 0 (auto): the number that is fastest on this machine, measured when it is loaded.",
        0,
        1024,
    )
    dialogue_file: str = _fixed(
        "auto",
        "SQLite file of the dialogues. auto: one of the node's own under ROS_HOME (~/.ros). Empty: in memory alone.",
    )
    concurrent_commands: int = _configured_number(
        4, "Commands of different operators that are answered at the same time.", 1, 16
    )
    answer: str = _choice(
        "full", "What commands get that do not say it: words and masks, or one mask and no words.", "full", "mask_only"
    )
    max_new_tokens: int = _number(512, "Longest answer, tokens.", 1, 4096)
    min_score: float = _number(
        0.0, "Lowest score of a mask that counts as an object. 0: all do. Masks without a score always do.", 0.0, 1.0
    )
    max_image_age: float = _number(
        5.0,
        "Oldest picture that is answered about, seconds before the command's stamp, or before now. 0: any.",
        0.0,
        1e9,
    )
    command_frame: str = _choice(
        "newest",
        "Picture that a command with a stamp is about: the newest when its turn comes, or the nearest to its stamp.",
        "newest",
        "nearest",
    )
    frame_buffer: float = _number(
        1.0, "How far back pictures are kept for command_frame nearest, seconds; 64 pictures at most.", 0.0, 60.0
    )
    follow_up_frame: str = _choice(
        "newest",
        "Picture that a dialogue's further turns are about: as the first, or always that of its first turn.",
        "newest",
        "dialogue",
    )
    sync_tolerance: float = _number(
        0.02, "Depth and camera_info belong to a picture whose stamp is no farther away, seconds.", 0.0, 10.0
    )
    depth_wait: float = _number(
        0.03,
        "Longest wait for a picture's depth image where such images come, seconds; more, where depth is late. Masks do"
        " not wait for it.",
        0.0,
        10.0,
    )
    image_rectified: bool = _switch(
        False, "Pictures are without the lens's distortion: of camera_info, P counts, not K and D."
    )
    points_organised: bool = _switch(
        False, "`~/points` has a point for every pixel, NaN outside of the object. False: the object's points alone."
    )
    track: bool = _switch(True, "Follow the answered object on `~/tracked/*` while someone listens there.")
    track_again_after: float = _number(
        5.0,
        "Seconds after which the model looks again for the object that is followed, when no command waits. 0: never.",
        0.0,
        1e9,
    )
    same_frame_difference: float = _number(
        6.0,
        "Largest difference, in levels of 255, up to which a new picture counts as the one the model has looked at."
        " 0: only an identical picture does.",
        0.0,
        255.0,
    )
    queue_size: int = _number(16, "Commands that may wait; those beyond it are rejected.", 1, 1000)
    queue_policy: str = _choice(
        "queue",
        "Commands that wait when their operator sends another: are answered in order, or are cancelled.",
        "queue",
        "latest_wins",
    )
    max_text_length: int = _number(500, "Longest command, characters.", 1, 100_000)
    max_turns: int = _number(
        8, "Turns of each operator's dialogue that are kept. 0: every command stands alone.", 0, 100
    )
    max_dialogue_tokens: int = _number(
        0,
        "Tokens of the model's context that a dialogue's earlier turns may take; the oldest are left out, each as a"
        " whole. 0: as many as it holds.",
        0,
        100_000,
    )
    max_operators: int = _number(
        16, "Operators whose dialogues are kept; the one silent longest is forgotten.", 1, 1000
    )
    max_dialogue_idle: float = _number(0.0, "Minutes after which a silent dialogue is forgotten. 0: never.", 0.0, 1e9)


class LiveParameters:
    """The parameters of one node: declared, checked, and kept up to date while it runs."""

    def __init__(self, node: Node, is_configured: Callable[[], bool]) -> None:
        """Declare all of them on the node.

        Args:
            node: the node.
            is_configured: whether what is read at configure is in use.

        Raises:
            ParameterError: a value from the command line or a file is wrong.
        """
        self._is_configured = is_configured
        for entry in dataclasses.fields(NodeParameters):
            _declare(node, entry)
        self.current = NodeParameters(
            **{e.name: node.get_parameter(e.name).value for e in dataclasses.fields(NodeParameters)}
        )
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._take_over)

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            for parameter in parameters:
                check_choice(parameter.name, parameter.value)
                self._check_moment(parameter.name)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _check_moment(self, name: str) -> None:
        bounds = FIELD_BOUNDS.get(name)
        if bounds and bounds.at_configure and self._is_configured():
            raise ParameterError(f"Parameter {name} is read when the node is configured; clean the node up first.")

    def _take_over(self, parameters: list[Parameter]) -> None:
        changed = {parameter.name: parameter.value for parameter in parameters if parameter.name in FIELD_BOUNDS}
        self.current = dataclasses.replace(self.current, **changed)


def check_choice(name: str, value: object) -> None:
    """Refuse a text that is not one of the parameter's choices; rclpy itself checks types and ranges."""
    bounds = FIELD_BOUNDS.get(name)
    if bounds and bounds.choices and value not in bounds.choices:
        raise ParameterError(f"Parameter {name} is {value!r}; it must be one of {', '.join(bounds.choices)}.")


def descriptor(name: str) -> ParameterDescriptor:
    """What `ros2 param describe` shows of a parameter."""
    bounds = FIELD_BOUNDS[name]
    return ParameterDescriptor(
        name=name,
        description=bounds.description,
        additional_constraints=f"One of: {', '.join(bounds.choices)}" if bounds.choices else "",
        read_only=bounds.read_only,
        integer_range=list(_range(IntegerRange, int, bounds)) if _TYPES[name] is int else [],
        floating_point_range=list(_range(FloatingPointRange, float, bounds)) if _TYPES[name] is float else [],
    )


def _range(message: Any, kind: type, bounds: Bounds) -> Iterable[Any]:
    if bounds.minimum is not None and bounds.maximum is not None:
        yield message(from_value=kind(bounds.minimum), to_value=kind(bounds.maximum))


def _declare(node: Node, entry: dataclasses.Field[Any]) -> None:
    try:
        value = node.declare_parameter(entry.name, entry.default, descriptor(entry.name)).value
    except ParameterException as error:
        bounds = FIELD_BOUNDS[entry.name]
        limits = f" from {bounds.minimum:g} to {bounds.maximum:g}" if bounds.maximum is not None else ""
        kind = {
            "int": "a whole number",
            "float": "a number with a decimal point",
            "str": "a text",
            "bool": "true or false",
        }[type(entry.default).__name__]
        raise ParameterError(f"Parameter {entry.name} must be {kind}{limits} ({error}).") from error
    check_choice(entry.name, value)


FIELD_BOUNDS: dict[str, Bounds] = {entry.name: entry.metadata["bounds"] for entry in dataclasses.fields(NodeParameters)}
_TYPES: dict[str, type] = {entry.name: type(entry.default) for entry in dataclasses.fields(NodeParameters)}
