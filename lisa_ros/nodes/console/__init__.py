# SPDX-License-Identifier: Apache-2.0
"""The operators' console: a node that serves a web page with the camera, the dialogue and the masks."""
