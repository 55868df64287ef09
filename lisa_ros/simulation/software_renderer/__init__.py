# SPDX-License-Identifier: Apache-2.0
"""A second renderer, independent of PyBullet's: numpy rasterization with deferred shading."""
