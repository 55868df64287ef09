# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of decoders with atheris: `coverage_guided.py TARGET -atheris_runs=N -seed=1 [FOLDER]`.

libFuzzer's options apply. An input that ends in anything but the target's own error stops the run and is written to a
file; it then becomes a case of test/hostile. Needs `pip install atheris`, which no extra of setup.py installs.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import atheris

with atheris.instrument_imports(include=["lisa_ros"]):
    from lisa_ros.images.decoding import depth_from, rgb_from, size_of
    from lisa_ros.models.common.errors import CheckpointError
    from lisa_ros.models.common.weights.files import WeightFiles, load_pickle
    from lisa_ros.segmentation.errors import ImageError
    from lisa_ros.speech.audio.samples import AudioError, read_wav

_FOLDER = Path(tempfile.mkdtemp(prefix="lisa_fuzz_"))


def compressed_image(data: bytes) -> None:
    message = SimpleNamespace(format="rgb8; png compressed bgr8", data=data)
    try:
        size = size_of(message)
        assert rgb_from(message).shape == (size[1], size[0], 3)
    except ImageError:
        return


def compressed_depth(data: bytes) -> None:
    texts = ("16UC1; compressedDepth png", "32FC1; compressedDepth rvl", "16UC1; compressedDepth rvl")
    try:
        depth_from(SimpleNamespace(format=texts[data[0] % 3 if data else 0], data=data[1:]))
    except ImageError:
        return


def safetensors(data: bytes) -> None:
    (_FOLDER / "model.safetensors").write_bytes(data)
    try:
        dict(WeightFiles(_FOLDER).tensors())
    except CheckpointError:
        return


def pickle(data: bytes) -> None:
    file = _FOLDER / "one.bin"
    file.write_bytes(data)
    try:
        load_pickle(file)
    except CheckpointError:
        return


def wav(data: bytes) -> None:
    file = _FOLDER / "one.wav"
    file.write_bytes(data)
    try:
        read_wav(file)
    except AudioError:
        return


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one for one in (compressed_image, compressed_depth, safetensors, pickle, wav)
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: coverage_guided.py {'|'.join(TARGETS)} [LIBFUZZER_OPTION...] [FOLDER]")
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
