# SPDX-License-Identifier: Apache-2.0
"""The browser of the tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # tests of this folder that use no browser run without one
    from console_page import Server, Show
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. A module may replace it by one with a microphone."""
    from console_page import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def server() -> Server:
    """The connections of the pages of `show`."""
    from console_page import Server

    return Server()


@pytest.fixture
def show(browser: Browser, address: str, server: Server) -> Iterator[Show]:
    """See shown_pages; `address` is the module's."""
    from console_page import shown_pages

    with shown_pages(browser, address, server) as show:
        yield show
