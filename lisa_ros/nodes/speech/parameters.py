# SPDX-License-Identifier: Apache-2.0
"""The parameters of the node `speech`; all are read when the process starts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.speech.options import LISTEN, SAY

MICROPHONE, TOPIC, FILE = "microphone", "topic", "file"


def _text(default: str, description: str, *choices: str) -> Any:
    return field(default=default, metadata={"description": description, "choices": choices})


def _switch(default: bool, description: str) -> Any:
    return field(default=default, metadata={"description": description})


def _number(default: float, description: str, least: float, most: float) -> Any:
    return field(default=default, metadata={"description": description, "least": least, "most": most})


@dataclass(frozen=True)
class SpeechParameters:
    """The node's parameters; config/speech.yaml repeats the defaults for people to edit, and a test compares."""

    audio: str = _text(
        MICROPHONE,
        "Source of sound, beside `~/audio`, which is always subscribed: this machine's microphone, topics of"
        " audio_common_msgs, or a WAV file that is played once.",
        MICROPHONE,
        TOPIC,
        FILE,
    )
    device: str = _text("", "Microphone: part of its name, or its number in `lisa listen --device list`.")
    file: str = _text("", "WAV file (PCM) of `audio: file`.")
    operator: str = _text("default", "Operator whose commands the microphone, the file and audio_common_msgs record.")
    lisa: str = _text("lisa", "Name of the node that commands are sent to, relative to this node's namespace.")
    asr_model: str = _text(
        "", "Folder or Hugging Face id of a transformers speech model. Empty: Moonshine Tiny for English."
    )
    asr_language: str = _text("", "Spoken language, for multilingual models, e.g. de.")
    asr_device: str = _text("auto", "Where a transformers model runs.", "auto", "cpu", "cuda")
    listen: str = _text(
        "wake_phrase",
        "Utterances that are commands: those that begin with the wake phrase, only those said while a button is held,"
        " or always all.",
        *LISTEN,
    )
    wake_phrase: str = _text("hey robot", "Phrase that commands begin with; any phrase of the recogniser's language.")
    vocabulary: str = _text("", "Text file of words and phrases that operators use, one a line.")
    checkpoint: str = _text(
        "",
        "Checkpoint of the segmentation node, for its vocabulary.txt: folder or Hugging Face id. Empty: the embedded"
        " one.",
    )
    confirm_below: float = _number(0.0, "Confidence below which the node asks before it sends a command.", 0.0, 1.0)
    end_silence: float = _number(0.6, "Silence that ends an utterance, seconds.", 0.2, 5.0)
    record_folder: str = _text("", "Folder where utterances and their texts are stored. Empty: nothing is stored.")
    say: str = _text("none", "Speak answers: not at all, with espeak-ng, or with the program of say_command.", *SAY)
    say_command: str = _text("", "Program and its arguments; it gets the sentence on standard input.")
    listen_while_speaking: bool = _switch(False, "Listen with the microphone while the robot speaks.")


DESCRIPTIONS = {entry.name: entry.metadata["description"] for entry in dataclasses.fields(SpeechParameters)}
"""Name -> description of each parameter, for the program's help."""


def declared(node: Node) -> SpeechParameters:
    """Declares the parameters on the node.

    Raises:
        ValueError: one has a value that cannot be used; the text names it and what would be right.
    """
    return SpeechParameters(**{entry.name: _declare(node, entry) for entry in dataclasses.fields(SpeechParameters)})


def descriptor(entry: dataclasses.Field[Any]) -> ParameterDescriptor:
    """What `ros2 param describe` shows of a parameter."""
    choices = entry.metadata.get("choices", ())
    described = ParameterDescriptor(
        name=entry.name,
        description=entry.metadata["description"],
        read_only=True,
        additional_constraints=f"One of: {', '.join(choices)}" if choices else "",
    )
    if "most" in entry.metadata:
        least, most = entry.metadata["least"], entry.metadata["most"]
        described.floating_point_range = [FloatingPointRange(from_value=least, to_value=most)]
    return described


def _declare(node: Node, entry: dataclasses.Field[Any]) -> Any:
    try:
        value = node.declare_parameter(entry.name, entry.default, descriptor(entry)).value
    except ParameterException as error:
        kinds = {bool: "true or false", str: "a text"}
        bounds = "a number with a decimal point from {least:g} to {most:g}"
        kind = kinds.get(type(entry.default)) or bounds.format(**entry.metadata)
        raise LisaError(f"Parameter {entry.name} must be {kind} ({error}).") from error
    choices = entry.metadata.get("choices", ())
    if choices and value not in choices:
        raise LisaError(f"Parameter {entry.name} is {value!r}; it must be one of {', '.join(choices)}.")
    return value
