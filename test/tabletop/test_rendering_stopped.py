# SPDX-License-Identifier: Apache-2.0
"""Rendering that is stopped by signals: only whole shards stay, no process and no temporary folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

RENDERING = """
import sys
from pathlib import Path
from lisa_ros.tabletop.views import render_views
if __name__ == "__main__":
    try:
        render_views(7, 100_000, width=64, height=48, cache=Path(sys.argv[1]), workers=2, shard_views=4)
    except KeyboardInterrupt:
        raise SystemExit(130)
"""


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(
    ("signals", "to_all", "status"),
    [((signal.SIGTERM,), False, 143), ((signal.SIGTERM,) * 2, True, 143), ((signal.SIGINT,), True, 130)],
)
def test_nothing_but_whole_shards_stays(
    tmp_path: Path, signals: tuple[signal.Signals, ...], to_all: bool, status: int, early: bool
) -> None:
    """To all: as Ctrl-C in a terminal, and as systemd ends a service."""
    script, views, temporary = tmp_path / "rendering.py", tmp_path / "views", tmp_path / "temporary"
    script.write_text(RENDERING)
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(script), str(views)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "TMPDIR": str(temporary)},
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 300
        while not (len(_group(process.pid)) >= 3 if early else any(temporary.glob("lisa_tabletop_*"))):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        for number in signals:
            os.killpg(process.pid, number) if to_all else process.send_signal(number)
            time.sleep(0.1)
        said, _ = process.communicate(timeout=120)  # waits for all that write there, thus for all processes
    finally:
        for one in [process.pid, *_group(process.pid)]:
            _kill(one)
    late = {-signals[-1]} if len(signals) > 1 else set()  # the second one came when all was cleaned up
    assert process.returncode in {status, *late}, said
    assert "Traceback" not in said and "leaked" not in said
    assert ("rendering stopped; the same command resumes" in said) == (status == 143)
    assert list(temporary.iterdir()) == []
    assert not list(views.glob("*.part"))


def _group(leader: int) -> list[int]:
    """The processes that a process started in its session, and itself."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(ProcessLookupError):
            if entry.name.isdigit() and os.getsid(int(entry.name)) == leader:
                found.append(int(entry.name))
    return found


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
