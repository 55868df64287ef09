# SPDX-License-Identifier: Apache-2.0
"""`lisa benchmark` that gets SIGTERM cleans up, so that no server and no node runs on."""

from __future__ import annotations

import signal
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from lisa_ros.cli.main import main


@pytest.mark.parametrize("what", ["fleet", "console"])
def test_sigterm_cleans_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str) -> None:
    ended = []

    def measure(_: Any) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
            time.sleep(1)
        finally:
            signal.raise_signal(signal.SIGTERM)  # an impatient second one
            ended.append(what)

    parts = {f"run_{what}_benchmark": measure, f"{what.capitalize()}BenchmarkOptions": SimpleNamespace}
    monkeypatch.setitem(sys.modules, f"lisa_ros.benchmark.{what}.run", SimpleNamespace(**parts, DemoError=OSError))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with pytest.raises(SystemExit) as stopped:
        main(["benchmark", what])
    assert stopped.value.code == 143
    assert ended == [what]
    assert "lisa benchmark: stopped" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
