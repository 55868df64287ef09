# SPDX-License-Identifier: Apache-2.0
"""Starts the node `speech`, where the packages that it needs are installed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from lisa_ros.speech.extra import missing_package


def main(args: Sequence[str] | None = None) -> int:
    """Runs the node until it is ended.

    Returns:
        0, or 1 where the command line, a parameter or a package is wrong.
    """
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends the process at once
    try:
        from lisa_ros.nodes.speech.node import run
    except ModuleNotFoundError as error:
        print(f"speech: {missing_package(error)}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, handler)
    return run(args)
