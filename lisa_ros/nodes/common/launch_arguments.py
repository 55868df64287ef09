# SPDX-License-Identifier: Apache-2.0
"""The launch files' arguments: their tables, and checks before anything is started. Imported by them alone."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import launch.logging
from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument

from launch import LaunchContext
from lisa_ros.segmentation.errors import LisaError

_TRUE, _FALSE = ("true", "1"), ("false", "0")
_LAUNCH_OWN = ("launch-prefix", "launch-prefix-filter", "emulate_tty", "sigterm_timeout", "sigkill_timeout")
"""Arguments of every launch file, which `launch` itself reads."""
_OF_ROS = "ros_namespace"
"""Set by PushROSNamespace, beside the arguments."""
_CLOSE = 0.75
"""Similarity (difflib's ratio, 0 to 1) from which an unknown name counts as a typing error."""


@dataclass(frozen=True)
class Argument:
    """A launch argument.

    Attributes:
        default: its text if it is not given; None: it must be given.
        description: for --show-args.
        kind: str, bool, int or float. An empty text that is the default has no kind.
        choices: the valid texts; empty: any.
        bounds: the least and the largest number; None: any.
    """

    default: str | None
    description: str
    kind: type = str
    choices: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None


def _of_node(description: str, *choices: str, kind: type = str) -> Argument:
    return Argument("", f"{description} Empty: as params_file says.", kind, choices)


def config_file(name: str) -> str:
    """The path of a file in the package's config folder."""
    return str(Path(get_package_share_directory("lisa_ros")) / "config" / name)


PARAMETERS: dict[str, Argument] = {
    "checkpoint": _of_node(
        "Folder or Hugging Face id of the checkpoint, or a server: lisa://HOST:PORT/MODEL. Without one, the node runs "
        "the embedded demonstration model."
    ),
    "vision_tower": _of_node("Folder or Hugging Face id of CLIP, instead of what the checkpoint's config.json names."),
    "template": _of_node(
        "Conversation template of the checkpoint: llava_v1 or llava_llama_2.", "llava_v1", "llava_llama_2"
    ),
    "quantization": _of_node("Quantization of the weights: auto, none, 8bit or 4bit.", "auto", "none", "8bit", "4bit"),
    "device": _of_node("Device of the model: auto, cpu or cuda.", "auto", "cpu", "cuda"),
    "image_transport": _of_node("How images are sent: raw or compressed.", "raw", "compressed"),
    "depth_transport": _of_node("How depth is sent: raw or compressedDepth.", "raw", "compressedDepth"),
    "use_depth": _of_node("false: depth topics are not subscribed and results have no 3-D position.", kind=bool),
    "use_sim_time": _of_node("true: the clock is /clock, as with Gazebo, Isaac Sim or a played bag.", kind=bool),
}
"""Launch arguments that are parameters of lisa_node. Not given: as the parameter file has it."""

_LEVELS = ("debug", "info", "warn", "error", "fatal")
PROCESS: dict[str, Argument] = {
    "respawn": Argument("true", "Restart a node that ends by itself.", bool),
    "respawn_delay": Argument("5.0", "Seconds between a node's end and its restart.", float),
    "log_level": Argument("info", "Lowest level of log lines: debug, info, warn, error or fatal.", choices=_LEVELS),
}
"""Launch arguments about the nodes' processes."""

PARAMS_FILE, FASTDDS_PROFILE = "params_file", "fastdds_profile"
NODE: dict[str, Argument] = {
    PARAMS_FILE: Argument(config_file("lisa.yaml"), "Parameter file of lisa_node."),
    **PARAMETERS,
    **PROCESS,
    FASTDDS_PROFILE: Argument(
        config_file("fastdds.xml"),
        "Fast DDS profile for large images; empty: Fast DDS's own defaults. "
        "A profile that the terminal has set already is kept.",
    ),
}
"""The launch arguments that each launch file has."""

CONSOLE: dict[str, Argument] = {
    "console": Argument("false", "true: also start the operators' page (docs/operators.md).", bool),
    "console_host": Argument(
        "127.0.0.1", "Address that the page listens on; any but this machine's own needs a token, which is printed."
    ),
    "console_port": Argument("8080", "TCP port of the page; 0: any free one.", int, bounds=(0, 65535)),
}
"""Launch arguments about the console."""


def camera_topics(image: str = "Topic of the colour camera.") -> dict[str, Argument]:
    """The launch arguments that are topics: lisa_node's own names for its inputs.

    Args:
        image: the description of the first.
    """
    return {
        "image": Argument("image", image),
        "depth": Argument("depth", "Topic of depth images that are registered to the colour image."),
        "camera_info": Argument("camera_info", "Topic of the colour camera's intrinsics."),
    }


def declare(arguments: Mapping[str, Argument]) -> list[DeclareLaunchArgument]:
    """The arguments as a launch description has them."""
    return [
        DeclareLaunchArgument(name, default_value=argument.default, description=argument.description)
        for name, argument in arguments.items()
    ]


def check_arguments(context: LaunchContext, file: str, arguments: Mapping[str, Argument]) -> None:
    """Checks all arguments before anything is started: what `launch` refuses later leaves processes behind.

    A name that the launch file does not have is refused where it was typed for this file. Where another launch file
    includes this one, that file may have its own arguments, so that a similar name is only a line in the log.

    Args:
        context: has every argument that was given, those of an including launch file too.
        file: the launch file's `__file__`.
        arguments: the launch file's arguments.

    Raises:
        LisaError: one does not exist, or has a value of another kind, or names a file that does not exist.
    """
    typed = {text.split(":=")[0] for text in context.argv if ":=" in text} - set(_LAUNCH_OWN)
    included = Path(file).name not in {Path(text).name for text in sys.argv}
    for name in context.launch_configurations:
        if name in arguments or name == _OF_ROS:
            continue
        meant = difflib.get_close_matches(name, list(arguments), n=1, cutoff=_CLOSE)
        sentence = f"There is no launch argument {name!r} in {Path(file).name}" + (
            f"; is {meant[0]!r} meant?" if meant else "; --show-args lists them."
        )
        if name in typed and not included:
            raise LisaError(sentence)
        if meant:
            launch.logging.get_logger("launch.user").info(sentence)
    for name, argument in arguments.items():
        _check_value(name, argument, context.launch_configurations[name])


def is_true(text: str) -> bool:
    """Whether the text of a checked argument of kind bool means true."""
    return text.strip().lower() in _TRUE


def _check_value(name: str, argument: Argument, text: str) -> None:
    if text == "" and (argument.default == "" or name == FASTDDS_PROFILE):
        return
    if name == FASTDDS_PROFILE or name.endswith(PARAMS_FILE):
        if not Path(text).is_file():
            raise LisaError(f"{name} is {text!r}, and there is no such file")
    elif argument.choices and (text.lower() if argument.choices is _LEVELS else text) not in argument.choices:
        raise LisaError(f"{name} is {text!r}; it must be one of {', '.join(argument.choices)}")
    elif wanted := _wrong_kind(argument, text):
        raise LisaError(f"{name} is {text!r}; it must be {wanted}")


def _wrong_kind(argument: Argument, text: str) -> str:
    """What a text would have to be, where it is something else; empty: it is of its kind and within its bounds."""
    if argument.kind is bool:
        return "" if text.strip().lower() in (*_TRUE, *_FALSE) else "true or false"
    between = "" if argument.bounds is None else f" from {argument.bounds[0]} to {argument.bounds[1]}"
    try:
        number = argument.kind(text)
        right = argument.bounds is None or argument.bounds[0] <= number <= argument.bounds[1]
    except ValueError:
        right = False
    return "" if right else f"a {'whole ' if argument.kind is int else ''}number{between}"
