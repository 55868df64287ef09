# SPDX-License-Identifier: Apache-2.0
"""A tracker by dense optical flow in both directions (OpenCV's DIS, Kroeger et al., 2016) and colour histograms.

The work on one frame, all of it in a window around the object:

1. The window is moved by the object's motion at a quarter of the resolution, so that little motion remains.
2. Flow is computed from the old frame to the new one and back. Where the two disagree, something was occluded or came
   into view.
3. The old mask, as a signed distance to its edge, is warped along the backward flow.
4. Each pixel's score combines the warped distance, weighted by the flow's consistency, and whether its colour is that
   of the object or of the surroundings. So flow decides where colours are alike, and colour decides at the edge, where
   flow is blurred, and where something came into view. What moves differently from the object as a whole belongs to
   another object, whatever its colour.
5. The result is checked: an object that is too small, or for several frames unlike itself or inconsistent, is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lisa_ros.tracking.colour_model import ColourModel, bins_of
from lisa_ros.tracking.interface import Image, LossReason, Mask, Tracked, TrackState, check_start, lost
from lisa_ros.tracking.optical_flow import Floats, deviation_from_motion, flow_between, flow_both_ways, warp
from lisa_ros.tracking.windows import COARSE, Pyramid, Window, brightness

RING_PX = 16
"""Width of the object's surroundings, in the window's pixels."""
MAX_DISTANCE_PX = 8.0
"""Limit of the signed distance; farther outside, nothing becomes the object within one frame."""
MAX_DEVIATION_PX = 4.0
"""A pixel that deviates by so much more than allowed certainly belongs to another object."""
CERTAIN_PX = 5.0
"""From this distance to the edge on, pixels inside the mask do not become more certain."""


@dataclass(frozen=True)
class FlowSettings:
    """Settings of the flow tracker. Pixels are those of the window, whose resolution may be lower than the image's.

    Attributes:
        window_px: the window's image is halved until its longer side is at most this.
        margin_px: margin of the window around the object, in pixels of the image.
        agree_px: forward and backward flow are consistent if they disagree by less than this.
        edge_weight: weight of the warped mask, nats per pixel of distance to its edge.
        doubt_inside: the share of that weight inside the warped mask where the flow is not consistent: small, since
            what occludes the object is soon recognized by its colour.
        doubt_outside: the same outside of it: larger, so that a passing object of the same colour is not included.
        colour_weight: weight of the colour evidence, per nat...
        min_colour: ...beyond so many nats.
        max_deviation_px: deviation from the object's common motion that is allowed, because objects are not flat.
        deviation_weight: nats against a pixel, per pixel of deviation beyond that.
        min_px: pixels of the image; a smaller object is too small to follow.
        min_part: the same, as a part of its usual visible size.
        min_consistent: the part of the object's pixels whose flow must be consistent.
        min_likeness: nats by which the object's pixels must look like it rather than like its surroundings.
        patience: so many doubtful frames in a row lose the object.
    """

    window_px: int = 256
    margin_px: int = 24
    agree_px: float = 1.5
    edge_weight: float = 1.0
    doubt_inside: float = 0.2
    doubt_outside: float = 0.8
    colour_weight: float = 0.7
    min_colour: float = 0.5
    max_deviation_px: float = 4.0
    deviation_weight: float = 2.0
    min_px: int = 60
    min_part: float = 0.1
    min_consistent: float = 0.35
    min_likeness: float = 0.0
    patience: int = 3


@dataclass(frozen=True)
class _Object:
    """The object in the last frame; `usual_px` is the usual number of its visible pixels."""

    frame: Pyramid
    mask: Mask
    colours: ColourModel
    usual_px: float
    doubts: int = 0


@dataclass(frozen=True)
class _Labels:
    """The result for a window.

    Attributes:
        score: (H, W), nats; above 0 where the object is.
        consistent: the part of the object's pixels whose flow is consistent.
        likeness: mean nats by which its pixels look like it rather than like its surroundings.
    """

    score: Floats
    consistent: float
    likeness: float


class FlowTracker:
    """Tracks one object by optical flow and colour; see `lisa_ros.tracking.interface.Tracker`."""

    def __init__(self, settings: FlowSettings | None = None) -> None:
        """Tracks nothing at first: `update` returns LOST until `start`."""
        self._settings = settings or FlowSettings()
        self._fine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._coarse = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._object: _Object | None = None
        self._why_not = LossReason.NOT_STARTED

    def start(self, image: Image, mask: Mask) -> None:
        """See Tracker.start."""
        check_start(image, mask)
        frame, window = Pyramid(image), self._window(mask)
        level = frame.level(window.level)
        inside = window.crop_mask(mask)
        colours = ColourModel(window.crop(level), inside, _ring(inside) & window.inside(level.shape))
        self._object = _Object(frame, mask.copy(), colours, float(np.count_nonzero(mask)))

    def update(self, image: Image) -> Tracked:
        """See Tracker.update."""
        was = self._object
        size = (image.shape[0], image.shape[1])
        if was is not None and size != was.frame.shape:
            was, self._object, self._why_not = None, None, LossReason.SIZE_CHANGED
        if was is None:
            return lost(size, self._why_not)
        frame = Pyramid(image)
        old = self._window(was.mask)
        new = old.moved(*self._coarse_shift(was, frame))
        labels = self._label(was, old, frame, new)
        mask = new.paste(labels.score, frame.shape)
        return self._checked(was, frame, mask, labels)

    def _window(self, mask: Mask) -> Window:
        return Window.around(mask, self._settings.margin_px, self._settings.window_px)

    def _coarse_shift(self, was: _Object, frame: Pyramid) -> tuple[float, float]:
        """The object's approximate motion, in pixels of the image."""
        size = (frame.coarse.shape[1], frame.coarse.shape[0])
        share = cv2.resize(was.mask.view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
        small = share > 100
        if not small.any():
            return 0.0, 0.0
        flow = flow_between(self._coarse, was.frame.coarse, frame.coarse)
        dx, dy = np.median(flow[small], axis=0) * COARSE
        return float(dx), float(dy)

    def _label(self, was: _Object, old: Window, frame: Pyramid, new: Window) -> _Labels:
        level = frame.level(new.level)
        before, now, within = old.crop(was.frame.level(old.level)), new.crop(level), new.inside(level.shape)
        back, error = flow_both_ways(self._fine, brightness(before), brightness(now))
        consistent = error < self._settings.agree_px
        warped = warp(_signed_distance(old.crop_mask(was.mask)), back, cv2.BORDER_REPLICATE)
        bins = bins_of(now)
        evidence = was.colours.evidence(bins)
        score = self._score(warped, consistent, evidence)
        score[consistent] -= self._penalty(deviation_from_motion(back, (warped > 1.0) & consistent)[consistent])
        score[~within] = -1.0
        mask = _main_parts(score > 0, warped)
        score[(score > 0) & ~mask] = -0.5
        if not mask.any():
            return _Labels(score, 0.0, 0.0)
        was.colours.update(bins, _core(mask) & consistent, _ring(mask) & within)
        return _Labels(score, float(consistent[mask].mean()), float(evidence[mask].mean()))

    def _score(self, warped: Floats, consistent: Mask, evidence: Floats) -> Floats:
        """Above 0 where the object is, nats."""
        settings = self._settings
        doubt = np.where(warped > 0, np.float32(settings.doubt_inside), np.float32(settings.doubt_outside))
        trust = np.where(consistent, np.float32(1.0), doubt)
        colour = cv2.GaussianBlur(evidence, (5, 5), 1.0)
        # Weak evidence must not move the edge, little by little, over a neighbour of similar colour.
        strong = np.sign(colour) * np.maximum(np.abs(colour) - settings.min_colour, 0.0)
        score = (
            settings.edge_weight * trust * np.clip(warped, -CERTAIN_PX, CERTAIN_PX) + settings.colour_weight * strong
        )
        score[warped <= -MAX_DISTANCE_PX] = -CERTAIN_PX
        return np.asarray(cv2.GaussianBlur(score, (3, 3), 0.7), dtype=np.float32)

    def _penalty(self, deviation_px: Floats) -> Floats:
        """What counts against pixels that move differently from the object, nats."""
        excess_px = np.clip(deviation_px - self._settings.max_deviation_px, 0.0, MAX_DEVIATION_PX)
        return np.asarray(self._settings.deviation_weight * excess_px, dtype=np.float32)

    def _checked(self, was: _Object, frame: Pyramid, mask: Mask, labels: _Labels) -> Tracked:
        """The result for a frame, LOST or not; the object is remembered for the next one."""
        settings, pixels = self._settings, int(np.count_nonzero(mask))
        if pixels < max(settings.min_px, settings.min_part * was.usual_px):
            return self._lose(frame, LossReason.OUT_OF_VIEW if _touches_edge(was.mask) else LossReason.HIDDEN)
        unlike, inconsistent = labels.likeness < settings.min_likeness, labels.consistent < settings.min_consistent
        doubts = was.doubts + 1 if unlike or inconsistent else 0
        if doubts >= settings.patience:
            return self._lose(frame, LossReason.UNLIKE if unlike else LossReason.INCONSISTENT)
        # An object that is partly hidden for a while keeps its size: fewer pixels become usual only slowly.
        usual_px = was.usual_px + (0.05 if pixels > was.usual_px else 0.02) * (pixels - was.usual_px)
        self._object = _Object(frame, mask, was.colours, usual_px, doubts)
        confidence = labels.consistent * float(np.clip(0.5 + labels.likeness / 2.0, 0.0, 1.0))
        return Tracked(mask.copy(), TrackState.TRACKED, confidence)

    def _lose(self, frame: Pyramid, reason: LossReason) -> Tracked:
        self._object, self._why_not = None, reason
        return lost(frame.shape, reason)


def _signed_distance(mask: Mask) -> Floats:
    """The distance to the mask's edge, pixels, positive inside, limited to MAX_DISTANCE_PX."""
    inside = mask.astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    distance -= 0.5 * np.sign(distance)  # a pixel's centre is half a pixel from its edge
    return np.asarray(np.clip(distance, -MAX_DISTANCE_PX, MAX_DISTANCE_PX), dtype=np.float32)


def _core(mask: Mask) -> Mask:
    """The mask without its edge, whose colours are mixed."""
    return np.asarray(cv2.erode(mask.view(np.uint8), np.ones((5, 5), np.uint8)) > 0)


def _ring(mask: Mask) -> Mask:
    """The pixels around a mask, except those next to it, whose colours are mixed."""
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray((distance > 2.0) & (distance < RING_PX))


def _main_parts(mask: Mask, warped: Floats) -> Mask:
    """The mask without parts that were not the object before, and without specks."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
    if count <= 2:
        return mask
    sizes = stats[:, cv2.CC_STAT_AREA]
    known = np.bincount(labels[(warped > 0) & mask], minlength=count)
    keep = (known > 0.3 * sizes) & (sizes > 0.02 * sizes[1:].max())
    keep[0] = False
    return np.asarray(keep[labels])


def _touches_edge(mask: Mask) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
