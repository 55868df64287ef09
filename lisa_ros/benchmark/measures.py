# SPDX-License-Identifier: Apache-2.0
"""Timed commands, as a robot's operators give them, and the stages of a command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from lisa_ros.benchmark.models import ScriptedLisa
from lisa_ros.benchmark.upstream_style import plain_encoder, plain_sam_features
from lisa_ros.models.common.answers.steps import Answer, MaskStep
from lisa_ros.models.lisa.drafts import Drafts
from lisa_ros.models.lisa.encoded_image import EncodedImage
from lisa_ros.models.lisa.prompt import Exchange
from lisa_ros.models.lisa.sam.pixels import sam_pixels
from lisa_ros.segmentation.pointing import NO_POINTING

COMMAND = "Where is the thing to drink from? Please answer with a mask."
NEXT_COMMAND = "And the one next to it?"
OTHER_COMMAND = "Where can the parcel be put down?"
SHORT, LONG = 16, 128
"""Further tokens after the `[SEG]`, by which the time to the first mask must not change."""
OVERLAPPING = 4

Figures = dict[str, float]
"""What was measured once. A name ends with its unit: "first mask, ms"."""


@dataclass(frozen=True)
class Timed:
    """One answer.

    Attributes:
        first_mask_s, total_s: seconds since the command.
        text: the raw answer.
        logits: (H, W) float32 of its first mask.
    """

    first_mask_s: float
    total_s: float
    text: str
    logits: NDArray[np.float32]


def camera_images() -> Callable[[], NDArray[np.uint8]]:
    """A source of images, 640 x 480, each different."""
    chance = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 640, dtype=np.float32)[None, :, None]
    return lambda: np.clip(ramp + chance.normal(30, 20, (480, 640, 3)), 0, 255).astype(np.uint8)


def ask(
    lisa: ScriptedLisa,
    image: EncodedImage,
    command: str,
    history: Sequence[Exchange] = (),
    *,
    mask_only: bool = False,
) -> Timed:
    """Gives a command and times its answer."""
    began = time.perf_counter()
    first: tuple[float, NDArray[np.float32]] | None = None
    text = ""
    for step in lisa.answer(image, command, history, max_new_tokens=len(lisa.script), mask_only=mask_only):
        if isinstance(step, MaskStep) and first is None:
            first = time.perf_counter() - began, step.logits
        if isinstance(step, Answer):
            text = step.text
    if first is None:
        raise RuntimeError("the answer had no mask to time")
    return Timed(first[0], time.perf_counter() - began, text, first[1])


def measure_commands(lisa: ScriptedLisa, camera: Callable[[], NDArray[np.uint8]], tokens: int) -> Figures:
    """One round of commands, about frames that were not encoded before.

    Args:
        lisa: the model.
        camera: makes an image.
        tokens: of the answer that is timed to its end.
    """
    lisa.forget()
    lisa.script_answer(tokens)
    frame = lisa.encode(camera())
    first = ask(lisa, frame, COMMAND)
    following = ask(lisa, frame, NEXT_COMMAND, [(COMMAND, first.text)])
    other = ask(lisa, frame, OTHER_COMMAND)
    again = ask(lisa, frame, OTHER_COMMAND, mask_only=True)
    fresh = ask(lisa, lisa.encode(camera()), OTHER_COMMAND, mask_only=True)
    return {
        "first mask, ms": 1000 * first.first_mask_s,
        "whole answer, ms": 1000 * first.total_s,
        "text after the mask, tokens/s": (tokens - 2) / (first.total_s - first.first_mask_s),
        "next turn, first mask, ms": 1000 * following.first_mask_s,
        "another operator, first mask, ms": 1000 * other.first_mask_s,
        "mask only, encoded frame, ms": 1000 * again.first_mask_s,
        "mask only, new frame, ms": 1000 * fresh.first_mask_s,
        "mask only, frames/s": 1 / fresh.first_mask_s,
        "whole answer, draft accepted, ms": 1000 * _drafted(lisa, lisa.encode(camera())),
    }


def _drafted(lisa: ScriptedLisa, frame: EncodedImage) -> float:
    """Seconds of an answer that is proposed as a draft and accepted."""
    lisa.drafts = Drafts([lisa.script])
    taken = ask(lisa, frame, COMMAND).total_s
    lisa.forget()
    return taken


def measure_lengths(lisa: ScriptedLisa, camera: Callable[[], NDArray[np.uint8]]) -> Figures:
    """The time to the first mask, with a short and a long explanation to follow."""
    figures = {}
    for further in (SHORT, LONG):
        lisa.forget()
        lisa.script_answer(2 + further)
        first_s = ask(lisa, lisa.encode(camera()), COMMAND).first_mask_s
        figures[f"first mask, {further} tokens to follow, ms"] = 1000 * first_s
    return figures


def measure_overlap(lisa: ScriptedLisa, camera: Callable[[], NDArray[np.uint8]], tokens: int) -> Figures:
    """One command on a new frame, and several that come at once on another."""
    lisa.forget()
    lisa.script_answer(tokens)
    alone = ask(lisa, lisa.encode(camera()), COMMAND).total_s
    frame = lisa.encode(camera())
    threads = [threading.Thread(target=ask, args=(lisa, frame, f"{COMMAND} {number}")) for number in range(OVERLAPPING)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = time.perf_counter() - began
    return {"one command, ms": 1000 * alone, f"{OVERLAPPING} overlapping commands, ms": 1000 * together}


def measure_stages(lisa: ScriptedLisa, camera: Callable[[], NDArray[np.uint8]]) -> Figures:
    """The stages of a first command, each by itself."""
    image = camera()
    pixels, _ = sam_pixels(image, lisa.network.image_size)
    plain = plain_encoder(lisa)
    with torch.inference_mode():
        return {
            **_region(lisa, image),
            "CLIP, ms": 1000 * _seconds(lambda: lisa.network.visual_tokens(lisa.clip(image))),
            "SAM's encoder, ms": 1000 * _seconds(lambda: lisa.network.sam_features(pixels)),
            "SAM's encoder of segment-anything, ms": 1000 * _seconds(lambda: plain_sam_features(plain, pixels)),
            **_prompt_and_mask(lisa, lisa.encode(image)),
        }


def _region(lisa: ScriptedLisa, image: NDArray[np.uint8]) -> Figures:
    find = lisa.find_region
    return {} if find is None else {"region of the objects, ms": 1000 * _seconds(lambda: find(image))}


def _prompt_and_mask(lisa: ScriptedLisa, image: EncodedImage) -> Figures:
    """LLaMA's prefill of a prompt and SAM's mask decoder, after both encoders have run."""
    lisa.forget()
    ask(lisa, image, COMMAND, mask_only=True)
    lisa.forget()
    found: list[torch.Tensor] = []

    def prefill() -> None:
        with lisa.prefill(image, lisa.prompt_ids(COMMAND)) as generation:
            found.append(generation.extend([]).states[-1:])

    return {
        "prompt (LLaMA), ms": 1000 * _seconds(prefill),
        "mask decoder, ms": 1000 * _seconds(lambda: image.mask_logits(found[0], NO_POINTING)),
    }


def _seconds(work: Callable[[], object]) -> float:
    _wait()
    began = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - began


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_machine(lisa: ScriptedLisa) -> Figures:
    """Speed of the device, and how much of it a token and SAM's encoder need."""
    device, dtype = lisa.network.device, lisa.network.dtype
    large: torch.Tensor = torch.ones(1 << 28, dtype=torch.uint8, device=device).view(torch.float32)
    square = torch.ones(2048, 2048, dtype=dtype, device=device)
    with torch.inference_mode():
        read_s = min(_seconds(lambda: large.sum()) for _ in range(5))
        product_s = min(_seconds(lambda: square @ square) for _ in range(5))
    return {
        "memory read, GB/s": large.nbytes / read_s / 1e9,
        "matrix product, GFLOP/s": 2 * 2048**3 / product_s / 1e9,
        "weights read per token, GB": _token_bytes(lisa) / 1e9,
        "SAM's encoder, GFLOP": _sam_flops(lisa) / 1e9,
    }


def _token_bytes(lisa: ScriptedLisa) -> int:
    """Weights that one step of decoding reads, bytes: LLaMA's layers and its output layer."""
    parts = (*lisa.network.language.layers.parameters(), *lisa.network.lm_head.parameters())
    return sum(weight.numel() * weight.element_size() for weight in parts)


def _sam_flops(lisa: ScriptedLisa) -> int:
    side = lisa.network.image_size
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        plain_sam_features(plain_encoder(lisa), torch.zeros(1, 3, side, side))
    return int(counter.get_total_flops())
