# SPDX-License-Identifier: Apache-2.0
"""Keeps numpy's linear algebra on one thread in the nodes.

OpenBLAS's threads wait for each other without giving up their cores. Beside torch's threads, an answer's plane fits and
products of a few thousand points took 90 ms of processor time on two cores, with one thread 31 ms (docs/benchmarks.md).
"""

import os

import numpy  # noqa: F401  (its BLAS must be loaded to be found)
from threadpoolctl import ThreadpoolController

_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def use_one_blas_thread() -> bool:
    """Let each BLAS library that is loaded, except torch's own, use one thread.

    Returns:
        Whether it was done: not if an environment variable says how many threads a BLAS library uses.
    """
    if any(name in os.environ for name in _VARIABLES):
        return False
    loaded = ThreadpoolController()
    paths = [one.filepath for one in loaded.lib_controllers if one.user_api == "blas" and "torch" not in one.filepath]
    loaded.select(filepath=paths).limit(limits=1)
    return bool(paths)
