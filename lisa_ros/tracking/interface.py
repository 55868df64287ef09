# SPDX-License-Identifier: Apache-2.0
"""The interface of trackers, and a Follower that combines a tracker with a slow segmenter such as LISA.

A `Tracker` propagates a mask from one frame to the next. The masks of a slow segmenter are about frames of seconds
ago; a `Follower` propagates them to the newest frame and reports when the segmenter should be run again. The types are
those of numpy, so that each kind of tracker fits the same interface: `lisa_ros.tracking.flow` has one by optical flow,
`lisa_ros.tracking.video_models` has SAM 2, EdgeTAM and SAM 3.

Nothing here is safe for use from several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB, (H, W, 3)."""

Mask = NDArray[np.bool_]
"""(H, W), of the image's size."""


class TrackState(Enum):
    """Whether the mask still shows the object."""

    TRACKED = "tracked"
    LOST = "lost"


class LossReason(Enum):
    """Why an object was lost. Each value completes the sentence "The object is lost: ..."."""

    NOT_STARTED = "no object was given to track"
    OUT_OF_VIEW = "it left the view"
    HIDDEN = "too little of it is visible"
    UNLIKE = "the pixels at its position no longer have its colours"
    INCONSISTENT = "its motion could not be tracked"
    SIZE_CHANGED = "the camera's images have another size now"
    ENDED = "it is no longer tracked"


@dataclass(frozen=True, eq=False)
class Tracked:
    """Where the object is in the newest frame.

    Attributes:
        mask: (H, W); empty if and only if the state is LOST, so that no old mask is taken for a new one.
        state: TRACKED or LOST. With the flow tracker, LOST stays until it is started again; a video model may find the
            object again by itself.
        confidence: 0 to 1, how well motion and colours agree with the mask; 0 if LOST. It compares frames and is not a
            probability.
        reason: why it was lost; None while TRACKED.
    """

    mask: Mask
    state: TrackState
    confidence: float
    reason: LossReason | None = None


class Tracker(Protocol):
    """Propagates one object's mask from frame to frame."""

    def start(self, image: Image, mask: Mask) -> None:
        """Track this object from now on, instead of any other.

        Args:
            image: The frame that the mask belongs to. The caller must not change it afterwards.
            mask: The object in that frame.

        Raises:
            ValueError: The mask is empty, or not of the image's size.
        """

    def update(self, image: Image) -> Tracked:
        """Find the object in the next frame.

        Args:
            image: The caller must not change it afterwards. An image of another size than the first loses the object
                (LossReason.SIZE_CHANGED).
        """


def lost(shape: tuple[int, int], reason: LossReason) -> Tracked:
    """The result for a lost object in an image of this (H, W)."""
    return Tracked(np.zeros(shape, dtype=np.bool_), TrackState.LOST, 0.0, reason)


def check_start(image: Image, mask: Mask) -> None:
    """Check the arguments of `Tracker.start`.

    Raises:
        ValueError: The image is not RGB uint8, or the mask is empty or not of the image's size.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image must be RGB, (H, W, 3) uint8, not {image.shape} {image.dtype}")
    if mask.shape != image.shape[:2] or mask.dtype != np.bool_:
        raise ValueError(f"the mask must be {image.shape[:2]} bool as its image is, not {mask.shape} {mask.dtype}")
    if not mask.any():
        raise ValueError("an empty mask shows nothing to follow")


@dataclass(frozen=True, eq=False)
class _Kept:
    stamp_ns: int
    image: Image


class Follower:
    """Follows an object at camera rate, with masks from a slow segmenter, and reports when a new mask is due.

    A mask of the segmenter is seconds old when it arrives. Therefore frames are kept, and `found` tracks the object
    through them up to the newest. As soon as `keep` frames are there, every second one is dropped, so that memory and
    the time to catch up are limited however long the segmenter takes.
    """

    def __init__(self, tracker: Tracker, *, refresh_after_s: float = 5.0, keep: int = 32) -> None:
        """Nothing is followed at first.

        Args:
            tracker: Propagates the masks.
            refresh_after_s: A new mask is due so long after the frame of the last one, seconds; 0: never.
            keep: Frames kept for catching up, at least 2. 32 frames of 640x480 take 30 MB.

        Raises:
            ValueError: The seconds are negative, or too few frames are to be kept.
        """
        if refresh_after_s < 0.0:
            raise ValueError(f"refresh_after_s must be 0 (never) or more seconds, not {refresh_after_s}")
        if keep < 2:
            raise ValueError(f"at least 2 frames must be kept to catch up, not {keep}")
        self._tracker, self.refresh_after_s, self._keep = tracker, refresh_after_s, keep
        self._frames: list[_Kept] = []
        self._found_ns: int | None = None
        self._newest: Tracked | None = None

    @property
    def newest(self) -> Tracked | None:
        """The newest result; None while nothing is followed."""
        return self._newest

    @property
    def found_ns(self) -> int | None:
        """Stamp of the frame of the segmenter's last mask, nanoseconds; None while nothing is followed."""
        return self._found_ns

    def update(self, stamp_ns: int, image: Image) -> Tracked | None:
        """Take the next frame.

        Args:
            stamp_ns: Its stamp, nanoseconds. A stamp older than the last one begins a new history, because a bag was
                rewound or the clock was set; the object is forgotten. A second frame of the same stamp is ignored.
            image: Kept for a while; the caller must not change it.

        Returns:
            Where the object is; None while nothing is followed.
        """
        if self._frames and stamp_ns == self._frames[-1].stamp_ns:
            return self._newest
        if self._frames and stamp_ns < self._frames[-1].stamp_ns:
            self.forget()
        self._remember(_Kept(stamp_ns, image))
        if self._newest is not None:
            self._newest = self._tracker.update(image)
        return self._newest

    def found(
        self, stamp_ns: int, image: Image, mask: Mask, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Tracked:
        """Take a mask of the segmenter, of a new object or a correction, and catch up with the newest frame.

        Args:
            stamp_ns: Stamp of the frame that the mask belongs to, nanoseconds.
            image: That frame.
            mask: The object; not empty. If the segmenter no longer finds the object, call `forget`.
            cancelled: Called before every frame. Once it returns True, all frames but the newest are skipped.

        Returns:
            Where the object is in the newest frame.

        Raises:
            ValueError: The mask is empty, or not of the image's size.
        """
        self._tracker.start(image, mask)
        self._found_ns = stamp_ns
        tracked = Tracked(mask.copy(), TrackState.TRACKED, 1.0)
        since = [kept for kept in self._frames if kept.stamp_ns > stamp_ns]
        for kept in since:
            if kept is since[-1] or not cancelled():
                tracked = self._tracker.update(kept.image)
        self._newest = tracked
        return tracked

    def needs_refresh(self, stamp_ns: int) -> bool:
        """Whether a new mask of the segmenter is due: the interval is over, or the object is lost."""
        if self._newest is None or self._found_ns is None or not self.refresh_after_s:
            return False
        return self._newest.state is TrackState.LOST or stamp_ns - self._found_ns >= 1e9 * self.refresh_after_s

    def forget(self) -> None:
        """Follow nothing from now on, and drop all frames."""
        self._frames, self._found_ns, self._newest = [], None, None

    def _remember(self, frame: _Kept) -> None:
        self._frames.append(frame)
        if len(self._frames) > self._keep:
            # The newest stays: it is the one to catch up with.
            self._frames = self._frames[-1::-2][::-1]
