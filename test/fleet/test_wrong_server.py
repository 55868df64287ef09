# SPDX-License-Identifier: Apache-2.0
"""A server that sends what is no answer: one sentence, in time, and the next command is answered."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lisa_ros.fleet import remote_segmenter
from lisa_ros.fleet.connection import LostReplicaError, UnreachableError, UnreadableAnswerError
from lisa_ros.fleet.messages import event_json
from lisa_ros.fleet.remote_segmenter import RemoteSegmenter, RemoteSettings
from lisa_ros.fleet.requests import MOST_ANSWER_S, Query, pack, unpack
from lisa_ros.segmentation.answers import Event, Finished, MaskFound, ObjectMask, TextDelta, checked_events
from lisa_ros.segmentation.errors import LisaError

pytest.importorskip("httpx")
IMAGE = np.zeros((24, 32, 3), np.uint8)
FOUND = ObjectMask(np.eye(24, 32, dtype=bool), (0, 5), 0.5)
RIGHT = Finished("It is [SEG].", (FOUND,), "end")


def line(event: Event, **changed: Any) -> bytes:
    return json.dumps(event_json(event) | changed).encode() + b"\n"


def with_object(**changed: Any) -> bytes:
    found = event_json(MaskFound(FOUND))
    found["object"] |= changed
    return json.dumps(found).encode() + b"\n"


class RawServer:
    """Sends given bytes as the body of each answer, then closes the connection; the last one again and again."""

    def __init__(
        self, bodies: Sequence[bytes], pause_s: float = 0.0, endless: bytes = b"", status: str = "200 OK"
    ) -> None:
        self._bodies, self._endless, self._pause_s = list(bodies), endless, pause_s
        self._head = f"HTTP/1.1 {status}\r\nconnection: close\r\n\r\n".encode()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.asked = 0
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.asked += 1
            body = self._bodies.pop(0) if len(self._bodies) > 1 else self._bodies[0]
            threading.Thread(target=self._answer, args=(connection, body), daemon=True).start()

    def _answer(self, connection: socket.socket, body: bytes) -> None:
        with connection:
            try:
                _read(connection)
                connection.sendall(self._head + body)
                while self._endless:
                    connection.sendall(self._endless)
                    time.sleep(self._pause_s)
            except OSError:
                return

    def close(self) -> None:
        self._socket.close()


def _read(connection: socket.socket) -> None:
    """The whole request: what is not read when the connection closes resets it."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(2**16)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int((re.findall(rb"content-length: (\d+)", head.lower()) or [0])[0])
    while len(body) < length:
        body += connection.recv(2**16)


def asked(server: RawServer, **settings: Any) -> RemoteSegmenter:
    return RemoteSegmenter(f"lisa://127.0.0.1:{server.port}/m", RemoteSettings(**({"timeout_s": 20.0} | settings)))


def events(remote: RemoteSegmenter) -> list[Event]:
    return list(remote.session(remote.encode(IMAGE)).segment("the red mug"))


SIZE = list(FOUND.mask.shape)
WRONG = {
    "not JSON": b"<html>it works</html>\n",
    "a list": b"[]\n",
    "a number": b"1e999\n",
    "nested too deep": b"[" * 100_000 + b"\n",
    "not UTF-8": b'{"event": "text", "text": "\xff\xfe"}\n',
    "cut in a character": '{"event": "text", "text": "caf\u00e9"}'.encode()[:-3] + b"\n",
    "no event": b"{}\n",
    "an unknown event": b'{"event": "launch"}\n',
    "a mask of another size": with_object(mask={"size": [25, 32], "runs": [25 * 32]}),
    "runs of another size": with_object(mask={"size": SIZE, "runs": [1, 2, 3]}),
    "negative runs": with_object(mask={"size": SIZE, "runs": [-1, 24 * 32 + 1]}),
    "a mask of 10^12 pixels": with_object(mask={"size": [10**6, 10**6], "runs": [10**12]}),
    "a size that is no number": with_object(mask={"size": ["a", None], "runs": []}),
    "a score that is no number": with_object(score=float("nan")),
    "a score above 1": with_object(score=7.0),
    "a span of one": with_object(span=[1]),
    "a box of three": with_object(box=[1.0, 2.0, 3.0]),
    "an object that is a text": json.dumps({"event": "mask", "object": "mug"}).encode() + b"\n",
    "a reason that is none": line(RIGHT, reason="because"),
    "an infinite reference": line(RIGHT, references=[float("inf")]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_answer_is_one_sentence(name: str) -> None:
    server = RawServer([WRONG[name], line(RIGHT)])
    remote = asked(server)
    with pytest.raises(UnreadableAnswerError, match=r"the server's answer cannot be read: .{3,}"):
        events(remote)
    (finished,) = events(remote)
    assert isinstance(finished, Finished) and finished.answer == RIGHT.answer
    remote.release()
    server.close()


def test_a_connection_that_closes_within_a_line_is_tried_again() -> None:
    whole = line(MaskFound(FOUND)) + line(RIGHT)
    server = RawServer([whole[: len(whole) // 3], whole[:-5], whole])
    remote = asked(server)
    found = events(remote)
    assert [type(one) for one in found] == [MaskFound, Finished] and remote.traffic.resent == 2
    remote.release()
    server.close()


def test_an_answer_that_ends_before_it_begins_is_lost() -> None:
    server = RawServer([b""])
    remote = asked(server)
    with pytest.raises(LostReplicaError, match="ended its answer too early"):
        events(remote)
    remote.release()
    server.close()


def test_what_follows_the_end_is_ignored_and_an_end_without_its_masks_counts() -> None:
    late = line(TextDelta("late")) + line(MaskFound(FOUND)) + line(RIGHT) + b'{"event": "launch"}\n'
    server = RawServer([line(TextDelta("It is ")) + line(RIGHT) + late])
    remote = asked(server)
    assert [type(one) for one in events(remote)] == [TextDelta, Finished]
    remote.release()
    server.close()


@pytest.mark.parametrize("after", [None, LostReplicaError("the connection broke"), UnreachableError("it is silent")])
def test_an_answer_is_read_to_its_end_and_is_whole_whatever_becomes_of_the_server(after: LisaError | None) -> None:
    """Otherwise the connection is cut, and the next command needs a new one."""
    remote, read = RemoteSegmenter("lisa://127.0.0.1:1/m", RemoteSettings()), []

    def lines(*_: Any) -> Iterator[dict[str, Any]]:
        yield json.loads(line(RIGHT))
        read.append("the end")
        if after is not None:
            raise after

    remote.lines = lines  # type: ignore[method-assign]
    answered = remote.session(remote.encode(IMAGE)).segment("the red mug")
    assert [type(one) for one in checked_events(answered, IMAGE.shape[:2])] == [Finished]
    assert read == ["the end"] and remote.traffic.resent == 0
    remote.release()


@pytest.mark.parametrize(
    ("endless", "pause_s", "sentence"),
    [
        (line(TextDelta("and ")), 0.02, "did not end its answer in 1 s"),
        (b"a", 0.1, "did not end its answer in 1 s"),
        (b"a" * 2**20, 0.0, "too long"),
    ],
)
def test_an_answer_that_never_ends_is_given_up(endless: bytes, pause_s: float, sentence: str) -> None:
    server = RawServer([line(TextDelta("It is ")) if pause_s else b""], pause_s, endless)
    # A busy machine reads the whole of what is too long slowly.
    remote = asked(server, answer_s=1.0 if pause_s else 250.0, timeout_s=3.0)
    with pytest.raises(UnreachableError, match=sentence):
        events(remote)
    remote.release()
    server.close()


@pytest.mark.parametrize(("endless", "pause_s"), [(b"a" * 2**20, 0.0), (b"a", 0.1)])
def test_a_name_or_a_refusal_that_never_ends_is_given_up(endless: bytes, pause_s: float) -> None:
    server = RawServer([b""], pause_s, endless)
    remote = asked(server, timeout_s=3.0)
    with pytest.raises(LisaError, match="is no `lisa serve`"):
        remote.check()
    remote.release()
    server.close()
    server = RawServer([b""], pause_s, endless, status="500 Internal Server Error")
    remote = asked(server, timeout_s=3.0)
    with pytest.raises(UnreachableError, match="answers 500: aaa"):
        events(remote)
    remote.release()
    server.close()


@pytest.mark.parametrize("status", ["404 Not Found", "401 Unauthorized"])
def test_a_server_that_was_replaced_is_unreachable_so_that_a_fallback_answers(status: str) -> None:
    """Its path is unknown meanwhile, or its tokens are others. Before anything was answered, it is a mistake."""
    server = RawServer([b'{"error": "it is another one"}'], status=status)
    remote = asked(server)
    with pytest.raises(UnreachableError, match=f"answers {status[:3]}: it is another one"):
        events(remote)
    with pytest.raises(LisaError, match=status[:3]) as refused:
        remote.check()
    assert not isinstance(refused.value, UnreachableError)
    remote.release()
    server.close()


def test_an_upload_that_did_not_arrive_is_sent_again() -> None:
    server = RawServer([b'{"error": "nothing of the request came"}'], status="408 Request Timeout")
    remote = asked(server)
    with pytest.raises(LostReplicaError, match="answers 408: nothing of the request came"):
        events(remote)
    assert remote.traffic.resent == 5
    remote.release()
    server.close()


@pytest.mark.parametrize("kind", ["full", "again"])
def test_a_server_that_did_not_take_the_request_has_no_image(kind: str) -> None:
    refusal = json.dumps({"event": "error", "kind": kind, "text": "no"}).encode() + b"\n"
    server = RawServer([refusal, line(RIGHT)])
    remote = asked(server)
    encoded = remote.encode(IMAGE)
    with contextlib.suppress(UnreachableError):
        list(remote.session(encoded).segment("the red mug"))
    list(remote.session(encoded).segment("the red mug"))
    assert remote.traffic.sent_frames == 2
    assert remote.traffic.requests == (2 if kind == "full" else 3)
    remote.release()
    server.close()


def test_a_server_accepts_what_any_answer_timeout_of_the_node_makes_of_it() -> None:
    remote = RemoteSegmenter("lisa://127.0.0.1:1/m", RemoteSettings(answer_s=86_400.0))
    asked_for: list[Query] = []

    def lines(query: Query, *_: Any) -> Iterator[dict[str, Any]]:
        asked_for.append(query)
        yield json.loads(line(RIGHT))

    remote.lines = lines  # type: ignore[method-assign]
    events(remote)
    query, _ = unpack(pack(asked_for[0]))
    assert MOST_ANSWER_S - 60 < query.deadline_s <= MOST_ANSWER_S
    remote.release()


def test_all_requests_of_an_answer_share_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(remote_segmenter, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=pass_by))
    remote = RemoteSegmenter("lisa://127.0.0.1:1/m", RemoteSettings(answer_s=1.0, timeout_s=0.1))
    asked_for: list[float] = []

    def lines(query: Query, encoded: Any, stopped: Any) -> Iterator[dict[str, Any]]:
        asked_for.append(query.deadline_s)
        pass_by(0.5)
        stopped()
        raise LostReplicaError("the replica was lost")
        yield {}

    remote.lines = lines  # type: ignore[method-assign]
    with pytest.raises(UnreachableError, match="did not end its answer in 1 s"):
        events(remote)
    assert len(asked_for) == 3
    assert asked_for[0] > 0.9 > 0.55 > asked_for[1] > 0.1 == asked_for[2]
    remote.release()


def test_a_command_that_was_cancelled_is_not_sent() -> None:
    server = RawServer([line(RIGHT)])
    remote = asked(server)
    found = list(remote.session(remote.encode(IMAGE)).segment("the red mug", cancelled=lambda: True))
    assert [event.reason for event in found if isinstance(event, Finished)] == ["cancelled"]
    time.sleep(0.2)
    assert server.asked == 0
    remote.release()
    server.close()


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that ended yesterday, and its key."""
    folder = tmp_path_factory.mktemp("expired")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for command in (
        "req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=127.0.0.1",
        "x509 -req -in request.pem -signkey key.pem -days -1 -extfile names -out cert.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def test_an_expired_certificate_is_named(expired: Path) -> None:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(expired / "cert.pem", expired / "key.pem")
    listening = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)

    def accept() -> None:
        with pytest.raises(ssl.SSLError):
            listening.accept()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    settings = RemoteSettings(certificate=str(expired / "cert.pem"))
    remote = RemoteSegmenter(f"lisas://127.0.0.1:{listening.getsockname()[1]}/m", settings)
    with pytest.raises(UnreachableError, match="certificate has expired"):
        remote.check()
    thread.join(10)
    remote.release()
    listening.close()
