# SPDX-License-Identifier: Apache-2.0
"""A real server (`lisa serve`, Ray Serve, the embedded model), asked over HTTP and by a node."""

import json
import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from node_probe import probing
from paths import DATA
from ros_harness import Process, free_port, started, wait_until
from std_msgs.msg import Header

from lisa_ros.fleet.remote_segmenter import RemoteSegmenter, RemoteSettings
from lisa_ros.fleet.requests import MOST_BODY_BYTES, Query, pack
from lisa_ros.fleet.server_process import descendants
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.conversions import to_image_message
from lisa_ros.segmentation.answers import Finished, MaskFound
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.interface import Segmenter
from lisa_ros.segmentation.turns import turn_of

pytest.importorskip("ray", reason="ray is not installed: see extra fleet in setup.py")

TOKENS = {"front": "front-" + "f" * 20, "back": "back-" + "b" * 20}
# A replica that is started again needs half a minute on a busy machine.
SETTINGS = RemoteSettings(token=TOKENS["front"], timeout_s=120, answer_s=240.0, jpeg_quality=0)
COMMANDS = ("the red mug", "something to drink from", "all the cubes")


def image(number: int) -> Any:
    """RGB, (480, 640, 3)."""
    found = cv2.imread(str(sorted((DATA / "upstream_lisa").glob("??.png"))[number]))
    return cv2.cvtColor(found, cv2.COLOR_BGR2RGB)


METRICS = free_port()


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("server") / "tokens"
    path.write_text("".join(f"{robot} {token}\n" for robot, token in TOKENS.items()))
    return path


def serve(tokens: Path, port: int) -> list[str]:
    served = ["lisa", "serve", "--name", "table", "--port", str(port), "--replicas", "2", "--tokens", str(tokens)]
    return [*served, "--log-format", "json", "--traces", "1", "--metrics-port", str(METRICS)]


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tokens: Path, port: int) -> Iterator[Process]:
    with started(serve(tokens, port)) as process:
        wait_for(process)
        yield process


def wait_for(process: Process) -> None:
    wait_until(lambda: "Robots ask" in process.output or not process.alive, "the server", 180)
    assert process.alive, process.output


@pytest.fixture
def remote(server: Process, port: int) -> Iterator[RemoteSegmenter]:
    segmenter = RemoteSegmenter(f"lisa://127.0.0.1:{port}/table", SETTINGS)
    segmenter.check()
    yield segmenter
    segmenter.release()


@pytest.fixture(scope="module")
def local() -> Segmenter:
    return load_segmenter(embedded_checkpoint(), LoadOptions(device="cpu", threads=1))


def same(one: Finished, other: Finished) -> bool:
    return (
        (one.answer, one.reason, one.references) == (other.answer, other.reason, other.references)
        and [(found.span, found.score) for found in one.objects]
        == [(found.span, found.score) for found in other.objects]
        and all(np.array_equal(a.mask, b.mask) for a, b in zip(one.objects, other.objects, strict=True))
    )


def ask(segmenter: Any, encoded: Any, text: str, turns: Any = ()) -> Finished:
    *_, finished = segmenter.session(encoded, turns).segment(text)
    assert isinstance(finished, Finished)
    return finished


def test_the_server_answers_as_the_model_does_here(remote: RemoteSegmenter, local: Segmenter) -> None:
    masks = 0
    for number in range(3):
        there, here = remote.encode(image(number)), local.encode(image(number))
        dialogue: list[Any] = []
        for text in (*COMMANDS, "and the one next to it?"):
            found, expected = ask(remote, there, text, dialogue), ask(local, here, text, dialogue)
            assert same(found, expected), text
            masks += len(found.objects)
            dialogue.append(turn_of(text, expected, len(dialogue) + 1))
    assert masks > 4
    assert (remote.traffic.sent_frames, remote.traffic.requests, remote.traffic.resent) == (3, 12, 0)


def test_a_known_image_is_not_sent_again(remote: RemoteSegmenter) -> None:
    """Bytes against sending the raw image, 640 x 480 x 3."""
    small = RemoteSegmenter(remote.server, replace(SETTINGS, jpeg_quality=90))
    encoded = small.encode(image(4))
    ask(small, encoded, "the red mug")
    first = small.traffic.sent_bytes
    ask(small, encoded, "something to drink from")
    assert first <= image(4).nbytes / 20
    assert small.traffic.sent_bytes - first <= image(4).nbytes / 200
    small.release()


def test_a_robot_does_not_find_the_images_of_another(remote: RemoteSegmenter) -> None:
    encoded = remote.encode(image(5))
    ask(remote, encoded, "the red mug")
    other = RemoteSegmenter(remote.server, replace(SETTINGS, token=TOKENS["back"]))
    lines = list(other._connection.stream(pack(Query(encoded.frame, "the red mug")), {}, lambda: False))
    assert lines == [{"event": "unknown_frame"}]
    theirs = other.encode(image(5))
    theirs.sent = True  # as if the server had been replaced meanwhile
    assert same(ask(other, theirs, "the red mug"), ask(remote, encoded, "the red mug"))
    other.release()


def test_the_board_shows_metrics_that_the_server_exports(remote: RemoteSegmenter) -> None:
    encoded, seen = remote.encode(image(0)), set[str]()
    board = (Path(__file__).parents[2] / "config" / "grafana_fleet.json").read_text()
    shown = set(re.findall(r"\bray_\w+", board))
    assert {"ray_lisa_requests_total", "ray_lisa_first_mask_s_bucket"} <= shown

    def all_seen() -> bool:  # Ray forgets a gauge that has not changed for some seconds
        assert any(ask(remote, encoded, text).objects for text in COMMANDS)
        text = httpx.get(f"http://127.0.0.1:{METRICS}/metrics", timeout=30).text
        seen.update(re.split(r"[{ ]", line)[0] for line in text.splitlines())
        return shown <= seen

    wait_until(all_seen, "the metrics")


def test_who_has_no_token_is_refused(remote: RemoteSegmenter) -> None:
    stranger = RemoteSegmenter(remote.server, replace(SETTINGS, token="x" * 30))
    with pytest.raises(LisaError, match="401: the token is missing or wrong"):
        stranger.check()
    with pytest.raises(LisaError, match="401"):
        ask(stranger, stranger.encode(image(0)), "the red mug")
    stranger.release()


def test_what_is_no_request_of_ours_is_refused(remote: RemoteSegmenter, port: int) -> None:
    address, headers = f"http://127.0.0.1:{port}/table", {"authorization": f"Bearer {TOKENS['front']}"}
    with httpx.Client(base_url=address, headers=headers, timeout=30) as client:
        assert client.get("/secrets").status_code == 404
        assert client.post("/segment", content=iter([b"of unknown length"])).status_code == 413
        assert client.post("/segment", content=bytes(MOST_BODY_BYTES + 1)).status_code == 413
        answer = client.post("/segment", content=b"\0" * 100)
        assert answer.json()["kind"] == "request"
        refused = client.post("/segment", content=pack(Query("0" * 64, "a"), b"GIF89a"))
        assert "not the one" in refused.json()["text"]
    assert ask(remote, remote.encode(image(0)), "the red mug").answer


def test_a_cancelled_answer_ends_at_once(remote: RemoteSegmenter) -> None:
    encoded, cancelled = remote.encode(image(1)), threading.Event()
    events = []
    for event in remote.session(encoded).segment(
        "something to drink from, and explain why", cancelled=cancelled.is_set
    ):
        events.append(event)
        cancelled.set()
    assert isinstance(events[-1], Finished) and events[-1].reason in ("cancelled", "end")
    assert ask(remote, encoded, "the red mug").reason == "end"


REPLICA, PROXY = "ServeReplica:table:model", "ray::ProxyActor"
"""Titles of Ray's processes."""


def test_a_lost_replica_loses_no_command(server: Process, remote: RemoteSegmenter, local: Segmenter) -> None:
    here = {(number, text): ask(local, local.encode(image(number)), text) for number in range(3) for text in COMMANDS}
    chance, done = random.Random(1), threading.Event()

    def kill() -> None:
        for _ in range(2):
            done.wait(chance.uniform(0.3, 0.6))
            wait_until(lambda: len(descendants(server.pid, REPLICA)) == 2, "both replicas", 120)
            os.kill(chance.choice(descendants(server.pid, REPLICA)), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    count, encoded = 0, {number: remote.encode(image(number)) for number in range(3)}
    while killer.is_alive() or count < 30:
        number, text = count % 3, COMMANDS[count // 3 % 3]
        events = list(remote.session(encoded[number]).segment(text))
        finished = [event for event in events if isinstance(event, Finished)]
        assert len(finished) == 1 and finished[0].answer == here[number, text].answer
        assert sum(isinstance(event, MaskFound) for event in events) == len(finished[0].objects)
        count += 1
    done.set()
    assert count >= 30


def the_id_is_on_both_sides(command_id: str, node: Process, server: Process) -> None:
    """In the node's log, as a field of the replica's log, and as an attribute of the OpenTelemetry span."""
    wait_until(lambda: f"Command '{command_id}' of 'default'" in node.output, "the node's log")
    logs = serve_logs(server)

    def logged() -> list[dict[str, Any]]:
        """Its whole lines."""
        texts = [file.read_text() for file in logs.glob("replica_table_model_*.log")]
        lines = [line for text in texts for line in text.splitlines(keepends=True)]
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}\n")]
        return [one for one in found if one.get("command_id") == command_id]

    (line,) = wait_until(logged, "the replica's log")
    assert (line["robot"], line["ended"]) == ("back", "answered")

    def is_traced() -> bool:
        spans = [file.read_text() for file in (logs / "spans").glob("*_tracing.json")]
        return any(f'"lisa.command_id": "{command_id}"' in one and '"lisa.robot": "back"' in one for one in spans)

    wait_until(is_traced, "the span")


def serve_logs(server: Process) -> Path:
    """Where a replica has its log open."""
    replica, *_ = descendants(server.pid, REPLICA)
    opened = [one.readlink() for one in Path(f"/proc/{replica}/fd").iterdir()]
    (logs,) = {one.parent for one in opened if one.parent.name == "serve"}
    return logs


def test_a_node_falls_back_and_returns(server: Process, remote: RemoteSegmenter, port: int) -> None:
    node = [
        *(sys.executable, "-m", "lisa_ros.nodes.lisa.node", "--ros-args", "-p", "dialogue_file:=''"),
        *("-p", f"checkpoint:=lisa://127.0.0.1:{port}/table", "-p", "fallback:=embedded", "-p", "use_depth:=false"),
        *("-p", f"remote_token:={TOKENS['back']}", "-p", "remote_timeout:=30.0", "-p", "remote_jpeg_quality:=0"),
    ]
    with probing("lisa") as probe, started(node) as process:
        probe.wait_for_node(process)
        message = to_image_message(image(0), "rgb8", Header())
        answer = probe.ask_about(message, "the red mug")
        assert (
            answer.model.startswith("lisa://")
            and answer.answer == ask(remote, remote.encode(image(0)), answer.text).answer
        )
        the_id_is_on_both_sides(answer.id, process, server)
        for pid in descendants(server.pid, PROXY):  # Ray starts it again after some seconds
            os.kill(pid, signal.SIGKILL)
        answer = probe.ask_about(message, "something to drink from")
        assert answer.status in (Segmentation.OK, Segmentation.NO_OBJECT)
        assert answer.model.startswith("tabletop"), answer.model
        wait_until(lambda: "local model" in process.output, "the fallback in the log")

        def returned() -> bool:
            time.sleep(0.2)
            return probe.ask_about(message, "the red mug").model.startswith("lisa://")

        wait_until(returned, "an answer of the server", 120)
        wait_until(lambda: "answers again" in process.output, "the return in the log")
