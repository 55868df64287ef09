# SPDX-License-Identifier: Apache-2.0
"""Tokens and quotas of robots."""

from pathlib import Path

import pytest

from lisa_ros.cli.main import main
from lisa_ros.fleet.access import ANYBODY, Access, AccessError, Quota, read_tokens
from lisa_ros.fleet.connection import Connection
from lisa_ros.segmentation.errors import LisaError

TOKENS = {"front": "f" * 20, "back": "b" * 20}


def test_a_token_names_its_robot() -> None:
    access = Access(TOKENS, Quota())
    assert access.robot_of(f"Bearer {'b' * 20}") == "back"
    for wrong in ("", "Bearer ", f"Bearer {'b' * 19}", f"Bearer {'é' * 20}", f"Basic {'b' * 20}"):
        with pytest.raises(AccessError) as refused:
            access.robot_of(wrong)
        assert refused.value.status == 401


def test_without_tokens_anybody_asks() -> None:
    assert Access({}, Quota()).robot_of("") == ANYBODY


def test_one_robot_cannot_take_the_others_turns() -> None:
    access = Access(TOKENS, Quota(concurrent=2))
    access.begin("front")
    access.begin("front")
    with pytest.raises(AccessError, match="2 requests running") as refused:
        access.begin("front")
    assert refused.value.status == 429
    access.begin("back")
    access.end("front")
    access.begin("front")


def test_a_robot_asks_so_often_in_a_minute() -> None:
    now = [0.0]
    access = Access(TOKENS, Quota(requests_per_minute=3, concurrent=1000), clock=lambda: now[0])
    access.begin("front")
    now[0] = 20.5
    access.begin("front")
    access.begin("front")
    with pytest.raises(AccessError, match="too often; next in 40 s"):
        access.begin("front")
    now[0] = 60.0
    access.begin("front")
    with pytest.raises(AccessError, match="too often; next in 21 s"):
        access.begin("front")
    access.begin("back")


def test_tokens_are_read_from_lines(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# robots\nfront {'f' * 20}\n\nback {'b' * 20}\n")
    assert read_tokens(path) == TOKENS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no tokens"),
        ("front", "line 1"),
        (f"front {'f' * 20} x", "line 1"),
        ("front short", "at least 16"),
        (f"front {'f' * 20}\nfront {'g' * 20}", "line 2"),
        (f"front {'f' * 20}\nback {'f' * 20}", "line 2"),
        (f"front {'é' * 20}", "is not UTF-8 text"),
        (f"\ufefffront {'é' * 20}", "16 ASCII characters"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text, encoding="utf-8" if "\ufeff" in text else "latin-1")
    with pytest.raises(LisaError, match=said):
        read_tokens(path)


def test_a_token_that_cannot_be_sent_is_refused_and_not_shown() -> None:
    """With the end of its line, it stood in the sentence that said why the server "cannot be reached"."""
    for token in ("front-é" + "f" * 20, "front " + "f" * 20, "front\n" + "f" * 20):
        with pytest.raises(LisaError, match="remote_token has a space") as refused:
            Connection("lisa://127.0.0.1:1/m", token, 1.0)
        assert "fff" not in str(refused.value)
    Connection("lisa://127.0.0.1:1/m", "f" * 20 + "\n", 1.0).close()


def test_other_machines_need_a_token_also_over_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cert.pem"
    file.touch()
    assert main(["serve", "--host", "0.0.0.0", "--tls-cert", str(file), "--tls-key", str(file)]) == 2
    assert "--tokens FILE says who may" in capsys.readouterr().err


def test_there_is_no_option_that_promises_client_certificates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray Serve would take the authority and require no certificate."""
    file = tmp_path / "ca.pem"
    file.touch()
    with pytest.raises(SystemExit):
        main(["serve", "--host", "0.0.0.0", "--tls-cert", str(file), "--tls-key", str(file), "--tls-ca", str(file)])
    assert "--tls-ca" in capsys.readouterr().err
