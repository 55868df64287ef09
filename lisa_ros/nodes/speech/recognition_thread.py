# SPDX-License-Identifier: Apache-2.0
"""The sound of all operators, recognised on one thread in the order in which it came."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from lisa_ros.speech.audio.samples import NO_SOUND, RATE, Samples
from lisa_ros.speech.audio.utterances import Timing, Utterances
from lisa_ros.speech.audio.voice_activity import SileroActivity
from lisa_ros.speech.extra import SpeechError
from lisa_ros.speech.language.correction import Corrector
from lisa_ros.speech.language.phrases import Meaning
from lisa_ros.speech.language.understanding import Understanding, Understood
from lisa_ros.speech.language.vocabulary import Vocabulary
from lisa_ros.speech.listener import Event, Final, Listener
from lisa_ros.speech.options import Rules
from lisa_ros.speech.recognition.recognizer import Recognition, Recognizer

LISTENING, PUSH_TO_TALK, RELEASED, DISCARDED = range(4)
"""As in Audio.msg."""

_LONGEST_WAITING_S = 30.0
_MOST_WAITING = 4000
"""Blocks and texts, some of which have no sound."""
_HIGHEST_RATE = 384_000
_END_S = 1.5
"""Time for which the end of the thread is waited for: one reading of an utterance on an idle core takes a third."""
_OPERATORS = 16
_PHRASES = 20
_LOST_S = 3.0
"""Silence of a sender that holds a button, after which the button counts as released."""


@dataclass(frozen=True)
class Block:
    """Sound of one operator.

    Attributes:
        source: where it comes from; sounds of two sources are not mixed.
        mode: one of the constants above.
        start_ns: time of the first sample, nanoseconds.
    """

    operator: str
    source: str
    mode: int
    samples: Samples
    rate: int
    start_ns: int


@dataclass(frozen=True)
class Text:
    """What somebody else's recogniser has heard from an operator."""

    operator: str
    recognition: Recognition
    start_ns: int


@dataclass(frozen=True)
class Settings:
    """What all operators share."""

    rules: Rules
    timing: Timing
    vocabulary: Vocabulary
    longest_hold_s: float = 60.0
    """A button that is held for longer counts as released."""


class _Stream:
    """One operator's sound from one source."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.held = self.spent = False
        """`spent`: the button is still held, and counts as released."""
        self.held_s = 0.0
        self.last_s = time.monotonic()

    def press(self) -> None:
        self.listener.press()
        self.held, self.held_s = True, 0.0

    def end_hold(self) -> None:
        """Whatever the button does, what follows is no part of its command."""
        self.listener.drop()
        self.held, self.spent = False, True


class _Operator:
    """What is known of an operator, whichever source they speak through."""

    def __init__(self, recognizer: Recognizer, settings: Settings) -> None:
        self._recognizer, self._settings = recognizer, settings
        self._vocabulary = settings.vocabulary
        self._phrases: deque[str] = deque(maxlen=_PHRASES)
        self.understanding = Understanding(settings.rules, Corrector(settings.vocabulary))
        self.streams: dict[str, _Stream] = {}

    def stream(self, source: str) -> _Stream:
        if source not in self.streams:
            utterances = Utterances(SileroActivity(), self._settings.timing)
            self.streams[source] = _Stream(Listener(self._recognizer, utterances, self.understanding))
        return self.streams[source]

    def add_phrases(self, phrases: Iterable[str]) -> None:
        self._phrases.extend(phrases)
        vocabulary = self._vocabulary | Vocabulary.of_phrases(self._phrases)
        self.understanding.corrector = Corrector(vocabulary)


class RecognitionThread:
    """Takes blocks from any thread, and reports what was heard on its own thread."""

    def __init__(
        self,
        recognizer: Recognizer,
        settings: Settings,
        report: Callable[[str, Event], None],
        fault: Callable[[str], None],
    ) -> None:
        """Starts the thread.

        Args:
            recognizer: shared by all operators.
            settings: shared too.
            report: called with the operator and what was heard.
            fault: called with one sentence when something is wrong with the sound or the recogniser.
        """
        self._recognizer, self._settings, self._report, self._fault = recognizer, settings, report, fault
        self._operators: OrderedDict[str, _Operator] = OrderedDict()
        self._changed = threading.Condition()
        self._waiting: deque[Block | Text | tuple[str, tuple[str, ...]]] = deque()
        self._waiting_s = 0.0
        self._closed = False
        self.dropped_s = 0.0
        # The network is loaded before the first word is said.
        SileroActivity()
        self._thread = threading.Thread(target=self._run, name="recognition", daemon=True)
        self._thread.start()

    def add(self, item: Block | Text) -> None:
        """Sound or a text; dropped where the recogniser is half a minute behind."""
        length_s = _length_s(item)
        with self._changed:
            if self._waiting_s + length_s > _LONGEST_WAITING_S or len(self._waiting) >= _MOST_WAITING:
                self.dropped_s += length_s
                return
            self._waiting_s += length_s
            self._waiting.append(item)
            self._changed.notify()

    def add_phrases(self, operator: str, phrases: Iterable[str]) -> None:
        """Texts of the operator's dialogue, whose words are expected from now on."""
        with self._changed:
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.append((operator, tuple(phrases)))
                self._changed.notify()

    def close(self) -> bool:
        """Ends the thread and frees the recogniser; False where the recogniser still works after some seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(_END_S)
        if self._thread.is_alive():
            return False
        self._recognizer.close()
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting, _LOST_S / 2)
                if self._closed:
                    return
                item = self._waiting.popleft() if self._waiting else None
                self._waiting_s -= _length_s(item)
            try:
                if item is not None:
                    self._take(item)
                    self._fault("")
                self._release_lost()
            except SpeechError as error:
                self._fault(str(error))
            except Exception as error:  # whatever one block does, the next one is heard
                self._fault(f"Sound could not be understood: {type(error).__name__}: {error}")

    def _take(self, item: Block | Text | tuple[str, tuple[str, ...]]) -> None:
        if isinstance(item, tuple):
            self._operator(item[0]).add_phrases(item[1])
        elif isinstance(item, Text):
            understanding = self._operator(item.operator).understanding
            understood = understanding.understand(iter([item.recognition]), held=False)
            self._report(item.operator, Final(understood, item.start_ns, NO_SOUND))
        else:
            self._take_block(item)

    def _take_block(self, block: Block) -> None:
        stream = self._operator(block.operator).stream(block.source)
        stream.last_s = time.monotonic()
        if block.mode == DISCARDED:
            stream.listener.drop()
            stream.held = stream.spent = False
            return
        # A whole utterance may come in one block.
        pressed = block.mode == PUSH_TO_TALK or (block.mode == RELEASED and len(block.samples) > 0)
        if pressed and not stream.held and not stream.spent:
            stream.press()
        self._feed(block, stream)
        if block.mode in (RELEASED, LISTENING):
            stream.spent = False
            if stream.held:
                self._release(block.operator, stream, block.start_ns)
        elif stream.held and stream.held_s > self._settings.longest_hold_s:
            why = f"The button was held for more than {self._settings.longest_hold_s:g} seconds and counts as released."
            self._release(block.operator, stream, block.start_ns, why)
            stream.end_hold()

    def _feed(self, block: Block, stream: _Stream) -> None:
        """Its sound to the listener. A held button makes one command: what was said until the longest utterance."""
        if not len(block.samples):
            return
        stream.held_s += _length_s(block)
        behind = bool(self._waiting) or block.mode == RELEASED
        for event in stream.listener.feed(block.samples, block.rate, block.start_ns, behind=behind):
            if stream.held and isinstance(event, Final):
                stream.end_hold()
                longest_s = self._settings.timing.longest_s
                why = f"The button counts as released after {longest_s:g} seconds of speech; press it again to go on."
                self._report(block.operator, _with_detail(event, why))
                return
            self._report(block.operator, event)

    def _release(self, operator: str, stream: _Stream, now_ns: int, why: str = "") -> None:
        stream.held = False
        is_final, nothing = False, "No words were heard."
        try:
            for event in stream.listener.release():
                is_final = is_final or isinstance(event, Final)
                self._report(operator, _with_detail(event, why) if isinstance(event, Final) else event)
        except Exception as error:
            nothing = str(error)
            raise
        finally:
            if not is_final:  # who holds a button waits for an end
                understood = Understood(Meaning.IGNORED, "", detail=" ".join(filter(None, (nothing, why))))
                self._report(operator, Final(understood, now_ns, NO_SOUND, ended_hold=bool(why)))

    def _release_lost(self) -> None:
        """A sender that ended while its button was held: what it sent is understood."""
        for operator, known in self._operators.items():
            for source, stream in known.streams.items():
                if stream.held and time.monotonic() - stream.last_s > _LOST_S and not self._waits(operator, source):
                    self._release(operator, stream, 0)

    def _waits(self, operator: str, source: str) -> bool:
        """Whether sound of a sender has come that is not taken yet: another utterance takes long on a busy machine."""
        with self._changed:
            blocks = [one for one in self._waiting if isinstance(one, Block)]
        return any((one.operator, one.source) == (operator, source) for one in blocks)

    def _operator(self, name: str) -> _Operator:
        if name not in self._operators:
            self._operators[name] = _Operator(self._recognizer, self._settings)
            if len(self._operators) > _OPERATORS:
                self._operators.popitem(last=False)
        self._operators.move_to_end(name)
        return self._operators[name]


def _length_s(item: object) -> float:
    """Seconds of sound in a block; at least as much as it needs memory for."""
    if not isinstance(item, Block):
        return 0.0
    return len(item.samples) / (min(item.rate, _HIGHEST_RATE) if item.rate > 0 else RATE)


def _with_detail(event: Final, why: str) -> Final:
    detail = " ".join(filter(None, (event.understood.detail, why)))
    return replace(event, understood=replace(event.understood, detail=detail), ended_hold=bool(why))
