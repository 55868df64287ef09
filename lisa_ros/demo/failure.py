# SPDX-License-Identifier: Apache-2.0
"""The error that ends the demo early."""


class DemoError(RuntimeError):
    """The demo cannot go on; the text says why, for the person who started it."""
