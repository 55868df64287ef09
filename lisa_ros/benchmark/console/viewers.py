# SPDX-License-Identifier: Apache-2.0
"""Pages of the console without a browser, as a program of its own: each asks for the next live image once one came.

Prints, when SIGINT ends it, one JSON line: the images of each page and the seconds that they took.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence

from websockets.asyncio.client import connect

from lisa_ros.nodes.console.page import LAST

_WIDTH = 640
_AGAIN_S = 0.2


async def _view(address: str, number: int, images: list[int]) -> None:
    origin = address.replace("ws://", "http://").removesuffix("/page")
    while True:
        try:
            async with connect(address, origin=origin, max_size=None, compression=None) as page:  # type: ignore[arg-type]
                await page.send(json.dumps({"type": "hello", "operator": f"viewer {number}"}))
                await page.send(json.dumps({"type": "frame", "width": _WIDTH}))
                async for message in page:
                    if isinstance(message, bytes) and message.startswith(LAST):
                        images[number] += 1
                        await page.send(json.dumps({"type": "frame", "width": _WIDTH}))
        except OSError:  # the console is not up yet
            await asyncio.sleep(_AGAIN_S)


async def _run(address: str, count: int) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, ended.set)
    images = [0] * count
    views = [asyncio.create_task(_view(address, number, images)) for number in range(count)]
    while not ended.is_set() and not all(images):
        await asyncio.sleep(0.02)
    before, began_s = list(images), time.monotonic()
    await ended.wait()
    counted = [after - start for after, start in zip(images, before, strict=True)]
    print(json.dumps({"images": counted, "seconds": time.monotonic() - began_s}), flush=True)
    for view in views:
        view.cancel()


def main(arguments: Sequence[str]) -> int:
    """Takes the WebSocket's address and the number of pages."""
    os.nice(19)  # operators' browsers run on other machines
    asyncio.run(_run(arguments[0], int(arguments[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
