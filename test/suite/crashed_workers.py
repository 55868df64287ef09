# SPDX-License-Identifier: Apache-2.0
"""Where a worker of pytest-xdist crashes: its other tests run in the worker that replaces it.

pytest-xdist 3.8 gives the finished modules of the crashed worker to the next one, one at a time, and waits for the
result of a test of each, which never comes: the run hangs. And a test that crashed cannot be repeated (`--reruns`).
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController


class UnfinishedScopes(LoadScopeScheduling):
    """Modules of tests for each worker; of a crashed worker's modules the tests that have not run."""

    def remove_node(self, node: WorkerController) -> str | None:
        """Takes back a worker's modules; returns the test that it crashed in, which counts as run."""
        modules = self.assigned_work.pop(node)
        tests = ((module, test) for module, state in modules.items() for test, has_run in state.items() if not has_run)
        module, crashed = next(tests, (None, None))
        if module is not None and crashed is not None:
            modules[module][crashed] = True
        self.workqueue.update({name: state for name, state in modules.items() if not all(state.values())})
        return crashed

    def mark_test_pending(self, item: str) -> None:  # type: ignore[override]
        """Run a test again, which pytest-rerunfailures asks for once if it crashed."""
        self.workqueue.setdefault(self._split_scope(item), {})[item] = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """For `--dist loadscope`."""
    return UnfinishedScopes(config, log) if config.getoption("dist") == "loadscope" else None
