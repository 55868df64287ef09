# SPDX-License-Identifier: Apache-2.0
"""The nodes' BLAS has one thread, torch's own has all, and the user's variables count."""

import os
import subprocess
import sys

_THREADS = """
import sys, threadpoolctl
import numpy
if sys.argv[1] == "torch":
    import torch
from lisa_ros.nodes.common.threads import use_one_blas_thread

before = {one["filepath"]: one["num_threads"] for one in threadpoolctl.threadpool_info()}
done = use_one_blas_thread()
for one in threadpoolctl.threadpool_info():
    mine = one["user_api"] == "blas" and "torch" not in one["filepath"]
    assert one["num_threads"] == (1 if mine and done else before[one["filepath"]]), one
assert any(one["user_api"] == "blas" for one in threadpoolctl.threadpool_info())
numpy.ones((64, 64)) @ numpy.ones((64, 64))
print(done)
"""


def _done(imported: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", _THREADS, imported]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment | variables)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_blas_has_one_thread_unless_a_variable_says_how_many() -> None:
    assert _done("torch") == "True"
    assert _done("nothing", OPENBLAS_NUM_THREADS="2") == "False"
