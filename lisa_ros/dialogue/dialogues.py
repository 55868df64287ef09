# SPDX-License-Identifier: Apache-2.0
"""The dialogues of all operators, in memory and, if there is a store, in a file."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lisa_ros.dialogue.references import kept_turns
from lisa_ros.dialogue.store import FileLostError, StoreError
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.turns import Turn

if TYPE_CHECKING:
    from lisa_ros.dialogue.store import DialogueStore

_LOG = logging.getLogger(__name__)

_KEPT_ENDS = 1000
"""Forgotten dialogues that pending answers are still checked against; far more than answers are ever pending."""


class UndoError(LisaError):
    """There is nothing to undo; the text is one sentence for the operator."""


class ForgottenTurnError(LisaError):
    """A reference to a turn that is not kept; the text is one sentence for the operator."""


@dataclass(frozen=True)
class DialogueLimits:
    """How much is kept. One 640 x 480 mask in each of 16 x 8 turns takes 40 MB.

    Attributes:
        max_turns: turns per operator; the oldest are forgotten first.
        max_operators: dialogues; the one that was idle longest is forgotten first.
        max_bytes: size of one operator's turns, see Turn.nbytes; the oldest are forgotten first, the newest is always
            kept; 0: no limit.
        max_idle_s: dialogues without a new turn for so many seconds are forgotten; 0: never.
    """

    max_turns: int = 8
    max_operators: int = 16
    max_idle_s: float = 0.0
    max_bytes: int = 0


@dataclass(frozen=True)
class DialogueSnapshot:
    """An operator's dialogue at one moment. Everything that one command does uses the same snapshot.

    Attributes:
        turns: the turns that are kept, oldest first, with their numbers.
        generation: for `Dialogues.append`: whether the dialogue was forgotten after the snapshot.
        next_number: number of the next turn.
        frame: the frame of the dialogue, see `Dialogues.append`; None: it has none.
    """

    turns: tuple[Turn, ...]
    generation: int
    next_number: int = 1
    frame: object = None

    def check_kept(self, references: Sequence[int]) -> None:
        """Check that the dialogue still has the turns of these numbers.

        Raises:
            ForgottenTurnError: It never had one of them, or has forgotten it.
        """
        numbers = [turn.number for turn in self.turns]
        for number in references:
            if number not in numbers:
                kept = kept_turns(numbers)
                raise ForgottenTurnError(f"The command refers to turn {number} of its dialogue, but {kept}.")


@dataclass(frozen=True)
class Summary:
    """A dialogue, for a list of them.

    Attributes:
        turns: how many are kept.
        last_turn: number of the newest, counted from 1 since the dialogue began.
        idle_s: seconds since it was added.
    """

    operator: str
    turns: int
    last_turn: int
    idle_s: float


@dataclass
class _Dialogue:
    turns: deque[Turn] = field(default_factory=deque)
    forgotten: int = 0
    last_turn_s: float = 0.0
    """Seconds since 1970, for the file."""
    used_s: float = 0.0
    """When it was used last, on a clock that nobody sets."""
    frame: object = None

    def trim(self, limits: DialogueLimits) -> None:
        sizes = deque(turn.nbytes for turn in self.turns) if limits.max_bytes else deque([0] * len(self.turns))
        while len(sizes) > limits.max_turns or (len(sizes) > 1 and sum(sizes) > (limits.max_bytes or math.inf)):
            sizes.popleft()
            self.turns.popleft()
            self.forgotten += 1


class Dialogues:
    """The dialogues of all operators. Safe to use from several threads."""

    def __init__(
        self,
        limits: DialogueLimits | None = None,
        *,
        store: DialogueStore | None = None,
        now_s: Callable[[], float] = time.time,
        running_s: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        """Take over what a store holds, as far as the limits allow.

        Args:
            limits: What is beyond them is forgotten now, and removed from the store.
            store: Its dialogues are taken over, and every change is written to it.
            now_s: Returns seconds since 1970, which the store keeps over a restart.
            running_s: Returns seconds on a clock that nobody sets and that counts a suspended machine's time. How long
                a dialogue is idle is measured with it: a robot's own clock may jump by years when it finds the network.

        Raises:
            StoreError: The store cannot be read.
        """
        self._lock = threading.Lock()
        self._dialogues: OrderedDict[str, _Dialogue] = OrderedDict()
        self._generation = 0
        self._ends: OrderedDict[str, int] = OrderedDict()
        self._end_of_others = 0
        self._before_reset: OrderedDict[str, _Dialogue] = OrderedDict()
        self._limits, self._store = limits or DialogueLimits(), store
        self._now_s, self._running_s = now_s, running_s
        self._unwritten: set[str] = set()
        self._reported = ""
        for stored in store.load() if store else ():
            forgotten = stored.turns[0].number - 1
            used_s = running_s() - max(0.0, now_s() - stored.last_turn_s)
            self._dialogues[stored.operator] = _Dialogue(deque(stored.turns), forgotten, stored.last_turn_s, used_s)
        self._trim_all()

    def set_limits(self, limits: DialogueLimits) -> None:
        """Change the limits; what is beyond them is forgotten now."""
        with self._lock:
            if limits != self._limits:
                self._limits = limits
                self._trim_all()

    def summaries(self) -> tuple[Summary, ...]:
        """All dialogues, the one that was idle longest first."""
        with self._lock:
            self._forget_idle()
            now_s = self._running_s()
            return tuple(
                Summary(operator, len(kept.turns), kept.forgotten + len(kept.turns), now_s - kept.used_s)
                for operator, kept in self._dialogues.items()
            )

    def save(self) -> int:
        """Forget idle dialogues, and write what could not be written before.

        To be called now and then: otherwise an idle dialogue is kept until somebody asks for one, and turns that could
        not be written, because the disk was full or the file was deleted or replaced, until the next turn.

        Returns:
            The number of operators whose dialogue in the file is still not the one in memory.
        """
        with self._lock:
            self._forget_idle()
            self._check_file()
            self._write_pending()
            return len(self._unwritten)

    def close(self) -> None:
        """Close the store. The dialogues must not be used afterwards."""
        with self._lock:
            if self._store is None:
                return
            self._check_file()
            self._write_pending()
            if self._unwritten:
                _LOG.error("The newest turns of %d operators could not be written and are lost.", len(self._unwritten))
            self._store.close()
            self._store = None

    def snapshot(self, operator: str) -> DialogueSnapshot:
        """An operator's turns, and the generation for `append`. Changes nothing."""
        with self._lock:
            self._forget_idle()
            dialogue = self._dialogues.get(operator) or _Dialogue()
            next_number = dialogue.forgotten + len(dialogue.turns) + 1
            return DialogueSnapshot(tuple(dialogue.turns), self._generation, next_number, dialogue.frame)

    def turns(self, operator: str) -> tuple[Turn, ...]:
        """The turns of an operator that are kept, oldest first."""
        return self.snapshot(operator).turns

    def append(self, operator: str, turn: Turn, generation: int | None = None, *, frame: object = None) -> int:
        """Add a turn.

        Args:
            operator: Whose dialogue.
            turn: The turn. It is kept with its number in this dialogue, and without what no later turn needs of its
                objects: `probability`, which takes four times a mask's memory, and `refined`, which takes as much.
            generation: From `snapshot`: if the dialogue was forgotten since, the turn is dropped. None: add it anyway.
            frame: The frame of the turn, of any type. The dialogue keeps its first one, in memory only.

        Returns:
            The turn's number, counted from 1 since the dialogue began; 0 if it was not kept.
        """
        objects = tuple(replace(found, probability=None, refined=None) for found in turn.objects)
        with self._lock:
            ended = self._ends.get(operator, self._end_of_others)
            if not self._limits.max_turns or (generation is not None and generation < ended):
                return 0
            self._before_reset.pop(operator, None)
            dialogue = self._dialogues.setdefault(operator, _Dialogue())
            self._dialogues.move_to_end(operator)
            self._forget_least_recent()
            dialogue.frame = frame if dialogue.frame is None else dialogue.frame
            kept = replace(turn, objects=objects, number=dialogue.forgotten + len(dialogue.turns) + 1)
            dialogue.turns.append(kept)
            self._touch(dialogue)
            self._write(operator, lambda store: store.add(operator, kept, dialogue.last_turn_s))
            self._trim(operator)
            return kept.number

    def forget_frames(self) -> None:
        """Delete the frames of all dialogues."""
        with self._lock:
            for dialogue in (*self._dialogues.values(), *self._before_reset.values()):
                dialogue.frame = None

    def reset(self, operator: str) -> int:
        """Forget an operator's dialogue; returns how many turns it had."""
        with self._lock:
            self._forget_idle()
            dialogue = self._dialogues.get(operator)
            if dialogue is not None:
                self._before_reset[operator] = dialogue
                self._before_reset.move_to_end(operator)
                self._forget_least_recent()
            return self._forget(operator)

    def undo_reset(self, operator: str) -> int:
        """Restore what the last reset forgot; returns how many turns there are.

        Raises:
            UndoError: There was no reset, or turns were added after it.
        """
        with self._lock:
            self._forget_idle()
            if operator in self._dialogues:
                raise UndoError("The dialogue has new turns since the reset; the earlier ones cannot be restored.")
            dialogue = self._before_reset.pop(operator, None)
            if dialogue is None:
                raise UndoError("There is no reset to undo.")
            self._touch(dialogue)
            self._dialogues[operator] = dialogue
            dialogue.trim(self._limits)
            self._write(operator, lambda store: store.replace(operator, dialogue.turns, dialogue.last_turn_s))
            self._forget_least_recent()
            return len(dialogue.turns)

    def undo_turn(self, operator: str) -> int:
        """Forget the newest turn; returns how many turns are left. A pending answer, which has seen it, is not kept.

        Raises:
            UndoError: No turn is kept.
        """
        with self._lock:
            self._forget_idle()
            dialogue = self._dialogues.get(operator)
            if dialogue is None or not dialogue.turns:
                raise UndoError("The dialogue has no turn to undo.")
            if len(dialogue.turns) == 1 and not dialogue.forgotten:
                self._forget(operator)
                return 0
            turn = dialogue.turns.pop()
            dialogue.frame = dialogue.frame if dialogue.turns else None
            self._end(operator)
            self._write(operator, lambda store: store.drop_turn(operator, turn.number))
            return len(dialogue.turns)

    def _touch(self, dialogue: _Dialogue) -> None:
        dialogue.last_turn_s, dialogue.used_s = self._now_s(), self._running_s()

    def _trim_all(self) -> None:
        if not self._limits.max_turns:
            for operator in list(self._dialogues):
                self._forget(operator)
            self._before_reset.clear()
        for operator in self._dialogues:
            self._trim(operator)
        for dialogue in self._before_reset.values():
            dialogue.trim(self._limits)
        self._forget_least_recent()
        self._forget_idle()

    def _trim(self, operator: str) -> None:
        dialogue = self._dialogues[operator]
        before = dialogue.forgotten
        dialogue.trim(self._limits)
        if dialogue.forgotten > before:
            self._write(operator, lambda store: store.drop_before(operator, dialogue.forgotten + 1))

    def _forget_idle(self) -> None:
        if self._limits.max_idle_s > 0:
            oldest_s = self._running_s() - self._limits.max_idle_s
            for operator in [name for name, kept in self._dialogues.items() if kept.used_s < oldest_s]:
                self._forget(operator)
            for operator in [name for name, kept in self._before_reset.items() if kept.used_s < oldest_s]:
                del self._before_reset[operator]

    def _forget_least_recent(self) -> None:
        while len(self._dialogues) > self._limits.max_operators:
            self._forget(next(iter(self._dialogues)))
        while len(self._before_reset) > self._limits.max_operators:
            self._before_reset.popitem(last=False)

    def _forget(self, operator: str) -> int:
        """Also without a dialogue: the answer to the operator's first command may be pending."""
        dialogue = self._dialogues.pop(operator, None)
        if dialogue:
            self._write(operator, lambda store: store.replace(operator, (), 0.0))
        self._end(operator)
        return len(dialogue.turns) if dialogue else 0

    def _end(self, operator: str) -> None:
        """Answers to commands that saw the dialogue before now are not kept."""
        self._generation += 1
        self._ends[operator] = self._generation
        self._ends.move_to_end(operator)
        if len(self._ends) > _KEPT_ENDS:
            _, self._end_of_others = self._ends.popitem(last=False)

    def _write(self, operator: str, change: Callable[[DialogueStore], None]) -> None:
        """Write a change. If that fails, the operator's whole dialogue is written as soon as it is possible."""
        if self._store is None:
            return
        if self._unwritten:
            self._unwritten.add(operator)
            self._write_pending()
            return
        try:
            change(self._store)
        except StoreError as error:
            self._unwritten.add(operator)
            self._keep(error)
            if isinstance(error, FileLostError):
                self._write_pending()

    def _check_file(self) -> None:
        if self._store is None:
            return
        try:
            self._store.check()
            self._reported = self._reported if self._unwritten else ""
        except StoreError as error:
            self._keep(error)

    def _keep(self, error: StoreError) -> None:
        """Keep in memory what is not in the file, and report each reason once."""
        if isinstance(error, FileLostError):
            self._unwritten.update(self._dialogues)
        if str(error) != self._reported:
            self._reported = str(error)
            _LOG.error("%s Turns are kept in memory until they can be written.", error)

    def _write_pending(self) -> None:
        if self._store is None or not self._unwritten:
            return
        for operator in sorted(self._unwritten):
            dialogue = self._dialogues.get(operator, _Dialogue())
            try:
                self._store.replace(operator, dialogue.turns, dialogue.last_turn_s)
            except StoreError as error:
                self._keep(error)
                return
            self._unwritten.discard(operator)
        self._reported = ""
        _LOG.info("Dialogues can be written to %s again; nothing was lost.", self._store.file)
