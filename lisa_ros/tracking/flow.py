# SPDX-License-Identifier: Apache-2.0
"""A tracker by dense optical flow: OpenCV's dense inverse search (Kroeger et al., 2016), both ways, and colours.

One frame's work, all of it in a window around the object:

1. The window is moved by what the object moved at a quarter of the size, so that little motion is left to find.
2. Flow from the old frame to the new and back. Where the two disagree, something was hidden or came into sight.
3. The old mask, as a signed distance to its edge, is fetched along the backward flow.
4. Each pixel weighs two opinions: the fetched distance, believed as far as the flow is consistent, and whether its
   colour is rather the object's or its surroundings'. So flow decides where all looks alike, and colour at the edge,
   where flow is blurred, and where something came into sight. What moves quite otherwise than the object as a whole
   is another thing, of whatever colour.
5. What is left is judged: too small, or unlike the object or inconsistent for several frames, and it is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lisa_ros.tracking.colour_model import ColourModel, bins_of
from lisa_ros.tracking.interface import Image, LossReason, Mask, Tracked, TrackState, check_start, lost
from lisa_ros.tracking.optical_flow import Floats, apart_from, fetch, flow_between, flow_both_ways
from lisa_ros.tracking.windows import COARSE, Levels, Window, brightness

RING_PX = 16
"""How far around the object its surroundings reach, in the window's pixels."""
REACH_PX = 8.0
"""The signed distance is told up to this; farther out, nothing becomes the object in one frame."""
APART_MOST_PX = 4.0
"""What moves otherwise than the object by so much more than it may is surely another thing."""
SURE_PX = 5.0
"""From this distance on, depth inside the mask makes a pixel no surer."""


@dataclass(frozen=True)
class FlowSettings:
    """The flow tracker's numbers; all pixels are of the window, which may be smaller than the picture's.

    Attributes:
        window_px: the window's picture is halved until its longer side is at most this.
        margin_px: of the picture around the object that the window shows.
        agree_px: forward and backward flow may disagree by this where they are consistent.
        edge_weight: belief in the fetched mask, nats per pixel of distance to its edge.
        doubt_inside: the part of that belief that is left inside the fetched mask where the flow is not consistent:
            little, since what comes before the object is soon told by its colour.
        doubt_outside: the same outside of it: more, lest a thing of the object's colour that passes by be taken in.
        colour_weight: belief in colour, per nat...
        colour_least: ...beyond so many nats.
        apart_px: a pixel may move otherwise than the object as a whole by this: things are not flat...
        apart_weight: ...and what moves otherwise by more is taken for another thing, by so many nats per pixel.
        least_px: of the picture; fewer pixels of the object are too few to follow.
        least_part: the same, as a part of what was usually seen of it.
        least_consistent: the part of the object's pixels whose flow must be consistent.
        least_colour: nats by which the object's pixels must look like it rather than like its surroundings.
        patience: so many doubtful frames in a row lose the object.
    """

    window_px: int = 256
    margin_px: int = 24
    agree_px: float = 1.5
    edge_weight: float = 1.0
    doubt_inside: float = 0.2
    doubt_outside: float = 0.8
    colour_weight: float = 0.7
    colour_least: float = 0.5
    apart_px: float = 4.0
    apart_weight: float = 2.0
    least_px: int = 60
    least_part: float = 0.1
    least_consistent: float = 0.35
    least_colour: float = 0.0
    patience: int = 3


@dataclass(frozen=True)
class _Object:
    """The object as it was last seen; `usual_px` is how many pixels of it are usually seen."""

    frame: Levels
    mask: Mask
    colours: ColourModel
    usual_px: float
    doubts: int = 0


@dataclass(frozen=True)
class _Labels:
    """What became of a window: the object's score there, above 0 where it is, and how well that agrees.

    Attributes:
        score: (H, W), nats.
        consistent: the part of the object's pixels whose flow is consistent.
        colour: nats, mean, by which its pixels look like it rather than like its surroundings.
    """

    score: Floats
    consistent: float
    colour: float


class FlowTracker:
    """Follows one object by optical flow and colour; see `lisa_ros.tracking.interface.Tracker`."""

    def __init__(self, settings: FlowSettings | None = None) -> None:
        """Follows nothing at first: `update` says LOST until `start`."""
        self._settings = settings or FlowSettings()
        self._fine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._rough = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._object: _Object | None = None
        self._why_not = LossReason.NOT_STARTED

    def start(self, image: Image, mask: Mask) -> None:
        """See Tracker.start."""
        check_start(image, mask)
        frame, window = Levels(image), self._window(mask)
        picture = frame.level(window.level)
        here = window.cut_mask(mask)
        colours = ColourModel(window.cut(picture), here, _ring(here) & window.inside(picture.shape))
        self._object = _Object(frame, mask.copy(), colours, float(np.count_nonzero(mask)))

    def update(self, image: Image) -> Tracked:
        """See Tracker.update."""
        was = self._object
        if was is None:
            return lost((image.shape[0], image.shape[1]), self._why_not)
        if image.shape[:2] != was.frame.shape:
            raise ValueError(f"the image must be {was.frame.shape} as the first was, not {image.shape[:2]}")
        frame = Levels(image)
        old = self._window(was.mask)
        new = old.moved(*self._coarse_shift(was, frame))
        labels = self._label(was, old, frame, new)
        mask = new.paste(labels.score, frame.shape)
        return self._judge(was, frame, mask, labels)

    def _window(self, mask: Mask) -> Window:
        return Window.around(mask, self._settings.margin_px, self._settings.window_px)

    def _coarse_shift(self, was: _Object, frame: Levels) -> tuple[float, float]:
        """By how many pixels of the picture the object moved, about."""
        size = (frame.coarse.shape[1], frame.coarse.shape[0])
        share = cv2.resize(was.mask.view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
        small = share > 100
        if not small.any():
            return 0.0, 0.0
        flow = flow_between(self._rough, was.frame.coarse, frame.coarse)
        dx, dy = np.median(flow[small], axis=0) * COARSE
        return float(dx), float(dy)

    def _label(self, was: _Object, old: Window, frame: Levels, new: Window) -> _Labels:
        picture = frame.level(new.level)
        before, now, within = old.cut(was.frame.level(old.level)), new.cut(picture), new.inside(picture.shape)
        back, error = flow_both_ways(self._fine, brightness(before), brightness(now))
        consistent = error < self._settings.agree_px
        fetched = fetch(_signed_distance(old.cut_mask(was.mask)), back, cv2.BORDER_REPLICATE)
        bins = bins_of(now)
        evidence = was.colours.evidence(bins)
        score = self._score(fetched, consistent, evidence)
        score[consistent] -= self._otherness(apart_from(back, (fetched > 1.0) & consistent)[consistent])
        score[~within] = -1.0
        mask = _main_parts(score > 0, fetched)
        score[(score > 0) & ~mask] = -0.5
        if not mask.any():
            return _Labels(score, 0.0, 0.0)
        was.colours.renew(bins, _core(mask) & consistent, _ring(mask) & within)
        return _Labels(score, float(consistent[mask].mean()), float(evidence[mask].mean()))

    def _score(self, fetched: Floats, consistent: Mask, evidence: Floats) -> Floats:
        """Above 0 where the object is, nats."""
        settings = self._settings
        doubt = np.where(fetched > 0, np.float32(settings.doubt_inside), np.float32(settings.doubt_outside))
        trust = np.where(consistent, np.float32(1.0), doubt)
        colour = cv2.GaussianBlur(evidence, (5, 5), 1.0)
        # What hardly tells the two apart must not move the edge, little by little, over a neighbour of like colour.
        telling = np.sign(colour) * np.maximum(np.abs(colour) - settings.colour_least, 0.0)
        score = settings.edge_weight * trust * np.clip(fetched, -SURE_PX, SURE_PX) + settings.colour_weight * telling
        score[fetched <= -REACH_PX] = -SURE_PX
        return np.asarray(cv2.GaussianBlur(score, (3, 3), 0.7), dtype=np.float32)

    def _otherness(self, apart_px: Floats) -> Floats:
        """What is held against pixels that move otherwise than the object, nats."""
        too_far = np.clip(apart_px - self._settings.apart_px, 0.0, APART_MOST_PX)
        return np.asarray(self._settings.apart_weight * too_far, dtype=np.float32)

    def _judge(self, was: _Object, frame: Levels, mask: Mask, labels: _Labels) -> Tracked:
        """Says where the object is, or that it is lost, and remembers that."""
        settings, pixels = self._settings, int(np.count_nonzero(mask))
        if pixels < max(settings.least_px, settings.least_part * was.usual_px):
            return self._lose(frame, LossReason.OUT_OF_VIEW if _touches_edge(was.mask) else LossReason.HIDDEN)
        unlike, inconsistent = labels.colour < settings.least_colour, labels.consistent < settings.least_consistent
        doubts = was.doubts + 1 if unlike or inconsistent else 0
        if doubts >= settings.patience:
            return self._lose(frame, LossReason.UNLIKE if unlike else LossReason.INCONSISTENT)
        # What is hidden for a while is still the object: fewer pixels become usual only slowly.
        usual_px = was.usual_px + (0.05 if pixels > was.usual_px else 0.02) * (pixels - was.usual_px)
        self._object = _Object(frame, mask, was.colours, usual_px, doubts)
        confidence = labels.consistent * float(np.clip(0.5 + labels.colour / 2.0, 0.0, 1.0))
        return Tracked(mask.copy(), TrackState.TRACKED, confidence)

    def _lose(self, frame: Levels, reason: LossReason) -> Tracked:
        self._object, self._why_not = None, reason
        return lost(frame.shape, reason)


def _signed_distance(mask: Mask) -> Floats:
    """To the mask's edge, pixels, above 0 inside, -REACH_PX to REACH_PX."""
    there = mask.astype(np.uint8)
    distance = cv2.distanceTransform(there, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - there, cv2.DIST_L2, 3)
    # A pixel's middle is half a pixel from its edge.
    return np.asarray(np.clip(distance - 0.5 * np.sign(distance), -REACH_PX, REACH_PX), dtype=np.float32)


def _core(mask: Mask) -> Mask:
    """The mask without its edge, whose colours are mixed."""
    return np.asarray(cv2.erode(mask.view(np.uint8), np.ones((5, 5), np.uint8)) > 0)


def _ring(mask: Mask) -> Mask:
    """The pixels around a mask, but for those next to it, whose colours are mixed."""
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray((away > 2.0) & (away < RING_PX))


def _main_parts(mask: Mask, fetched: Floats) -> Mask:
    """The mask without the parts that were not the object before, and without specks."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
    if count <= 2:
        return mask
    sizes = stats[:, cv2.CC_STAT_AREA]
    known = np.bincount(labels[(fetched > 0) & mask], minlength=count)
    keep = (known > 0.3 * sizes) & (sizes > 0.02 * sizes[1:].max())
    keep[0] = False
    return np.asarray(keep[labels])


def _touches_edge(mask: Mask) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
