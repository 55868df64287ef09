# SPDX-License-Identifier: Apache-2.0
"""Measures spoken commands from the sound to the mask, and writes a JSON file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein
from tqdm import tqdm

from lisa_ros.benchmark.speech.commands import COMMANDS_PER_TABLE, SEEDS, tables
from lisa_ros.benchmark.speech.end_to_end import Spoken, mask_of, processor_s, spoken_to
from lisa_ros.benchmark.speech.false_commands import count_meanings, noise, overheard
from lisa_ros.benchmark.speech.sounds import VOICES, in_noise, silence_after, speak, without_silence
from lisa_ros.demo.processes import isolate, share_memory
from lisa_ros.msg import Audio
from lisa_ros.speech.audio.samples import RATE
from lisa_ros.speech.language.vocabulary import words_of
from lisa_ros.speech.options import ALWAYS, Rules

_PARTS = ("end_to_end", "open_microphone", "idle", "false_commands")
_GOOD_IOU = 0.95
_AROUND_S = 0.4
_TAIL_S = 1.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; returns the exit status."""
    options = _parser().parse_args(arguments)
    isolate()
    share_memory()
    options.output.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {}
    for part in options.parts:
        report[part] = globals()[f"_{part}"](options)
        print(json.dumps({part: _without_rows(report[part])}, indent=2), flush=True)
        (options.output / "speech.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lisa_ros.benchmark.speech", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument("--voices", nargs="+", choices=VOICES, default=["slt", "rms"])
    parser.add_argument("--tables", type=int, default=len(SEEDS), help="(default: %(default)s)")
    parser.add_argument("--commands", type=int, default=COMMANDS_PER_TABLE, help="of a table (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=10.0, help="of false commands, each (default: %(default)s)")
    parser.add_argument("--snr", type=float, default=10.0, help="of the noise, dB (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("output/speech"), help="folder (default: %(default)s)")
    return parser


def _end_to_end(options: argparse.Namespace) -> dict[str, Any]:
    """Push to talk: masks, texts, time to the command, processor time."""
    rows: dict[str, list[Spoken]] = {f"{v} {n}": [] for v in options.voices for n in ("clean", "noise")}
    used_s = sound_s = 0.0
    total = options.tables * options.commands * len(rows)
    with tqdm(total=total, desc="spoken commands", disable=None) as bar:
        for table in tables(options.tables, options.commands):
            with spoken_to(table, options.output) as (operators, speech):
                before_s = processor_s(speech.process.pid)
                for text in table.commands:
                    answer = operators.type(text)
                    typed = mask_of(answer, (answer.objects[0].mask.height, answer.objects[0].mask.width))
                    for name, done in rows.items():
                        voice, condition = name.split()
                        snr = options.snr if condition == "noise" else None
                        said = speak(text, voice)
                        sound = in_noise(said, snr, np.random.default_rng(len(text)), around_s=_AROUND_S)
                        tail_s = _AROUND_S + silence_after(said) / RATE
                        done.append(operators.speak(text, sound, typed, Audio.PUSH_TO_TALK, tail_s))
                        sound_s += done[-1].sound_s
                        bar.update()
                used_s += processor_s(speech.process.pid) - before_s
    return {
        **{name: _summary(done) for name, done in rows.items()},
        "real-time factor (processor time / sound)": round(used_s / sound_s, 3),
        "rows": {name: [asdict(one) for one in done] for name, done in rows.items()},
    }


def _open_microphone(options: argparse.Namespace) -> dict[str, Any]:
    """Every utterance is a command, and silence ends it: the last sample that is sent comes after the command."""
    rows = []
    (table,) = tables(1, options.commands)
    with spoken_to(table, options.output, listen=ALWAYS) as (operators, _):
        for text in table.commands:
            answer = operators.type(text)
            typed = mask_of(answer, (answer.objects[0].mask.height, answer.objects[0].mask.width))
            for voice in options.voices:
                before, after = (np.zeros(round(s * RATE), np.float32) for s in (0.5, _TAIL_S))
                sound = np.concatenate([before, without_silence(speak(text, voice)), after])
                rows.append(operators.speak(text, sound, typed, Audio.LISTENING, _TAIL_S))
    return {**_summary(rows), "rows": [asdict(one) for one in rows]}


def _idle(options: argparse.Namespace) -> dict[str, Any]:
    """An open microphone in a quiet room: processor time of the speech node."""
    (table,) = tables(1, 1)
    with spoken_to(table, options.output, listen="wake_phrase") as (operators, speech):
        before_s = processor_s(speech.process.pid)
        seconds = 20
        quiet = np.random.default_rng(0).standard_normal(seconds * RATE) * 0.002
        operators.listen(quiet.astype(np.float32))
        used_s = processor_s(speech.process.pid) - before_s
    return {"share of a core": round(used_s / seconds, 3)}


def _false_commands(options: argparse.Namespace) -> dict[str, Any]:
    """People who talk to each other, and noise: what is understood."""
    seconds = 60 * options.minutes
    counts: dict[str, Any] = {"minutes each": options.minutes}
    for voice in options.voices:
        counts[f"{voice}, wake phrase"] = count_meanings(overheard(seconds / len(options.voices), voice), Rules())
    counts["noise, wake phrase"] = count_meanings(noise(seconds), Rules())
    counts["noise, always listening"] = count_meanings(noise(seconds), Rules(listen=ALWAYS))
    return counts


def _summary(rows: Sequence[Spoken]) -> dict[str, Any]:
    return {
        "commands": len(rows),
        f"IoU >= {_GOOD_IOU}": sum(row.iou >= _GOOD_IOU for row in rows) / len(rows),
        "word error rate, heard": _error_rate([(row.text, row.heard) for row in rows]),
        "word error rate, used": _error_rate([(row.text, row.used) for row in rows]),
        "last sample to command (s)": _spread([row.latency_s for row in rows]),
        "last sample of speech to command (s)": _spread([row.after_speech_s for row in rows]),
        "processor time from the last sample to the command (s)": _spread([row.work_s for row in rows]),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    known = [value for value in values if np.isfinite(value)]
    return {"median": round(median(known), 3), "largest": round(max(known), 3)} if known else {}


def _error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    wrong = sum(Levenshtein.distance(words_of(said), words_of(text)) for said, text in pairs)
    return round(wrong / sum(len(words_of(said)) for said, _ in pairs), 3)


def _without_rows(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name != "rows"}


if __name__ == "__main__":
    sys.exit(main())
