# SPDX-License-Identifier: Apache-2.0
"""What the model has answered so far, in a file, so that an interrupted run is resumed without asking again."""

from __future__ import annotations

import base64
import json
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa_ros.bags.answering import Inferred
from lisa_ros.segmentation.answers import Finished, ObjectMask, Region
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.atomic_files import naming
from lisa_ros.segmentation.files.output_folders import lock


class Journal:
    """The answers of one run: a line of JSON each, flushed at once. A line that was cut off is ignored."""

    def __init__(self, file: Path, run: dict[str, Any]) -> None:
        """Open the file, or begin one.

        Args:
            file: The file.
            run: Everything that the answers depend on.

        Raises:
            LisaError: The file has answers of another run, or another process is writing it.
            OSError: It cannot be written.
        """
        self.file = file
        self.earlier: dict[int, Inferred] = {}
        with naming(file):
            self._stream = file.open("a+", encoding="utf-8")
        try:
            self._begin(run)
        except BaseException:
            self._stream.close()
            raise

    def _begin(self, run: dict[str, Any]) -> None:
        """Lock the file, read it, and cut off what was not written completely; answers in it stay where they are."""
        lock(self._stream, self.file)
        whole = self._read(run)
        self._answers = len(self.earlier)
        with naming(self.file):
            self._stream.truncate(whole)
        if not whole:
            self._write({"run": run})

    def add(self, index: int, inferred: Inferred) -> None:
        """Add the answer to the command of this index."""
        self._answers += 1
        self._write({"index": index, **_entry(inferred)})

    def close(self, *, delete: bool) -> None:
        """Close the file, and delete it once it is not needed, or where it has no answer."""
        with suppress(OSError):  # what could not be written is tried once more
            self._stream.close()
        if delete or not self._answers:
            self.file.unlink(missing_ok=True)

    def _write(self, entry: dict[str, Any]) -> None:
        with naming(self.file):
            self._stream.write(json.dumps(entry) + "\n")
            self._stream.flush()

    def _read(self, run: dict[str, Any]) -> int:
        """Read the earlier answers; returns how many bytes of the file are whole, 0 where it has no answer."""
        lines = self.file.read_bytes().splitlines(keepends=True)
        if len(lines) < 2:  # an error came before the first answer; what is different now may be its correction
            return 0
        try:
            before = json.loads(lines[0])["run"]
        except (ValueError, LookupError, TypeError):
            before = None
        if before != run:
            changed = sorted(key for key in run if not isinstance(before, dict) or before.get(key) != run[key])
            raise LisaError(
                f"{self.file} is from another run (different: {', '.join(changed)}); delete it, or name another output"
            )
        whole = len(lines[0])
        for line in lines[1:]:
            try:
                entry = json.loads(line)
                index, inferred = int(entry["index"]), _inferred(entry)
            except (ValueError, LookupError, TypeError, zlib.error):  # cut off; what follows it was never written
                break
            if not line.endswith(b"\n"):
                break
            self.earlier[index] = inferred
            whole += len(line)
        return whole


def _entry(inferred: Inferred) -> dict[str, Any]:
    finished = inferred.finished
    entry: dict[str, Any] = {
        "refusal": inferred.refusal,
        "frame_known": inferred.frame_known,
        "ms": [inferred.first_mask_ms, inferred.total_ms],
    }
    if finished is not None:
        entry["answer"], entry["reason"] = finished.answer, finished.reason
        entry["model"], entry["note"] = finished.model, finished.note
        entry["references"] = list(finished.references)
        entry["objects"] = [_packed_object(one) for one in finished.objects]
    return entry


def _inferred(entry: dict[str, Any]) -> Inferred:
    finished = None
    if "answer" in entry:
        objects = tuple(_object(one) for one in entry["objects"])
        finished = Finished(
            answer=entry["answer"],
            objects=objects,
            reason=entry["reason"],
            references=tuple(entry["references"]),
            model=entry.get("model", ""),  # journals of earlier versions have neither it nor the note
            note=entry.get("note", ""),
        )
    return Inferred(finished, entry["refusal"], entry["frame_known"], *entry["ms"])


def _packed_object(one: ObjectMask) -> dict[str, Any]:
    region = None if one.region is None else {"mask": _packed(one.region.mask), "box": list(one.region.box)}
    return {
        "mask": _packed(one.mask),
        "span": list(one.span),
        "score": one.score,
        "calibrated": one.score_calibrated,
        "phrase": one.phrase,
        "region": region,
    }


def _object(entry: dict[str, Any]) -> ObjectMask:
    stored = entry["region"]
    region = None if stored is None else Region(_mask(stored["mask"]), tuple(stored["box"]))
    begin, end = entry["span"]
    return ObjectMask(
        _mask(entry["mask"]),
        (begin, end),
        score=entry["score"],
        score_calibrated=entry["calibrated"],
        phrase=entry["phrase"],
        region=region,
    )


def _packed(mask: NDArray[np.bool_]) -> dict[str, Any]:
    bits = base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode("ascii")
    return {"shape": list(mask.shape), "bits": bits}


def _mask(entry: dict[str, Any]) -> NDArray[np.bool_]:
    height, width = entry["shape"]
    bits = np.frombuffer(zlib.decompress(base64.b64decode(entry["bits"])), np.uint8)
    return np.unpackbits(bits, count=height * width).reshape(height, width).astype(np.bool_)
