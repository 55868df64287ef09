# SPDX-License-Identifier: Apache-2.0
"""A hook of mkdocs: links out of docs/ (to sources, messages, the README) show the path as text on the site.

On the site there is nothing to link to; in the repository's own view of the pages the links work. A link to a file that
does not exist fails the build, as mkdocs does for links inside docs/.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_OUTWARD = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)(#[^)]*)?\)")
_LOG = logging.getLogger("mkdocs.hooks.docs_links")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """See mkdocs' plugin events."""

    def shown(match: re.Match[str]) -> str:
        target = (_ROOT / "docs" / match[2]).resolve()
        if not target.exists():
            _LOG.warning("%s links to %s, which does not exist", page.file.src_uri, match[2])
        return match[1]

    return _OUTWARD.sub(shown, markdown)
