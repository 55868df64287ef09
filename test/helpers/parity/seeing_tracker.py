# SPDX-License-Identifier: Apache-2.0
"""Toy trackers that see: one marks an object by its colour, others notice its absence. Most layers are random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from moving_images import Mask, RgbImage
from toy_checkpoints import tracker_checkpoint

from lisa_ros.tracking.video_models import load_video_tracker

LOGIT = 6.0


def seeing_tracker(folder: Path, frames: Sequence[tuple[RgbImage, Mask]]) -> Path:
    """Writes a checkpoint that marks the object of the given frames, wherever it is, in images like theirs.

    The path from the pixels to the mask is made linear, and fitted to the frames. Memory of earlier frames is computed
    as always and has no effect on the mask.
    """
    tracker_checkpoint(folder, "sam2")
    model = load_video_tracker("sam2", folder, "cpu")._model
    _keep_colours(model.vision_encoder.backbone)
    weights = _fitted(model, folder, frames)
    _mark_by(model.mask_decoder, weights)
    model.save_pretrained(folder)
    return folder


SEEDS = {"sam2": 13, "edgetam": 7, "sam3": 13}
"""Of random trackers whose presence score depends more on the image than on the memory of earlier ones."""


def noticing_tracker(folder: Path, kind: str, seen: RgbImage, mask: Mask, unseen: RgbImage) -> Path:
    """Writes a checkpoint with random masks, whose object is there in `seen` and not in `unseen`.

    The last layer of the presence score is moved, and turned round if need be, to the middle between both images.
    """
    tracker_checkpoint(folder, kind, SEEDS[kind])
    tracker = load_video_tracker(kind, folder, "cpu")
    head, scores = tracker._model.mask_decoder.pred_obj_score_head, list[float]()
    hook = head.register_forward_hook(lambda _, inputs, output: scores.append(float(output.flatten()[0])))
    tracker.start(seen, mask)
    for image in [seen] * 6 + [unseen] * 6:
        tracker.update(image)
    hook.remove()
    there, gone = sum(scores[4:7]) / 3, sum(scores[8:]) / len(scores[8:])
    *_, weight, bias = head.parameters()
    with torch.no_grad():
        sign = 1.0 if there > gone else -1.0
        weight.mul_(sign)
        bias.copy_(sign * (bias - (there + gone) / 2))
    tracker._model.save_pretrained(folder)
    return folder


def _keep_colours(backbone: Any) -> None:
    """The first features become the mean colours of 4 x 4 pixels: the first block adds nothing to them."""
    with torch.no_grad():
        projection = backbone.patch_embed.projection
        projection.weight.zero_()
        for colour in range(3):
            projection.weight[colour, colour, 2:6, 2:6] = 1 / 16
        backbone.pos_embed.zero_()
        backbone.pos_embed_window.zero_()
        for last in (backbone.blocks[0].attn.proj, backbone.blocks[0].mlp.proj_out):
            last.weight.zero_()
            last.bias.zero_()


def _fitted(model: Any, folder: Path, frames: Sequence[tuple[RgbImage, Mask]]) -> torch.Tensor:
    """The weights of the decoder's finest features and a constant, by least squares."""
    from transformers import Sam2VideoProcessor

    processor, given, wanted = Sam2VideoProcessor.from_pretrained(folder), [], []
    hook = model.mask_decoder.conv_s0.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].detach()[0]))
    for image, mask in frames:
        with torch.no_grad():
            model.get_image_features(processor(images=image, return_tensors="pt")["pixel_values"])
        height, width = given[-1].shape[1:]
        small = torch.nn.functional.interpolate(
            torch.from_numpy(mask)[None, None].float(), (height, width), mode="area"
        )
        wanted.append(torch.where(small.reshape(-1) > 0.5, LOGIT, -LOGIT))
    hook.remove()
    features = torch.cat([one.reshape(one.shape[0], -1).T for one in given]).double()
    inputs = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    return torch.linalg.lstsq(inputs, torch.cat(wanted).double()[:, None], driver="gelsd").solution[:, 0].float()


def _mark_by(decoder: Any, weights: torch.Tensor) -> None:
    """Channel 0 of the finest features is the logit, channel 1 its opposite: GELU(x) - GELU(-x) is x."""
    with torch.no_grad():
        for channel, sign in ((0, 1.0), (1, -1.0)):
            decoder.conv_s0.weight[channel, :, 0, 0] = sign * weights[:-1]
            decoder.conv_s0.bias[channel] = sign * weights[-1]
            decoder.upscale_conv2.weight[:, channel] = 0.0
            decoder.upscale_conv2.bias[channel] = 0.0
        for network in decoder.output_hypernetworks_mlps:
            network.proj_out.weight.zero_()
            network.proj_out.bias.zero_()
            network.proj_out.bias[:2] = torch.tensor([1.0, -1.0])
