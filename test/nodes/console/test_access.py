# SPDX-License-Identifier: Apache-2.0
"""Who may connect to the console, and what else it serves; the console as a process."""

import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from console_page import address_of, chromium, console_command
from paths import ROOT
from ros_harness import started, wait_until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from lisa_ros.nodes.console.listening import check_address, listening
from lisa_ros.nodes.console.parameters import ConsoleParameterError, ConsoleParameters

TOKEN = "a-token-of-the-test"


@pytest.fixture(scope="module")
def open_console() -> Iterator[int]:
    with started(console_command()) as process:
        yield urlsplit(address_of(process)).port or 0


@pytest.fixture(scope="module")
def guarded_console() -> Iterator[str]:
    with started(console_command(f"token:={TOKEN}")) as process:
        yield address_of(process)


def ask(port: int, path: str, method: str = "GET", body: str | None = None, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return connection.getresponse()


def test_health_says_what_is_missing(open_console: int) -> None:
    response = ask(open_console, "/healthz")
    health = json.loads(response.read())
    assert response.status == 503 and health["ok"] is False and health["pages"] == 0
    assert health["cameras"]["default"]["node"] is False and health["cameras"]["default"]["camera_topic"] == "/image"


def test_what_is_not_a_page_s_own_request_is_refused(open_console: int) -> None:
    assert ask(open_console, "/", "POST", "x").status == 405
    assert ask(open_console, "/", "GET", "a body").status == 413
    for foreign in ("robot.example:8080", "127.robot.example:8080", "127.0.0.1.robot.example", ""):
        assert ask(open_console, "/", Host=foreign).status == 421
    assert ask(open_console, "/", Origin="http://evil.example").status == 403
    assert ask(open_console, "/static/../node.py").status in (400, 404)
    assert ask(open_console, "/static/%2e%2e/node.py").status == 404
    headers = ask(open_console, "/").headers
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert (headers["referrer-policy"], headers["cross-origin-opener-policy"]) == ("no-referrer", "same-origin")
    policy = headers["content-security-policy"]
    assert "script-src 'self';" in policy and "unsafe" not in policy and "trusted-types 'none'" in policy


def test_a_web_socket_comes_from_the_console_s_own_page_alone(open_console: int) -> None:
    address = f"ws://127.0.0.1:{open_console}/page"
    for origin in (None, "http://evil.example", f"https://127.0.0.1:{open_console}"):
        with pytest.raises(InvalidStatus), connect(address, origin=origin):
            pass
    with connect(address, origin=f"http://127.0.0.1:{open_console}") as page:
        for message, reason in (
            ("no json", "no JSON"),
            ("[" * 60_000, "no JSON"),
            ("[]", "no JSON object"),
            ('{"type": ["hello"]}', "no known type"),
            ('{"type": "command", "text": "x"}', "must be hello"),
            ('{"type": "hello"}', "text is missing"),
            ('{"type": "hello", "operator": "\\u0007"}', "cannot be used"),
            ('{"type": "hello", "operator": "ann"}', ""),
            ('{"type": "command", "text": " "}', "empty"),
            ('{"type": "command", "text": 7}', "text is missing"),
            ('{"type": "command", "text": "x", "points": [[1, 2, 3]]}', "another count"),
            ('{"type": "command", "text": "x", "points": [[NaN, 1]]}', "numbers is missing"),
            ('{"type": "command", "text": "x", "references": "1"}', "numbers is missing"),
            (f'{{"type": "command", "text": "x", "references": [{"9" * 400}]}}', "not finite"),
            ('{"type": "command", "text": "x", "boxes": [[-1, 0, 1, 1]]}', "0 or more"),
            ('{"type": "frame", "width": "wide"}', "width"),
            ('{"type": "command", "text": "\\ud800"}', "node_lost"),
        ):
            page.send(message)
            while reason:
                answer = json.loads(page.recv(timeout=30))
                if answer["type"] in ("bad_message", "operator_refused", "not_sent"):
                    assert reason in (answer.get("detail") or answer["code"]), message
                    break
        page.send("x" * 70_000)
        with pytest.raises(Exception, match="1009"):
            while True:
                page.recv(timeout=30)


def test_a_page_that_reads_nothing_is_closed_and_costs_no_memory(open_console: int) -> None:
    origin = f"http://127.0.0.1:{open_console}"
    with connect(f"ws://127.0.0.1:{open_console}/page", origin=origin, max_queue=1) as page:
        for number in range(40):
            page.send(json.dumps({"type": "command", "text": "x" * 60_000}))
            page.send(json.dumps({"type": "hello", "operator": f"mallory {number}"}))
        assert json.loads(ask(open_console, "/healthz").read())["pages"] >= 1
        with pytest.raises(ConnectionClosed):
            for _ in range(200_000):
                page.send('{"type": "hello", "operator": "mallory"}')


def test_a_token_of_any_characters_is_known_again() -> None:
    token = 'a "token", with; all\\that'
    with started(console_command(f"token:={json.dumps(token)}")) as process:
        port = urlsplit(address_of(process)).port or 0
        cookie = ask(port, f"/?token={quote(token)}").headers["set-cookie"]
        kept = re.sub("; Max-Age=.*", "", cookie)
        assert ask(port, "/", Cookie=kept).status == 200
        assert ask(port, "/", Cookie=f"{kept[:-2]}").status == 401


def test_browsers_ask_for_changed_files(open_console: int) -> None:
    for path in ("/static/main.js", "/static/texts/en.json"):
        first = ask(open_console, path)
        assert first.headers["cache-control"] == "no-cache"
        again = ask(open_console, path, If_None_Match=first.headers["etag"])
        assert (again.status, again.headers["cache-control"]) == (304, "no-cache")


def test_a_token_is_needed_once(guarded_console: str) -> None:
    port = urlsplit(guarded_console).port or 0
    assert guarded_console.endswith(f"/?token={TOKEN}")
    for path in ("/", "/?token=wrong", f"/?token={TOKEN.upper()}", f"/?token={TOKEN}%20", "/static/main.js", "/texts"):
        response = ask(port, path)
        assert response.status == 401 and "token" in response.read().decode()
    assert ask(port, "/healthz").status == 503
    with pytest.raises(InvalidStatus), connect(f"ws://127.0.0.1:{port}/page", origin=f"http://127.0.0.1:{port}"):
        pass
    cookie = ask(port, f"/?token={TOKEN}").headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert ask(port, "/", Cookie=cookie.split(";")[0]).status == 200
    name, _, value = cookie.split(";")[0].partition("=")
    assert name == f"lisa_console_{port}", "two consoles of one host would overwrite each other's cookie"
    for other in ('foo={"a":1}', "a[b]=1", "foo", "u=Max M\u00fcller", "a,b=3", "user(1)=3"):
        assert ask(port, "/", Cookie=f"{other}; {name}={value}").status == 200, other
    assert value != value.upper() and ask(port, "/", Cookie=f"{name}={value.upper()}").status == 401
    with chromium() as browser:
        page = browser.new_page()
        assert "A token is needed" in (page.goto(guarded_console.split("?")[0]).text())
        page.goto(guarded_console)
        page.wait_for_selector("body[data-node]")
        assert "token" not in page.url
        page.reload()
        page.wait_for_selector("body[data-node]")


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (["token:=short"], "12 or more"),
        (["tls_cert:=cert.pem"], "go together"),
        (["tls_cert:=no.pem", "tls_key:=no.pem"], "no such file"),
        (["image_transport:=theora"], "'raw' or 'compressed'"),
        (["cameras:=[front, front]"], "different namespaces"),
        (["cameras:=[/front, front]"], "different namespaces"),
        (["cameras:=[front-left]"], "'front-left' cannot be a namespace"),
        (["cameras:=[front camera]"], "'front camera' cannot be a namespace"),
        (["host:=."], "address or a name of this machine"),
        (["host:=no.such.host.invalid"], "address or a name of this machine"),
        (["max_pages:=many"], "a whole number from 1 to 1000"),
        (["prot:=8081"], "prot"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_refused(parameters: list[str], reason: str) -> None:
    with started(console_command(*parameters)) as process:
        assert process.wait() == 1
        assert reason in process.output and "Traceback" not in process.output


def test_a_port_that_is_taken_is_said_once_and_waited_for() -> None:
    """ros2 launch started the console again every 5 s, each time with the same sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = console_command()
        command[-1] = f"port:={port}"
        with started(command) as interrupted:
            wait_until(lambda: "is taken" in interrupted.output, "the sentence")
            interrupted.send_signal(signal.SIGINT)
            assert interrupted.wait() == 0 and "Traceback" not in interrupted.output
        with started(command) as process:
            wait_until(lambda: "is taken" in process.output, "the sentence")
            time.sleep(2.0)  # some attempts
            taken.close()
            assert urlsplit(address_of(process)).port == port
            assert process.output.count("is taken") == 1 and f"host '127.0.0.1', port {port}" in process.output
            assert "console_port:=8081" in process.output and "--port 8081" in process.output


def test_an_address_that_this_machine_does_not_have_is_said_once_and_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ros2 launch started the console again every 5 s. At boot, an address may come later than the console."""
    serve, attempts = socket.create_server, []

    def later(address: tuple[str, int], **options: Any) -> socket.socket:
        attempts.append(address)
        return serve(address if len(attempts) < 3 else ("127.0.0.1", 0), **options)

    monkeypatch.setattr(socket, "create_server", later)
    warnings: list[str] = []
    check_address("192.0.2.1", 8080)
    with listening("192.0.2.1", 8080, warnings.append):
        assert len(attempts) == 3
    assert len(warnings) == 1 and "its network is not up yet" in warnings[0]


def make_certificate(folder: Path, *options: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "1", "-subj", "/CN=127.0.0.1", *options]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make, *names], check=True, capture_output=True)
    return certificate, key


def test_files_that_are_no_certificate_and_key_are_refused(tmp_path: Path) -> None:
    """A key with a pass phrase made the console wait for a terminal."""
    certificate, key = make_certificate(tmp_path, "-passout", "pass:secret")
    (tmp_path / "other").mkdir()
    other, other_key = make_certificate(tmp_path / "other", "-nodes")
    for files in ((certificate, key), (other_key, other), (certificate, other_key)):
        with pytest.raises(ConsoleParameterError, match=r"Parameters tls_cert .* and tls_key .* without a pass phrase"):
            ConsoleParameters(tls_cert=str(files[0]), tls_key=str(files[1])).check()
    ConsoleParameters(tls_cert=str(other), tls_key=str(other_key)).check()


def test_without_its_packages_the_console_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError(\"No module named 'starlette'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    with started(console_command()) as process:
        assert process.wait() == 1
        assert "tools/requirements.py --only console)" in process.output and "Traceback" not in process.output


def test_every_text_of_the_page_is_in_the_file_for_translators() -> None:
    folder = ROOT / "lisa_ros" / "nodes" / "console" / "static"
    texts = json.loads((folder / "texts" / "en.json").read_text())
    page = (folder / "index.html").read_text()
    keys = set(re.findall(r'data-text="(\w+)"', page))
    for script in folder.glob("*.js"):
        keys |= set(re.findall(r"\bt\(\"(\w+)\"", script.read_text()))
    assert keys - set(texts) == set()
    assert all(isinstance(text, str) for text in texts.values())


def test_other_machines_need_the_link_and_get_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, _ = make_certificate(tmp_path, "-nodes")
    monkeypatch.setenv("HOME", str(tmp_path))
    with started(console_command("host:=0.0.0.0", "tls_cert:=~/cert.pem", "tls_key:=~/key.pem")) as process:
        link = urlsplit(address_of(process))
        token = link.query.removeprefix("token=")
        assert link.scheme == "https" and len(token) >= 24
        wait_until(
            lambda: sum(bool(set(line) & set("█▀▄")) for line in process.output.splitlines()) > 10, "the QR code"
        )
        trusted = ssl.create_default_context(cafile=certificate)

        def status(path: str) -> http.client.HTTPResponse:
            connection = http.client.HTTPSConnection("127.0.0.1", link.port, timeout=30, context=trusted)
            connection.request("GET", path)
            return connection.getresponse()

        assert status("/").status == 401
        answer = status(f"/?token={token}")
        assert answer.status == 200 and "Secure" in answer.headers["set-cookie"]
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(link.port or 0, "/healthz")  # plain HTTP
        assert process.output.count(token) == 1
