# SPDX-License-Identifier: Apache-2.0
"""The node `speech`: operators' sound in, commands to the segmentation node out, answers spoken.

Sound comes from the microphone, `~/audio` or a file. `RecognitionThread` recognises it. `_on_heard` publishes the text,
and `Commanding` sends or cancels a command. `_on_answer` speaks the answer.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Bool, Header, String
from std_srvs.srv import SetBool

from lisa_ros.fleet.connection import is_remote
from lisa_ros.models.common.checkpoints.hub import find_folder
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.msg import Audio, Heard, Segmentation
from lisa_ros.nodes.common.command_line import check_program, report_overrides
from lisa_ros.nodes.common.guarding import guarded
from lisa_ros.nodes.common.spoken_answers import spoken
from lisa_ros.nodes.common.stamps import nanoseconds, time_message
from lisa_ros.nodes.common.starting import START_ERRORS, StartError, Stop, run_node, start_ros
from lisa_ros.nodes.speech.commanding import Commanding
from lisa_ros.nodes.speech.parameters import DESCRIPTIONS, FILE, MICROPHONE, TOPIC, SpeechParameters, declared
from lisa_ros.nodes.speech.recognition_thread import (
    LISTENING,
    PUSH_TO_TALK,
    RELEASED,
    Block,
    RecognitionThread,
    Settings,
    Text,
)
from lisa_ros.nodes.speech.recording import Recorder
from lisa_ros.nodes.speech.voices import Voices, subscribe_audio_common
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.text import quoted
from lisa_ros.speech.audio.microphone import Microphone
from lisa_ros.speech.audio.samples import NO_SOUND, RATE, AudioError, Samples, from_int16, mono, read_wav
from lisa_ros.speech.audio.utterances import Timing
from lisa_ros.speech.extra import SpeechError
from lisa_ros.speech.language.phrases import Meaning, WakePhrase
from lisa_ros.speech.language.understanding import Understood
from lisa_ros.speech.language.vocabulary import FILE_NAME, Vocabulary, model_vocabulary, read_vocabulary
from lisa_ros.speech.listener import Event, Final, Partial
from lisa_ros.speech.options import WAKE_PHRASE, Rules
from lisa_ros.speech.recognition.loading import load_recognizer
from lisa_ros.speech.recognition.recognizer import Recognition
from lisa_ros.speech.speaking import Speaker

_AUDIO_QOS = QoSProfile(depth=400, reliability=ReliabilityPolicy.RELIABLE)
_LOCAL, _REMOTE = "local", "audio"
_FILE_BLOCK_S = 0.05
_ECHO_S = 0.3
"""After the robot has spoken, so long is not listened to: a room's echo."""

_SPOKEN = {Meaning.STOP: "Stopped.", Meaning.RESET: "I start over.", Meaning.WAKE: "Yes?"}


class Speech(Node):
    """Listens to operators and speaks answers."""

    def __init__(self) -> None:
        """Loads the recogniser and starts listening.

        Raises:
            ValueError: a parameter has a value that cannot be used.
            SpeechError: a package, the recogniser, the vocabulary or the file cannot be used.
        """
        super().__init__("speech")
        self.callback_errors = 0
        self._declared = declared(self)
        self._faults: dict[str, str] = {}
        self._counts = dict.fromkeys(Meaning, 0)
        self._silent_until_s = 0.0
        self._pressed = False
        self._wrong_audio_of = ""
        self._stop = threading.Event()
        self._file = read_wav(_file(self._declared)) if self._declared.audio == FILE else None
        self._speaker = Speaker(self._declared.say, self._declared.say_command, self._fault("speaker"))
        settings = _settings(self._declared)
        recognizer = load_recognizer(self._declared.asr_model, self._declared.asr_language, self._declared.asr_device)
        self._recorder = Recorder(self._declared.record_folder, self._fault("recording"))
        self._heard = self.create_publisher(Heard, "~/heard", 50)
        self._saying = self.create_publisher(String, "~/saying", 10)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._commanding = Commanding(self, self._declared.lisa, self._on_answer)
        self._recognition = RecognitionThread(recognizer, settings, self._on_heard, self._fault("recognition"))
        self._voices = Voices(self, self._on_voice)
        self._recognizer_name = recognizer.name
        self._open_inputs()
        # Not of the node's clock: with use_sim_time, that may stand still.
        self.create_timer(1.0, self._publish_diagnostics, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(f"Ready: {recognizer.name}; listens: {self._declared.listen}.")

    def close(self) -> bool:
        """Stops listening and speaking; returns whether all threads have ended."""
        self._stop.set()
        self._speaker.close()
        ended = self._microphone is None or self._microphone.close()
        ended = self._recognition.close() and ended
        self._commanding.close()
        return ended

    def _open_inputs(self) -> None:
        self.create_subscription(Audio, "~/audio", self._on_audio, _AUDIO_QOS)
        self.create_subscription(Bool, "~/push_to_talk", self._on_button, 10)
        self.create_subscription(String, "~/cancel", self._on_cancel, 10)
        self.create_service(SetBool, "~/push_to_talk", self._on_button_service)
        self._microphone: Microphone | None = None
        if self._declared.audio == MICROPHONE:
            now_ns = lambda: int(self.get_clock().now().nanoseconds)  # noqa: E731
            self._microphone = Microphone(
                self._declared.device, self._on_sound, self._fault("microphone"), now_ns=now_ns
            )
        elif self._declared.audio == TOPIC:
            if missing := subscribe_audio_common(self, self._on_common_audio, self._fault("topic audio")):
                self.get_logger().info(missing)
        elif self._file is not None:
            threading.Thread(target=self._play, args=(self._file,), name="file", daemon=True).start()

    def _play(self, samples: Samples) -> None:
        """A file as if it were recorded now."""
        step = round(RATE * _FILE_BLOCK_S)
        begin_s, begin_ns = time.monotonic(), self.get_clock().now().nanoseconds
        for start in range(0, len(samples), step):
            end_s = (start + step) / RATE
            if self._stop.wait(max(0.0, begin_s + end_s - time.monotonic())):
                return
            self._on_sound(samples[start : start + step], RATE, begin_ns + round(start * 1e9 / RATE))
        # Silence, so that the last utterance ends.
        rest = np.zeros(round(RATE * (self._declared.end_silence + 0.1)), dtype=np.float32)
        self._on_sound(rest, RATE, begin_ns + round(len(samples) * 1e9 / RATE))

    def _on_sound(self, samples: Samples, rate: int, start_ns: int) -> None:
        """A block of this robot's own microphone."""
        if self._pressed:
            mode = PUSH_TO_TALK
        elif self._is_deaf():
            return
        else:
            mode = LISTENING
        self._recognition.add(Block(self._declared.operator, _LOCAL, mode, samples, rate, start_ns))

    def _on_common_audio(self, sound: Samples, rate: int, start_ns: int) -> None:
        begin_ns = start_ns or self.get_clock().now().nanoseconds - round(len(sound) * 1e9 / max(1, rate))
        self._on_sound(sound, rate, begin_ns)

    def _is_deaf(self) -> bool:
        """Whether the robot speaks: the microphone would record its voice."""
        if self._declared.listen_while_speaking:
            return False
        if self._speaker.speaking:
            self._silent_until_s = time.monotonic() + _ECHO_S
        return time.monotonic() < self._silent_until_s

    @guarded
    def _on_audio(self, message: Audio) -> None:
        operator = message.operator_id or "default"
        try:
            samples = mono(from_int16(np.asarray(message.samples, dtype=np.int16)), max(1, message.channels))
        except AudioError as error:
            self._wrong_audio_of = operator
            self._fault("audio")(str(error))
            return
        if len(samples) and operator == self._wrong_audio_of:  # another's sound says nothing about it
            self._fault("audio")("")
        if message.mode == LISTENING and self._is_deaf():
            return
        if message.mode == PUSH_TO_TALK:
            self._speaker.hush()
        start_ns = nanoseconds(message.header.stamp.sec, message.header.stamp.nanosec)
        start_ns = start_ns or self.get_clock().now().nanoseconds
        self._recognition.add(Block(operator, _REMOTE, message.mode, samples, message.sample_rate, start_ns))

    @guarded
    def _on_cancel(self, message: String) -> None:
        """What "stop" does, for an operator who does not say it."""
        self._speaker.hush()
        self._commanding.cancel(message.data or "default")

    @guarded
    def _on_button(self, message: Bool) -> None:
        self._press(message.data)

    @guarded
    def _on_button_service(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._press(request.data)
        response.success, response.message = True, "listening" if request.data else "understood"
        return response

    def _press(self, pressed: bool) -> None:
        """The button of the robot's own microphone."""
        if pressed:
            self._speaker.hush()
        now_ns = self.get_clock().now().nanoseconds
        mode = PUSH_TO_TALK if pressed else RELEASED
        self._pressed = pressed
        self._recognition.add(Block(self._declared.operator, _LOCAL, mode, NO_SOUND, RATE, now_ns))

    def _on_voice(self, voice: str, recognition: Recognition) -> None:
        """A text of another recogniser."""
        self._recognition.add(Text(voice, recognition, self.get_clock().now().nanoseconds))

    def _on_heard(self, operator: str, event: Event) -> None:
        """On the thread of `RecognitionThread`."""
        header = Header(stamp=time_message(max(0, event.start_ns)))
        if isinstance(event, Partial):
            self._heard.publish(Heard(header=header, operator_id=operator, heard=event.text))
            self._voices.publish(operator, event.text, final=False, confidence=0.0, header=header)
            return
        if event.ended_hold and operator == self._declared.operator:
            self._pressed = False
        self._counts[event.understood.meaning] += 1
        command_id, detail = self._act(operator, event.understood, event.start_ns)
        self._publish_heard(operator, event, header, command_id, detail or event.understood.detail)
        self._recorder.record(operator, event)

    def _act(self, operator: str, understood: Understood, start_ns: int) -> tuple[str, str]:
        """Does what was said; the command's id, and one sentence where something is to be said."""
        if understood.meaning is Meaning.COMMAND:
            command_id, trouble = self._commanding.send(operator, understood, start_ns)
            self._say(trouble)
            return command_id, trouble
        if understood.meaning is Meaning.STOP:
            self._speaker.hush()
            self._commanding.cancel(operator)
        elif understood.meaning is Meaning.RESET and (trouble := self._commanding.reset(operator)):
            self._say(trouble)
            return "", trouble
        if understood.meaning in (Meaning.UNSURE, Meaning.NO):
            self._say(understood.detail)
        else:
            self._say(_SPOKEN.get(understood.meaning, ""))
        return "", ""

    def _publish_heard(self, operator: str, event: Final, header: Header, command_id: str, detail: str) -> None:
        understood = event.understood
        is_private = understood.meaning is Meaning.IGNORED and not understood.used
        message = Heard(
            header=header,
            operator_id=operator,
            final=True,
            meaning=getattr(Heard, understood.meaning.name),
            # What people say to each other is not published.
            heard="" if is_private else understood.heard,
            used=understood.used,
            confidence=understood.confidence,
            command_id=command_id,
            detail=detail,
        )
        self._heard.publish(message)
        if is_private:
            return
        self._voices.publish(operator, understood.used, final=True, confidence=understood.confidence, header=header)
        changed = f" (heard: {understood.heard!r})" if understood.heard != understood.used else ""
        what = f"{understood.meaning.value} {understood.used!r}{changed}, confidence {understood.confidence:.2f}"
        self.get_logger().info(f"{quoted(operator)}: {what}. {detail}".rstrip())

    def _on_answer(self, operator: str, answer: Segmentation) -> None:
        texts = [answer.explanation, *(found.phrase for found in answer.objects)]
        self._recognition.add_phrases(operator, [text for text in texts if text])
        self._say(spoken(answer))

    def _say(self, sentence: str) -> None:
        if sentence:
            self._saying.publish(String(data=sentence))
            self._speaker.say(sentence)

    def _fault(self, part: str) -> Callable[[str], None]:
        """Takes one sentence of a part of the node that does not work, "" when it works again."""

        def report(sentence: str) -> None:
            if sentence == self._faults.get(part, ""):
                return
            self._faults[part] = sentence
            if sentence:
                self.get_logger().warning(sentence)
            else:
                self.get_logger().info(f"The {part} works.")

        return report

    @guarded
    def _publish_diagnostics(self) -> None:
        self._commanding.check()
        name = self.get_fully_qualified_name().strip("/")
        faults = [sentence for sentence in list(self._faults.values()) if sentence]  # other threads add some
        values: dict[str, Any] = {
            "recogniser": self._recognizer_name,
            "audio": self._declared.audio,
            "listen": self._declared.listen,
            **{f"utterances {meaning.value}": count for meaning, count in self._counts.items()},
            "commands without an answer": self._commanding.waiting,
            "sound dropped (s)": f"{self._recognition.dropped_s:.1f}",
            "callback errors": self.callback_errors,
        }
        status = DiagnosticStatus(
            level=DiagnosticStatus.WARN if faults else DiagnosticStatus.OK,
            name=f"{name}: speech",
            message=" ".join(faults) or "Listening.",
            hardware_id=name,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def _file(parameters: SpeechParameters) -> Path:
    if not parameters.file:
        raise LisaError("Parameter file must name a WAV file with audio: file.")
    return Path(parameters.file).expanduser()


def _model_vocabulary(checkpoint: str) -> Vocabulary:
    """Of a checkpoint as lisa_node's parameter names it; a model server has none for us."""
    if is_remote(checkpoint):
        return Vocabulary()
    return model_vocabulary(find_folder(checkpoint, files=(FILE_NAME,)) if checkpoint else embedded_checkpoint())


def _settings(parameters: SpeechParameters) -> Settings:
    vocabulary = _model_vocabulary(parameters.checkpoint)
    if parameters.vocabulary:
        vocabulary |= read_vocabulary(Path(parameters.vocabulary).expanduser())
    if parameters.listen == WAKE_PHRASE:
        WakePhrase(parameters.wake_phrase)  # a wrong one is refused before anything is loaded
    rules = Rules(parameters.listen, parameters.wake_phrase, parameters.confirm_below)
    return Settings(rules, Timing(end_silence_s=parameters.end_silence), vocabulary)


def run(args: Sequence[str] | None = None) -> int:
    """Runs the node until it is ended.

    Returns:
        0, or 1 where the command line, a parameter or a package is wrong.
    """
    stop = Stop()
    stop.at_signals()
    try:
        if check_program(args, "speech", "Hears commands, sends them to lisa_node and speaks answers.", DESCRIPTIONS):
            return 0
        start_ros(args, SignalHandlerOptions.NO)
        run_node(lambda: _made(args), stop, Speech.close)
    except (*START_ERRORS, SpeechError, ValueError) as error:
        print(f"speech: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    return 0


def _made(args: Sequence[str] | None) -> Speech:
    node = Speech()
    try:
        report_overrides(node, args)
    except StartError:
        node.close()  # it listens already
        node.destroy_node()
        raise
    return node
