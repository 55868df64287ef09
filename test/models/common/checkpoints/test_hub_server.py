# SPDX-License-Identifier: Apache-2.0
"""Checkpoints by Hugging Face id from a hub that runs here: what huggingface_hub itself does with its answers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"

REPOSITORIES = {
    "openai/clip": {"config.json": b"{}", "preprocessor_config.json": b"{}", "pytorch_model.bin": b"weights"},
    "lab/sharded": {
        "config.json": b"{}",
        "pytorch_model.bin.index.json": b'{"weight_map": {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}}',
        "pytorch_model-1.bin": b"one",
        "pytorch_model-2.bin": b"two",
    },
}

REPOSITORIES["lab/twice"] = {
    "config.json": b"{}",
    "preprocessor_config.json": b"{}",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"the same weights",
    "pytorch_model.bin.index.json": b"{}",
}

LARGE = random.Random(1).randbytes(3_000_000)
"""Sent in parts while HALFWAY is not set; the hub waits for it in the middle."""
HALFWAY, GO_ON = threading.Event(), threading.Event()
REPOSITORIES["lab/large"] = {"config.json": b"{}", "model.safetensors": LARGE}

REFUSALS: dict[str, tuple[int, str]] = {
    "lab/private": (404, "RepoNotFound"),
    "lab/gated": (403, "GatedRepo"),
    "lab/forbidden": (401, ""),
    "lab/busy": (429, ""),
}


class _Hub(BaseHTTPRequestHandler):
    """The three requests of a download: the newest commit, its list of files, and each file."""

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        parts = self.path.partition("?")[0].strip("/").split("/")
        asked = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if asked else parts[:2])
        if name in REFUSALS:
            status, code = REFUSALS[name]
            self._send(status, b"{}", {"X-Error-Code": code} if code else {}, with_body)
        elif asked:
            self._send(200, json.dumps(_listed(REPOSITORIES[name], tree="tree" in parts)).encode(), {}, with_body)
        else:
            content = REPOSITORIES[name]["/".join(parts[4:])]
            etag = f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"'
            self._send(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT}, with_body)

    def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body and body == LARGE and not GO_ON.is_set():
            self.wfile.write(body[: len(body) // 2])
            HALFWAY.set()
            GO_ON.wait(120)
            with contextlib.suppress(OSError):  # who asked for it is gone
                self.wfile.write(body[len(body) // 2 :])
        elif with_body:
            self.wfile.write(body)


def _listed(files: dict[str, bytes], *, tree: bool) -> Any:
    if tree:
        return [{"type": "file", "path": name, "size": len(files[name]), "oid": name} for name in files]
    return {"id": "x", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}


@pytest.fixture
def hub() -> Iterator[str]:
    """The hub's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def printed(program: str, hub: str, home: Path) -> list[str]:
    """The lines that a program prints, in a process of its own: huggingface_hub reads its variables once."""
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.splitlines()


TRIED = """
from lisa_ros.models.common.checkpoints.hub import VISION_TOWER_FILES, find_folder, title_of

def tried(*given, **options):
    try:
        folder = find_folder(*given, **options)
        print(title_of(folder), *sorted(file.name for file in folder.iterdir()))
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_a_refusal_says_what_the_hub_answered(hub: str, tmp_path: Path) -> None:
    names = [*REFUSALS, "../clip", "lab/a--b"]
    lines = printed(f"{TRIED}\nfor name in {names!r}: tried(name)", hub, tmp_path)
    expected = [
        "the hub has no such repository, or it is private",
        "accept them there, then run `hf auth login`",
        "the hub refused access (401): run `hf auth login` with a token that may read it",
        "the hub answered 429 (Too Many Requests); try again later",
        f"../clip is not a folder in {Path.cwd()}; a checkpoint is a folder, or a Hugging Face id such as",
        f"lab/a--b is not a folder in {Path.cwd()}; a checkpoint is a folder, or a Hugging Face id such as",
    ]
    assert len(lines) == len(expected)
    for line, sentence in zip(lines, expected, strict=True):
        assert line.startswith("CheckpointError ") and sentence in line


def test_a_repository_of_which_another_program_fetched_some_files_is_completed(hub: str, tmp_path: Path) -> None:
    fetch = "from huggingface_hub import hf_hub_download as fetch\nfetch('openai/clip', 'preprocessor_config.json')\n"
    fetch += "fetch('lab/sharded', 'config.json')\nfetch('lab/sharded', 'pytorch_model.bin.index.json')\n"
    fetch += "fetch('lab/sharded', 'pytorch_model-1.bin')\n"
    tries = "tried('openai/clip', 'CLIP', files=VISION_TOWER_FILES)\ntried('lab/sharded')"
    offline = "from huggingface_hub import constants\nconstants.HF_HUB_OFFLINE = True\n"
    before = printed(f"{TRIED}\n{fetch}{offline}{tries}", hub, tmp_path)
    assert "CLIP 'openai/clip' is only partly in the Hugging Face cache, and HF_HUB_OFFLINE is set" in before[0]
    assert "checkpoint 'lab/sharded' is only partly in the Hugging Face cache" in before[1]
    whole = [" ".join([name, *sorted(REPOSITORIES[name])]) for name in ("openai/clip", "lab/sharded")]
    assert printed(f"{TRIED}\n{tries}", hub, tmp_path) == whole
    assert printed(f"{TRIED}\n{offline}{tries}", hub, tmp_path) == whole


def test_weights_that_a_repository_has_in_two_forms_are_fetched_once(hub: str, tmp_path: Path) -> None:
    tries = "tried('lab/twice', 'CLIP', files=VISION_TOWER_FILES)\ntried('lab/twice')"
    expected = ["lab/twice config.json model.safetensors preprocessor_config.json"] * 2
    assert printed(f"{TRIED}\n{tries}", hub, tmp_path) == expected
    offline = "from huggingface_hub import constants\nconstants.HF_HUB_OFFLINE = True\n"
    assert printed(f"{TRIED}\n{offline}{tries}", hub, tmp_path) == expected


def downloading(hub: str, home: Path, shell: str = 'exec "$@"') -> subprocess.Popen[str]:
    """`lisa download` of the repository with a large file."""
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-m", "lisa_ros.cli.main", "download", "lab/large"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(["bash", "-c", shell, "_", *command], env=environment, **pipes)


def check_repeated(hub: str, home: Path) -> None:
    """The file is not taken for a whole one, and the same command fetches it."""
    offline = f"from huggingface_hub import constants\nconstants.HF_HUB_OFFLINE = True\n{TRIED}\ntried('lab/large')"
    assert "HF_HUB_OFFLINE is set" in printed(offline, hub, home)[0]
    again = downloading(hub, home)
    output, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    folder = Path(output.strip().removeprefix("lab/large: "))
    assert (folder / "model.safetensors").read_bytes() == LARGE
    assert not list(home.rglob("*.incomplete"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, -15)])
def test_a_download_that_is_stopped_in_the_middle_is_repeated(
    hub: str, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    HALFWAY.clear()
    GO_ON.clear()
    stopped = downloading(hub, tmp_path)
    assert HALFWAY.wait(120)
    stopped.send_signal(number)
    going_on = threading.Timer(2, GO_ON.set)  # huggingface_hub ends at Ctrl-C when the files in progress are there
    going_on.start()
    _, errors = stopped.communicate(timeout=120)
    assert stopped.returncode == status, errors
    assert "Traceback" not in errors
    going_on.cancel()
    going_on.join()  # else it sets GO_ON while the next test waits for the middle of its download
    GO_ON.set()
    if number != signal.SIGINT:
        check_repeated(hub, tmp_path)


def test_a_download_without_room_is_one_sentence_and_is_repeated(hub: str, tmp_path: Path) -> None:
    GO_ON.set()
    without_room = downloading(hub, tmp_path, 'ulimit -f 1000; exec "$@"')  # 1,000 KiB
    _, errors = without_room.communicate(timeout=120)
    assert without_room.returncode == 2
    assert errors.splitlines()[-1].startswith("lisa download: checkpoint 'lab/large' ")
    assert errors.endswith("it could not be written: File too large\n") and "Traceback" not in errors
    check_repeated(hub, tmp_path)
