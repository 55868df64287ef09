# SPDX-License-Identifier: Apache-2.0
"""The chat: reads lines, prints answers while they are generated, shows overlays."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from lisa_ros.chat.dialogues import ChatDialogue
from lisa_ros.chat.saving import save, save_overlay
from lisa_ros.chat.sources import Source
from lisa_ros.chat.terminal_images import Protocol, rendered
from lisa_ros.dialogue.noun_phrase import object_name
from lisa_ros.models.model import Answer
from lisa_ros.segmentation.errors import LisaError, sentence_of
from lisa_ros.segmentation.text import score_text

if TYPE_CHECKING:
    from prompt_toolkit.history import History

PROMPT = "> "
HELP = """Type what you look for, for example: the red mug
  /image [NAME|NUMBER|next|FILE]   shows the images, or changes the image
  /reset                           begins a new dialogue
  /undo                            undoes the reset, or deletes the newest turn
  /save [FOLDER]                   writes masks, overlays and chat.json
  /help                            shows this
  /quit                            ends the chat, as Ctrl-D does; Ctrl-C cancels an answer"""
COMMANDS = ("/image", "/reset", "/undo", "/save", "/help", "/quit")
_WIDEST = 100


class ChatSession:
    """One chat, from its greeting to its end."""

    def __init__(
        self, dialogue: ChatDialogue, source: Source | None, output: Path, protocol: Protocol, out: TextIO = sys.stdout
    ) -> None:
        """Prints to `out`.

        Args:
            dialogue: who answers.
            source: of the images; None: the node chooses them.
            output: folder for overlays, where the terminal shows none, and for /save.
            protocol: how the terminal shows images.
            out: where to print.
        """
        self._dialogue, self._source, self._output = dialogue, source, output
        self._protocol, self._out = protocol, out
        self._answers: list[Answer] = []

    def run(self, lines: Iterable[str]) -> None:
        """Answers line after line."""
        self._print(f"{self._dialogue.name}. /help shows the commands.")
        self._report(self._show_image)
        for line in map(str.strip, lines):
            if line.partition(" ")[0] in ("/quit", "/exit"):
                return
            if line:
                self._report(partial(self._take, line))

    def _take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        actions: dict[str, Callable[[str], None]] = {
            "/help": lambda rest: self._print(HELP),
            "/image": self._image,
            "/reset": lambda rest: self._print(self._dialogue.reset()),
            "/undo": self._undo,
            "/save": lambda rest: self._print(str(save(self._answers, Path(rest or self._output).expanduser()))),
        }
        if word in actions:
            actions[word](rest.strip())
        elif word.startswith("/"):
            raise LisaError(f"there is no command {word}; there are {', '.join(COMMANDS)}")
        else:
            self._ask(line)

    def _ask(self, text: str) -> None:
        printed = ""

        def on_text(explanation: str) -> None:
            nonlocal printed
            # What may still change, as the number of a mask that has just come, is printed when it does not any more.
            if explanation.startswith(printed):
                self._out.write(explanation[len(printed) :])
                self._out.flush()
                printed = explanation

        with _cancelling() as cancelled:
            answer, sentence = self._dialogue.ask(text, on_text, cancelled)
        whole = answer.explanation
        rest = whole[len(printed) :] if whole.startswith(printed) else f"\n{whole}"
        said = sentence or answer.note
        self._print(rest + (f"\n({said})" if said else ""))
        self._answers.append(answer)
        self._show(answer)

    def _show(self, answer: Answer) -> None:
        if not answer.objects:
            return
        if self._protocol == "none":
            file = self._output / f"answer{len(self._answers)}.png"
            save_overlay(answer, file)
            self._print(str(file))
        else:
            self._out.write(rendered(answer.overlay(), self._protocol, self._columns()))
        for number, found in enumerate(answer.objects, start=1):
            score = "" if found.score is None else f", {score_text(found.score, found.score_calibrated)}"
            name = object_name(found.phrase, answer.command)
            self._print(f"  {number}: {name}, {int(found.mask.sum())} pixels{score}")

    def _image(self, name: str) -> None:
        if self._source is None:
            raise LisaError("the node's camera gives the images")
        if name:
            self._source.choose(name)
        for number, one in enumerate(self._source.names() if not name else (), start=1):
            self._print(f"  {number}: {one}")
        self._show_image()

    def _show_image(self) -> None:
        if self._source is not None:
            name, image = self._source.image()
            self._print(f"Image: {name}, {image.shape[1]} x {image.shape[0]} pixels")
            self._out.write(rendered(image, self._protocol, self._columns()))

    def _undo(self, rest: str) -> None:
        sentence = self._dialogue.undo()
        self._print(sentence)

    def _columns(self) -> int:
        return min(_WIDEST, shutil.get_terminal_size().columns)

    def _report(self, work: Callable[[], None]) -> None:
        """Prints the error of an input, which does not end the chat."""
        try:
            work()
        except (ValueError, OSError) as error:
            self._print(f"! {sentence_of(error)}")

    def _print(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()


def typed_lines(names: Callable[[], list[str]], history: Path) -> Iterator[str]:
    """Lines of a person at a terminal, with history and completion."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter

    words: Any = lambda: [*COMMANDS, *(f"/image {name}" for name in names()), "/image next"]  # noqa: E731
    completer = WordCompleter(words, sentence=True)
    session: PromptSession[str] = PromptSession(history=_kept_history(history), completer=completer)
    while True:
        try:
            yield session.prompt(PROMPT)
        except KeyboardInterrupt:
            continue  # clears the line
        except EOFError:
            return


def _kept_history(file: Path) -> History:
    """The history in a file, or of this chat alone where the file cannot be used, as in a container without a home."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    class KeptHistory(FileHistory):
        def store_string(self, string: str) -> None:
            with suppress(OSError):  # a full disk does not end a chat
                super().store_string(string)

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("ab").close()
    except OSError:
        return InMemoryHistory()
    return KeptHistory(str(file))


@contextmanager
def _cancelling() -> Iterator[Callable[[], bool]]:
    """Ctrl-C cancels the answer, and not the chat."""
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
