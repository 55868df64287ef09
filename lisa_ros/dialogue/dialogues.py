# SPDX-License-Identifier: Apache-2.0
"""What was said and seen, per operator, in memory and, where a store is given, in it as well."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lisa_ros.dialogue.references import kept_turns
from lisa_ros.segmentation.turns import Turn

if TYPE_CHECKING:
    from lisa_ros.dialogue.store import DialogueStore

DEFAULT_OPERATOR = "default"
LONGEST_OPERATOR = 64

# Forgotten dialogues that answers on their way are still checked against; far more than are ever on their way.
_KEPT_ENDS = 1000


class OperatorError(ValueError):
    """An operator id that cannot be used; the text is one sentence for the sender."""


class UndoError(ValueError):
    """There is nothing to take back; the text is one sentence for the operator."""


class ForgottenTurnError(ValueError):
    """A reference to a turn that is not kept; the text is one sentence for the operator."""


@dataclass(frozen=True)
class DialogueSnapshot:
    """An operator's dialogue as it was when a command was taken up.

    Attributes:
        turns: the turns that are kept, oldest first, with their numbers.
        generation: tells whether the dialogue was forgotten since; for `append`.
    """

    turns: tuple[Turn, ...]
    generation: int

    def check_kept(self, references: Sequence[int]) -> None:
        """Checks that the dialogue still has the turns of these numbers.

        Raises:
            ForgottenTurnError: it has one of them not, or no longer.
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
    spoken_s: float = 0.0

    def trim(self, longest: int) -> None:
        while len(self.turns) > longest:
            self.turns.popleft()
            self.forgotten += 1


class Dialogues:
    """The dialogues of all operators. Safe to use from several threads.

    Memory is bounded by max_operators x max_turns turns; one 640 x 480 mask in each of 16 x 8 takes 40 MB.
    """

    def __init__(
        self,
        *,
        max_turns: int = 8,
        max_operators: int = 16,
        max_idle_s: float = 0.0,
        store: DialogueStore | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Keep the newest max_turns of each operator, and the max_operators who spoke last.

        Args:
            max_turns: of each operator.
            max_operators: dialogues.
            max_idle_s: dialogues that had no new turn for so many seconds are forgotten; 0: never.
            store: what it holds is taken over, and what changes goes into it.
            now_s: seconds since 1970.
        """
        self._lock = threading.Lock()
        self._dialogues: OrderedDict[str, _Dialogue] = OrderedDict()
        self._generation = 0
        self._ends: OrderedDict[str, int] = OrderedDict()
        self._end_of_others = 0
        self._before_reset: OrderedDict[str, _Dialogue] = OrderedDict()
        self._max_turns, self._max_operators, self._max_idle_s = max_turns, max_operators, max_idle_s
        self._store, self._now_s = store, now_s
        for kept in store.load() if store else ():
            self._dialogues[kept.operator] = _Dialogue(deque(kept.turns), kept.turns[0].number - 1, kept.spoken_s)
        self._trim_all()

    def set_limits(self, *, max_turns: int, max_operators: int, max_idle_s: float = 0.0) -> None:
        """Change the bounds; what is over them is forgotten now."""
        with self._lock:
            self._max_turns, self._max_operators, self._max_idle_s = max_turns, max_operators, max_idle_s
            self._trim_all()

    def summaries(self) -> tuple[Summary, ...]:
        """All dialogues, the one that was silent longest first."""
        with self._lock:
            self._forget_idle()
            now_s = self._now_s()
            return tuple(
                Summary(operator, len(kept.turns), kept.forgotten + len(kept.turns), max(0.0, now_s - kept.spoken_s))
                for operator, kept in self._dialogues.items()
            )

    def close(self) -> None:
        """Lets the store go; nothing may be asked of it afterwards."""
        with self._lock:
            if self._store:
                self._store.close()
                self._store = None

    def snapshot(self, operator: str) -> DialogueSnapshot:
        """What was said, and the generation to hand to `append`; changes nothing."""
        with self._lock:
            self._forget_idle()
            dialogue = self._dialogues.get(operator) or _Dialogue()
            return DialogueSnapshot(tuple(dialogue.turns), self._generation)

    def turns(self, operator: str) -> tuple[Turn, ...]:
        """The turns of one operator that are kept, oldest first."""
        with self._lock:
            self._forget_idle()
            dialogue = self._dialogues.get(operator)
            return tuple(dialogue.turns) if dialogue else ()

    def append(self, operator: str, turn: Turn, generation: int | None = None) -> int:
        """Add a turn.

        Args:
            operator: whose dialogue.
            turn: the turn; it is kept with its number in this dialogue, and without its objects' `probability`, which
                takes four times a mask's memory.
            generation: from `snapshot`: a turn of a dialogue that was forgotten since is dropped. None: add it anyway.

        Returns:
            The turn's number, counted from 1 since the dialogue began; 0 when it was not kept.
        """
        objects = tuple(replace(found, probability=None) for found in turn.objects)
        with self._lock:
            ended = self._ends.get(operator, self._end_of_others)
            if not self._max_turns or (generation is not None and generation < ended):
                return 0
            dialogue = self._dialogues.setdefault(operator, _Dialogue())
            self._dialogues.move_to_end(operator)
            self._forget_least_recent()
            number = dialogue.forgotten + len(dialogue.turns) + 1
            dialogue.turns.append(replace(turn, objects=objects, number=number))
            dialogue.spoken_s = self._now_s()
            if self._store:
                self._store.add(operator, dialogue.turns[-1], dialogue.spoken_s)
            self._trim(operator)
            return number

    def reset(self, operator: str) -> int:
        """Forget one operator's dialogue; returns how many turns were kept of it."""
        with self._lock:
            dialogue = self._dialogues.get(operator)
            if dialogue is not None:
                self._before_reset[operator] = dialogue
                self._before_reset.move_to_end(operator)
                while len(self._before_reset) > self._max_operators:
                    self._before_reset.popitem(last=False)
            return self._forget(operator)

    def undo_reset(self, operator: str) -> int:
        """Keep again what the last reset forgot; returns how many turns there are.

        Raises:
            UndoError: there was no reset, or turns were added after it.
        """
        with self._lock:
            if operator in self._dialogues:
                raise UndoError("The dialogue has new turns since the reset; the earlier ones cannot be restored.")
            dialogue = self._before_reset.pop(operator, None)
            if dialogue is None:
                raise UndoError("There is no reset to take back.")
            dialogue.spoken_s = self._now_s()
            self._dialogues[operator] = dialogue
            for turn in dialogue.turns if self._store else ():
                assert self._store is not None
                self._store.add(operator, turn, dialogue.spoken_s)
            self._trim(operator)
            self._forget_least_recent()
            return len(dialogue.turns)

    def undo_turn(self, operator: str) -> int:
        """Forget the newest turn; returns how many turns are left.

        Raises:
            UndoError: no turn is kept.
        """
        with self._lock:
            dialogue = self._dialogues.get(operator)
            if dialogue is None or not dialogue.turns:
                raise UndoError("The dialogue has no turn to take back.")
            if len(dialogue.turns) == 1:
                self._forget(operator)
                return 0
            turn = dialogue.turns.pop()
            if self._store:
                self._store.drop_turn(operator, turn.number)
            return len(dialogue.turns)

    def _trim_all(self) -> None:
        for operator in self._dialogues:
            self._trim(operator)
        self._forget_least_recent()
        self._forget_idle()

    def _trim(self, operator: str) -> None:
        dialogue = self._dialogues[operator]
        before = dialogue.forgotten
        dialogue.trim(self._max_turns)
        if self._store and dialogue.forgotten > before:
            self._store.drop_before(operator, dialogue.forgotten + 1)

    def _forget_idle(self) -> None:
        if self._max_idle_s > 0:
            oldest_s = self._now_s() - self._max_idle_s
            for operator in [name for name, kept in self._dialogues.items() if kept.spoken_s < oldest_s]:
                self._forget(operator)

    def _forget_least_recent(self) -> None:
        while len(self._dialogues) > self._max_operators:
            self._forget(next(iter(self._dialogues)))

    def _forget(self, operator: str) -> int:
        """Also where there is no dialogue yet: its first answer may be on its way."""
        dialogue = self._dialogues.pop(operator, None)
        if self._store and dialogue:
            self._store.forget(operator)
        self._generation += 1
        self._ends[operator] = self._generation
        self._ends.move_to_end(operator)
        if len(self._ends) > _KEPT_ENDS:
            _, self._end_of_others = self._ends.popitem(last=False)
        return len(dialogue.turns) if dialogue else 0


def operator_name(operator_id: str) -> str:
    """The name under which a dialogue is kept: the id itself, "default" for an empty one.

    Raises:
        OperatorError: the id is longer than 64 characters, blank, or has characters that cannot be printed.
    """
    if not operator_id:
        return DEFAULT_OPERATOR
    if len(operator_id) > LONGEST_OPERATOR or operator_id.isspace() or not operator_id.isprintable():
        shown = ascii(operator_id[:20]) + ("..." if len(operator_id) > 20 else "")
        raise OperatorError(
            f"The operator_id {shown} cannot be used: it must be 1 to {LONGEST_OPERATOR} printable characters"
            f" (it has {len(operator_id)}), or empty for {DEFAULT_OPERATOR!r}."
        )
    return operator_id
