# SPDX-License-Identifier: Apache-2.0
"""Triangle meshes of the simulated objects: made here from profiles and boxes, or read from OBJ files.

Materials and textures of files are left out on purpose: an object's colour is given by the scene alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lisa_ros.segmentation.errors import LisaError

Points = NDArray[np.float64]
Faces = NDArray[np.int64]

SMOOTH_BELOW_DEG = 40.0
"""Two triangles that meet at a smaller angle than this are shaded as one round surface."""


@dataclass(frozen=True)
class Mesh:
    """Triangles: points (N, 3), metres, z up; faces (M, 3), indices of points, counter-clockwise seen from outside."""

    points: Points
    faces: Faces

    def moved(self, offset: Sequence[float] | Points) -> Mesh:
        """The same mesh shifted by (x, y, z) metres."""
        return Mesh(self.points + np.asarray(offset, dtype=np.float64), self.faces)

    def scaled(self, factor: float) -> Mesh:
        """The same mesh made larger by a factor."""
        return Mesh(np.asarray(self.points * factor), self.faces)


def box(size: Sequence[float], centre: Sequence[float] = (0.0, 0.0, 0.0)) -> Mesh:
    """A box of the given edge lengths."""
    corners = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], dtype=np.float64)
    quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    points = corners * np.asarray(size, dtype=np.float64) + np.asarray(centre, dtype=np.float64)
    return Mesh(points, _triangles(quads))


def lathe(profile: Sequence[tuple[float, float]], sides: int = 32) -> Mesh:
    """A body of revolution about z.

    Args:
        profile: (radius, z) pairs in metres, so ordered that outside lies to the right of the way along them
            (upwards along an outer wall).
        sides: number of flat strips around.
    """
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.concatenate([np.column_stack([radius * ring, np.full(sides, z)]) for radius, z in profile])
    quads = [
        (low * sides + i, low * sides + (i + 1) % sides, (low + 1) * sides + (i + 1) % sides, (low + 1) * sides + i)
        for low in range(len(profile) - 1)
        for i in range(sides)
    ]
    return _without_slivers(Mesh(points, _triangles(quads)))


def read_obj(path: Path, *, y_up: bool = False) -> Mesh:
    """The geometry of a Wavefront OBJ file, polygons cut into triangles.

    Args:
        path: the file.
        y_up: turn a model whose up is y so that its up is z.

    Raises:
        ValueError: the file has no vertices or no faces.
    """
    points: list[list[float]] = []
    polygons: list[list[int]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, *fields = line.split() or [""]
        if key == "v":
            points.append([float(value) for value in fields[:3]])
        elif key == "f":
            polygons.append([int(field.split("/")[0]) - 1 for field in fields])
    if not points or not polygons:
        raise LisaError(f"{path} holds no geometry: an OBJ file with v and f lines is needed")
    raw = np.array(points)
    return _without_slivers(Mesh(raw[:, [0, 2, 1]] * (1.0, -1.0, 1.0) if y_up else raw, _triangles(polygons)))


def read_pieces(path: Path) -> list[Mesh]:
    """The objects of a Wavefront OBJ file, each a mesh of its own."""
    whole = read_obj(path)
    starts = [0]
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key = line.partition(" ")[0]
        if key == "v":
            starts[-1] += 1
        elif key == "o":
            starts.append(starts[-1])
    ends = sorted({0, *starts})
    return [_piece(whole, low, high) for low, high in pairwise(ends)]


def _piece(mesh: Mesh, low: int, high: int) -> Mesh:
    faces = mesh.faces[((mesh.faces >= low) & (mesh.faces < high)).all(axis=1)]
    return Mesh(mesh.points[low:high], faces - low)


def wedges(sections: Sequence[Sequence[tuple[float, float]]], sides: int) -> list[Mesh]:
    """A body of revolution about z as convex pieces, without faces: their hulls are meant.

    Args:
        sections: convex polygons of (radius, z) pairs, metres.
        sides: number of pieces around.
    """
    turns = 2.0 * np.pi * np.arange(sides + 1) / sides
    pieces = []
    for section in sections:
        radius, z = np.asarray(section, dtype=np.float64).T
        rings = [np.column_stack([radius * np.cos(turn), radius * np.sin(turn), z]) for turn in turns]
        pieces += [np.concatenate(pair) for pair in pairwise(rings)]
    return [Mesh(points, np.zeros((0, 3), dtype=np.int64)) for points in pieces]


def write_hulls(pieces: Sequence[Mesh], path: Path) -> None:
    """Writes convex pieces as an OBJ file with one object a piece; the simulator takes the hull of each."""
    lines, first = [], 1
    for number, piece in enumerate(pieces):
        count = len(piece.points)
        lines += [f"o piece{number}", *(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in piece.points)]
        lines += [f"f {first} {first + i} {first + i + 1}" for i in range(1, count - 1)]
        first += count
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_obj(mesh: Mesh, path: Path) -> None:
    """Writes a mesh with normals, round where its triangles meet at small angles and sharp elsewhere."""
    normals = corner_normals(mesh)
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in mesh.points]
    # The renderer's OBJ reader wants a texture coordinate at every corner, so all share one that means nothing.
    lines.append("vt 0 0")
    lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in normals]
    for number, (a, b, c) in enumerate(mesh.faces + 1):
        n = 3 * number + 1
        lines.append(f"f {a}/1/{n} {b}/1/{n + 1} {c}/1/{n + 2}")
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def extreme_points(points: Points, count: int = 64) -> Points:
    """The points that are outermost in `count` directions spread evenly: a coarse convex hull, (at most count, 3)."""
    step = np.arange(count) + 0.5
    z = 1.0 - 2.0 * step / count
    turn = np.pi * (1.0 + np.sqrt(5.0)) * step
    radius = np.sqrt(1.0 - z * z)
    directions = np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)
    return np.asarray(points[np.unique(np.argmax(points @ directions.T, axis=0))])


def _triangles(polygons: Sequence[Sequence[int]]) -> Faces:
    fans = [(p[0], p[i], p[i + 1]) for p in polygons for i in range(1, len(p) - 1)]
    return np.array(fans, dtype=np.int64)


def _face_normals(mesh: Mesh) -> Points:
    a, b, c = (mesh.points[mesh.faces[:, i]] for i in range(3))
    return np.asarray(np.cross(b - a, c - a))


def _without_slivers(mesh: Mesh) -> Mesh:
    area = np.linalg.norm(_face_normals(mesh), axis=1)
    return Mesh(mesh.points, mesh.faces[area > 1e-12])


def corner_normals(mesh: Mesh) -> Points:
    """One unit normal for each corner of each face, (3 M, 3): the mean over the faces that are round with it there."""
    weighted = np.repeat(_face_normals(mesh), 3, axis=0)
    unit = weighted / np.linalg.norm(weighted, axis=1, keepdims=True)
    # Corners are the same vertex where they lie at the same place: files repeat vertices along seams.
    size = float(np.ptp(mesh.points, axis=0).max())
    places = np.round(mesh.points / size, 5)[mesh.faces.ravel()]
    vertex = np.unique(places, axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(vertex, kind="stable")
    normals = np.empty_like(unit)
    for group in np.split(order, np.flatnonzero(np.diff(vertex[order])) + 1):
        round_with = unit[group] @ unit[group].T > np.cos(np.deg2rad(SMOOTH_BELOW_DEG))
        normals[group] = round_with @ weighted[group]
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))
