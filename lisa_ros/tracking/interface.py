# SPDX-License-Identifier: Apache-2.0
"""The one doorway to following an object at camera rate, from the frame it was found in to the frames after it.

A `Tracker` carries a mask from one frame to the next. A `Follower` puts one behind a slow finder such as LISA, whose
masks are about frames of seconds ago, and says when the finder should look again. Only numpy is in the types, so that
another kind of tracker (of SAM 2's class, say) moves in unchanged; `lisa_ros.tracking.flow` has one by optical flow.

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
"""(H, W), size of the picture."""


class TrackState(Enum):
    """Whether the object is still known to be where the mask says."""

    TRACKED = "tracked"
    LOST = "lost"


class LossReason(Enum):
    """Why an object was lost."""

    NOT_STARTED = "nothing was given to follow"
    OUT_OF_VIEW = "it left the view"
    HIDDEN = "too little of it is seen"
    UNLIKE = "what is there no longer looks like it"
    INCONSISTENT = "its motion could not be followed"
    ENDED = "it is not followed any more"


@dataclass(frozen=True)
class Tracked:
    """Where the object is in the newest frame.

    Attributes:
        mask: (H, W); empty if and only if the state is LOST: an old mask is never shown for a new frame.
        state: TRACKED or LOST. LOST stays until the tracker is started again.
        confidence: 0 to 1, how well motion and looks agree with the mask; 0 when LOST. For comparison over time,
            not a probability.
        reason: why it was lost; None while TRACKED.
    """

    mask: Mask
    state: TrackState
    confidence: float
    reason: LossReason | None = None


class Tracker(Protocol):
    """Carries one object's mask from frame to frame."""

    def start(self, image: Image, mask: Mask) -> None:
        """Follows this object from now on, in place of any other.

        Args:
            image: the frame it was found in; it is not changed, and must not be by the caller.
            mask: where it is in that frame.

        Raises:
            ValueError: the mask is empty, or not of the image's size.
        """

    def update(self, image: Image) -> Tracked:
        """Finds the object in the next frame.

        Args:
            image: of the size of the first; it is not changed, and must not be by the caller.

        Raises:
            ValueError: the image is not of the first one's size.
        """


def lost(shape: tuple[int, int], reason: LossReason) -> Tracked:
    """What is said of an object that is lost; shape is the picture's (H, W)."""
    return Tracked(np.zeros(shape, dtype=np.bool_), TrackState.LOST, 0.0, reason)


def check_start(image: Image, mask: Mask) -> None:
    """Says what is wrong with what a tracker is started with.

    Raises:
        ValueError: the image is not RGB uint8, or the mask is empty or not of the image's size.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image must be RGB, (H, W, 3) uint8, not {image.shape} {image.dtype}")
    if mask.shape != image.shape[:2] or mask.dtype != np.bool_:
        raise ValueError(f"the mask must be {image.shape[:2]} bool as its image is, not {mask.shape} {mask.dtype}")
    if not mask.any():
        raise ValueError("an empty mask shows nothing to follow")


@dataclass(frozen=True)
class _Kept:
    stamp_ns: int
    image: Image


class Follower:
    """Follows what a slow finder finds, at camera rate, and says when it should look again.

    The finder's mask is about the frame it was asked about, which is seconds old when the mask comes. So the frames
    since then are kept, and `found` follows the object through them to the newest. Of old frames only some are kept:
    whenever `keep` are there, every second one is forgotten, so that memory and the time to catch up stay bounded
    whatever the finder takes.
    """

    def __init__(self, tracker: Tracker, *, again_after_s: float = 5.0, keep: int = 32) -> None:
        """Nothing is followed at first.

        Args:
            tracker: what carries the mask.
            again_after_s: the finder should look again this long after the frame of its last mask; 0 for never.
            keep: frames kept for catching up, at least 2: 32 of 640x480 are 30 MB.

        Raises:
            ValueError: the seconds are negative, or too few frames are to be kept.
        """
        if again_after_s < 0.0:
            raise ValueError(f"again_after_s must be 0 (never) or more seconds, not {again_after_s}")
        if keep < 2:
            raise ValueError(f"at least 2 frames must be kept to catch up, not {keep}")
        self._tracker, self.again_after_s, self._keep = tracker, again_after_s, keep
        self._frames: list[_Kept] = []
        self._found_ns: int | None = None
        self._newest: Tracked | None = None

    @property
    def newest(self) -> Tracked | None:
        """What was last said of the object; None while there is nothing to follow."""
        return self._newest

    @property
    def found_ns(self) -> int | None:
        """Stamp of the frame in which the finder last found the object; None while there is nothing to follow."""
        return self._found_ns

    def update(self, stamp_ns: int, image: Image) -> Tracked | None:
        """Takes the next frame, of any size if it is the first or nothing is followed.

        Args:
            stamp_ns: its stamp, nanoseconds. One that is older than the last begins a new history: a bag was
                rewound, or the clock was set, and what was followed is forgotten. A second one of the same stamp is
                left out.
            image: kept for a while, so the caller must not change it.

        Returns:
            where the object is; None while there is nothing to follow.

        Raises:
            ValueError: the image's size changed while an object is followed.
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
        """Takes the finder's mask, be it of a new object or a correction, and catches up with the newest frame.

        Args:
            stamp_ns: of the frame that the mask is about.
            image: that frame.
            mask: of the object, not empty; where the finder sees the object no more, call `forget`.
            cancelled: asked before every frame; once it says True, the rest is left out but for the newest frame.

        Returns:
            where the object is in the newest frame.

        Raises:
            ValueError: the mask is empty, or not of the image's size.
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

    def should_find_again(self, stamp_ns: int) -> bool:
        """Whether the finder should look again: the set interval is over, or the object is lost."""
        if self._newest is None or self._found_ns is None or not self.again_after_s:
            return False
        return self._newest.state is TrackState.LOST or stamp_ns - self._found_ns >= 1e9 * self.again_after_s

    def forget(self) -> None:
        """Follows nothing any more, and forgets all frames."""
        self._frames, self._found_ns, self._newest = [], None, None

    def _remember(self, frame: _Kept) -> None:
        self._frames.append(frame)
        if len(self._frames) > self._keep:
            # The newest stays: it is the one to catch up with.
            self._frames = self._frames[-1::-2][::-1]
