# SPDX-License-Identifier: Apache-2.0
"""Placed objects as one list of triangles, with what shading needs of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa_ros.simulation.arrangement import RGB
from lisa_ros.simulation.meshes import Mesh, corner_normals
from lisa_ros.simulation.objects import Model

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Marks:
    """Stripes in another shade on an object: where `sin(direction . point + phase)` exceeds `limit`.

    Attributes:
        direction: in the object's own frame, radians per metre.
        phase: radians.
        limit: -1 to 1.
        shade: the stripes' colour.
    """

    direction: tuple[float, float, float]
    phase: float
    limit: float
    shade: RGB


@dataclass(frozen=True)
class Placed:
    """An object where it lies.

    Attributes:
        number: identifies it in the rendered image, 0 or more.
        model: its shape.
        scale: size relative to the model.
        rotation: (3, 3), from the object's frame to the table frame.
        position_m: of the object's origin in the table frame.
        paints: a colour for each part of the model.
        marks: stripes on the first part, or None.
    """

    number: int
    model: Model
    scale: float
    rotation: Floats
    position_m: tuple[float, float, float]
    paints: tuple[RGB, ...]
    marks: Marks | None = None


@dataclass(frozen=True)
class Triangles:
    """All triangles of a scene.

    Attributes:
        corners: (M, 3, 3) in the table frame, metres.
        local: (M, 3, 3), the same corners in their object's frame.
        normals: (M, 3, 3) in the table frame, one for each corner.
        part: (M,) index of the part that each triangle belongs to.
        colours: (parts, 3).
        numbers: (parts,) the object that each part belongs to.
        marks: of each part.
    """

    corners: Floats
    local: Floats
    normals: Floats
    part: NDArray[np.int64]
    colours: Floats
    numbers: NDArray[np.int64]
    marks: tuple[Marks | None, ...]


class GeometryCache:
    """Makes triangles of placed objects; normals of a mesh are computed once."""

    def __init__(self) -> None:
        """Nothing is computed yet."""
        self._normals: dict[int, tuple[Mesh, Floats]] = {}

    def triangles(self, placed: Sequence[Placed]) -> Triangles:
        """All triangles of these objects; one object or more."""
        parts = [
            (one, part.mesh, paint, one.marks if i == 0 else None)
            for one in placed
            for i, (part, paint) in enumerate(zip(one.model.parts, one.paints, strict=True))
        ]
        local = [one.scale * mesh.points[mesh.faces] for one, mesh, _, _ in parts]
        return Triangles(
            corners=np.concatenate(
                [
                    corners @ one.rotation.T + np.asarray(one.position_m)
                    for corners, (one, *_) in zip(local, parts, strict=True)
                ]
            ),
            local=np.concatenate(local),
            normals=np.concatenate([self._normals_of(mesh) @ one.rotation.T for one, mesh, _, _ in parts]),
            part=np.repeat(np.arange(len(parts)), [len(mesh.faces) for _, mesh, _, _ in parts]),
            colours=np.array([paint for _, _, paint, _ in parts], dtype=np.float64),
            numbers=np.array([one.number for one, *_ in parts]),
            marks=tuple(marks for *_, marks in parts),
        )

    def _normals_of(self, mesh: Mesh) -> Floats:
        if id(mesh) not in self._normals:  # the mesh is kept with its normals, so that its id stays its own
            self._normals[id(mesh)] = mesh, corner_normals(mesh).reshape(-1, 3, 3)
        return self._normals[id(mesh)][1]
