# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: names, defaults, descriptions and bounds.

config/lisa.yaml repeats the defaults for users to edit; a test compares the two.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.spatial.grips.grip import GRIP_STRATEGIES


class ParameterError(LisaError):
    """A parameter has an invalid value; the text names the parameter and the valid values."""


@dataclass(frozen=True)
class Bounds:
    """The description and the valid values of a parameter.

    Attributes:
        description: For `ros2 param describe` and docs/parameters.md.
        choices: The valid texts; empty: any.
        minimum: The smallest valid number; None: it is not a number.
        maximum: The largest valid number; None: it is not a number.
        read_only: Read once, when the process starts.
        at_configure: Read when the node is configured; it cannot be changed until the node is cleaned up.
    """

    description: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    read_only: bool = False
    at_configure: bool = False


def _fixed(default: str | bool, description: str, *choices: str) -> Any:
    """A parameter that is read once, when the process starts."""
    return field(default=default, metadata={"bounds": Bounds(description, choices, read_only=True)})


def _configured(default: str, description: str, *choices: str) -> Any:
    """A text that is read when the node is configured."""
    return field(default=default, metadata={"bounds": Bounds(description, choices, at_configure=True)})


def _configured_number(default: float, description: str, minimum: float, maximum: float) -> Any:
    """A number that is read when the node is configured."""
    return field(default=default, metadata={"bounds": Bounds(description, (), minimum, maximum, at_configure=True)})


def _configured_flag(default: bool, description: str) -> Any:
    """A boolean that is read when the node is configured."""
    return field(default=default, metadata={"bounds": Bounds(description, at_configure=True)})


def _switch(default: bool, description: str) -> Any:
    """A boolean that may be changed while the node runs."""
    return field(default=default, metadata={"bounds": Bounds(description)})


def _choice(default: str, description: str, *choices: str) -> Any:
    """A text that may be changed while the node runs."""
    return field(default=default, metadata={"bounds": Bounds(description, choices)})


def _number(default: float, description: str, minimum: float, maximum: float) -> Any:
    """A number that may be changed while the node runs."""
    return field(default=default, metadata={"bounds": Bounds(description, (), minimum, maximum)})


@dataclass(frozen=True)
class NodeParameters:
    """All parameters of the node at one moment."""

    autostart: bool = _fixed(
        True, "Configure and activate the node when it starts. False: a lifecycle manager does that."
    )
    checkpoint: str = _configured(
        "",
        "Folder of the model's checkpoint, its Hugging Face id, or a server: lisa://HOST:PORT/MODEL, with TLS lisas://."
        " Empty: the embedded demonstration model.",
    )
    quantization: str = _configured(
        "auto",
        "Quantization of the language model's weights. auto: as `lisa convert` wrote the checkpoint, otherwise none.",
        "auto",
        "none",
        "8bit",
        "4bit",
    )
    precision: str = _configured(
        "auto", "Number format of the computation. auto: chosen for the device.", "auto", "fp32", "bf16", "fp16"
    )
    device: str = _configured(
        "auto", "Device of the model. auto: the GPU if there is one, otherwise the CPU.", "auto", "cpu", "cuda"
    )
    template: str = _configured(
        "llava_v1", "Prompt template that the checkpoint was trained with.", "llava_v1", "llava_llama_2"
    )
    vision_tower: str = _configured(
        "", "Folder or Hugging Face id of the CLIP vision encoder. Empty: as the checkpoint's config.json names it."
    )
    model_options: str = _configured(
        "", "Options that only the checkpoint's own model has, as NAME=VALUE, separated by semicolons."
    )
    refine: str = _configured(
        "none",
        "Refinement of the model's masks. sam2: SAM 2 makes each mask finer; its encoder runs once for each frame.",
        "none",
        "sam2",
    )
    refine_checkpoint: str = _configured(
        "facebook/sam2.1-hiera-large", "Folder or Hugging Face id of SAM 2, for refine sam2."
    )
    segmenter: str = _configured(
        "checkpoint",
        "Model that answers. checkpoint: the checkpoint. auto: SAM 3 answers commands that only name objects, the"
        " checkpoint all others.",
        "checkpoint",
        "auto",
    )
    names_checkpoint: str = _configured("facebook/sam3", "Folder or Hugging Face id of SAM 3, for segmenter auto.")
    image_transport: str = _fixed(
        "raw", "Subscribe to `image` (raw) or to `image/compressed` (compressed).", "raw", "compressed"
    )
    depth_transport: str = _fixed(
        "raw", "Subscribe to `depth` (raw) or to `depth/compressedDepth` (compressedDepth).", "raw", "compressedDepth"
    )
    use_depth: bool = _fixed(
        True,
        "Subscribe to `depth` and `camera_info`. False: they are not subscribed and results have no 3-D position.",
    )
    cache_mib: int = _configured_number(
        -1,
        "Maximum size of the key-value cache that is shared by commands, in MiB. -1: 1024, and at most 5 % of a GPU's"
        " memory.",
        -1,
        1_000_000,
    )
    memory_limit_mib: int = _configured_number(
        -1,
        "Maximum size of all key-value caches together (shared prompts, running answers, captured decoding step), in"
        " MiB. Shared prompts are evicted first; a command that needs more is answered with FAILED. 0: no limit. -1: no"
        " limit on a CPU, 20 % of a GPU's memory.",
        -1,
        1_000_000,
    )
    deterministic: bool = _configured_flag(
        False,
        "The same command about the same image and dialogue gets the same answer to the last bit, whatever was answered"
        " before or at the same time. Slower: commands share no decoding steps.",
    )
    threads: int = _configured_number(
        0,
        "CPU threads of the model. 0 (auto): the number that is fastest on this machine, measured when it is loaded.",
        0,
        1024,
    )
    fallback: str = _configured(
        "none",
        "Model that answers while the server cannot be reached. none: commands are answered with FAILED; embedded: the"
        " demonstration model; or the folder or Hugging Face id of a checkpoint.",
    )
    remote_timeout: float = _configured_number(
        5.0, "Time after which a silent server counts as lost, in seconds.", 0.1, 3600.0
    )
    remote_jpeg_quality: int = _configured_number(
        90, "JPEG quality of the images that are sent to a server. 0: PNG, without loss.", 0, 100
    )
    remote_token: str = _configured("", "The robot's token on the server. Empty: the server needs none.")
    remote_certificate: str = _configured(
        "", "File with the authority that signed the server's certificate (PEM). Empty: the system's authorities."
    )
    dialogue_file: str = _fixed(
        "auto",
        "SQLite file that stores the dialogues. auto: a file for this node in ROS_HOME (~/.ros). Empty: dialogues are"
        " kept in memory and end with the node.",
    )
    operators: str = _fixed(
        "",
        "Operators with topics of their own, ~/operators/ID/command and ~/operators/ID/answer; their ids, separated by"
        " commas.",
    )
    shared_command: bool = _fixed(
        True,
        "Accept commands for every operator on ~/command, ~/command_text and the action ~/segment. False: only on the"
        " topics of the parameter operators.",
    )
    concurrent_commands: int = _configured_number(
        4, "Number of commands, of different operators, that are processed at the same time.", 1, 16
    )
    answer: str = _choice(
        "full",
        "Kind of answer to a command that does not state one. full: text and masks. mask_only: one mask as fast as"
        " possible, no text.",
        "full",
        "mask_only",
    )
    answer_timeout: float = _number(
        300.0,
        "Maximum time to process a command, in seconds. Beyond it the command is answered with FAILED. 0: no limit.",
        0.0,
        86400.0,
    )
    max_new_tokens: int = _number(512, "Maximum length of an answer, in tokens.", 1, 4096)
    min_score: float = _number(
        0.0,
        "Minimum score of a mask, 0 to 1. Masks below it are not reported. Masks without a score always are. A score "
        "is a probability only if the checkpoint is calibrated (docs/score.md).",
        0.0,
        1.0,
    )
    max_image_age: float = _number(
        5.0,
        "Maximum age of the image used for an answer, in seconds before the command's stamp (or now). 0: no limit.",
        0.0,
        1e9,
    )
    command_frame: str = _choice(
        "newest",
        "Frame used for a command that has a stamp. newest: the newest one when processing starts. nearest: the one"
        " nearest to the command's stamp.",
        "newest",
        "nearest",
    )
    frame_buffer: float = _number(
        1.0,
        "How long frames are kept for command_frame nearest, in seconds. At most 64 frames are kept, the older ones"
        " further apart.",
        0.0,
        60.0,
    )
    follow_up_frame: str = _choice(
        "newest",
        "Frame used for the later commands of a dialogue. newest: chosen as for the first command. dialogue: always the"
        " frame of the dialogue's first command.",
        "newest",
        "dialogue",
    )
    sync_tolerance: float = _number(
        0.02,
        "Maximum difference between the stamps of an image and of the depth image or camera_info that belongs to it, in"
        " seconds.",
        0.0,
        10.0,
    )
    depth_wait: float = _number(
        0.03,
        "Maximum time to wait for the depth image of a frame, in seconds after the frame. Increase it if depth arrives"
        " late. No effect while no depth is published.",
        0.0,
        10.0,
    )
    image_rectified: bool = _switch(
        False,
        "True: images are rectified; the matrix P of camera_info is used. False: K and the distortion D are used.",
    )
    points_organised: bool = _switch(
        False,
        "True: `~/points` has one point per pixel, NaN outside the object. False: only the object's points.",
    )
    target_frame: str = _choice(
        "",
        "Frame of poses, boxes, points, detections and grips, for commands that name none, for example base_link; needs"
        " tf2_ros. Empty: the camera's optical frame.",
    )
    transform_timeout: float = _number(
        0.5,
        "Maximum time to wait for the transform to target_frame at the image's stamp, in seconds. Without one, objects"
        " have no 3-D position.",
        0.0,
        60.0,
    )
    split_objects: str = _choice(
        "auto",
        "auto: one mask over several separate objects (all the mugs) is split. never: one mask is one object.",
        "auto",
        "never",
    )
    grip: str = _choice(
        "top_plane",
        "How the point to grip is computed, for commands that do not state it; needs depth. centroid: the surface point"
        " nearest to the centroid. top_plane: the middle of the largest level patch, for a vacuum cup. antipodal: a"
        " parallel gripper from above, across the object or at the rim of a hollow one. none: not computed.",
        *GRIP_STRATEGIES,
    )
    gripper_opening: float = _number(
        0.08, "Maximum opening of the parallel gripper, in metres, for grip antipodal.", 0.0, 1.0
    )
    gripper_clearance: float = _number(
        0.005, "Distance of each finger from the object on the way down, in metres, for grip antipodal.", 0.0, 0.1
    )
    gripper_reach: float = _number(
        0.04, "Maximum depth of the finger tips below the object's top, in metres, for grip antipodal.", 0.001, 1.0
    )
    no_object_is: str = _choice(
        "success",
        "Result of the action's goal when the model found no object (NO_OBJECT). abort: for planners that must not"
        " continue without an object.",
        "success",
        "abort",
    )
    track: bool = _switch(
        True, "Track the most recently answered object on `~/tracked/*` while these topics have a subscriber."
    )
    tracker: str = _configured(
        "flow",
        "Tracker of `~/tracked/*`. flow: optical flow, on the CPU, without a checkpoint. edgetam, sam2, sam3: a video"
        " model, which needs tracker_checkpoint, and a GPU to keep up with a camera.",
        "flow",
        "edgetam",
        "sam2",
        "sam3",
    )
    tracker_checkpoint: str = _configured(
        "", "Folder or Hugging Face id of the tracker's model, such as facebook/sam2.1-hiera-tiny for sam2."
    )
    track_again_after: float = _number(
        5.0,
        "Interval at which the model segments the tracked object anew to correct the tracker, in seconds, while no"
        " command waits. 0: never.",
        0.0,
        1e9,
    )
    same_frame_difference: float = _number(
        6.0,
        "Maximum difference, in grey levels of 255, between two images of the same still scene. The encoded image is"
        " then reused. 0: only for identical images.",
        0.0,
        255.0,
    )
    queue_size: int = _number(16, "Maximum number of waiting commands. Further commands are rejected.", 1, 1000)
    queue_policy: str = _choice(
        "queue",
        "Effect of a new command on waiting commands of the same operator. queue: all are answered in order."
        " latest_wins: the waiting ones are cancelled.",
        "queue",
        "latest_wins",
    )
    max_operator_queue: int = _number(
        0,
        "Maximum number of waiting commands of one operator. Further ones are rejected, so that others find room in the"
        " queue. 0: queue_size alone counts.",
        0,
        1000,
    )
    max_operator_rate: int = _number(
        0,
        "Maximum number of commands of one operator in a minute. Further ones are rejected. 0: no limit.",
        0,
        100_000,
    )
    max_text_length: int = _number(500, "Maximum length of a command's text, in characters.", 1, 100_000)
    max_turns: int = _number(
        8,
        "Maximum number of turns that are kept of each operator's dialogue. 0: every command is independent.",
        0,
        100,
    )
    max_dialogue_tokens: int = _number(
        0,
        "Maximum length of a dialogue's earlier turns in the prompt, in tokens. The oldest turns are left out as a"
        " whole. 0: no limit except the model's context.",
        0,
        100_000,
    )
    max_operators: int = _number(
        16,
        "Maximum number of operators whose dialogues are kept. Beyond it, the dialogue that has been idle longest is"
        " deleted.",
        1,
        1000,
    )
    max_dialogue_mib: int = _number(
        64,
        "Maximum size of one operator's dialogue, in MiB: a byte for each pixel of a mask, and the texts. The oldest"
        " turns are deleted first, the newest is always kept. 0: no limit.",
        0,
        100_000,
    )
    max_dialogue_idle: float = _number(
        0.0, "Time after which an idle dialogue is deleted, in minutes. 0: never.", 0.0, 1e9
    )


FIELD_BOUNDS: dict[str, Bounds] = {entry.name: entry.metadata["bounds"] for entry in dataclasses.fields(NodeParameters)}
TYPES: dict[str, type] = {entry.name: type(entry.default) for entry in dataclasses.fields(NodeParameters)}

DESCRIPTIONS: dict[str, str] = {name: bounds.description for name, bounds in FIELD_BOUNDS.items()}
"""Name -> description of each parameter, for the program's help."""
