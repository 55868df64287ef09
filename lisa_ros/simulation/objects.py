# SPDX-License-Identifier: Apache-2.0
"""The catalogue of objects that may lie on the simulated table: their shape, size, mass and parts.

Every object has a main part in its own colour; some have a small part in another one (a can's metal lid, a book's
pages), as real objects do. Sizes are somewhat larger than life, so that each object covers enough pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from lisa_ros.simulation.meshes import Mesh, Points, box, lathe, read_obj, read_pieces, wedges

RGB = tuple[float, float, float]

PAPER: RGB = (0.9, 0.87, 0.78)
METAL: RGB = (0.68, 0.69, 0.71)
LIGHT: RGB = (0.93, 0.93, 0.93)
DARK: RGB = (0.1, 0.1, 0.1)
LIGHT_COLOURS = frozenset({"white", "yellow", "orange"})


@dataclass(frozen=True)
class Part:
    """A piece of an object.

    `paint` is "own" (the object's colour), "contrast" (light on dark, dark on light) or RGB.
    """

    mesh: Mesh
    paint: str | RGB = "own"


@dataclass(frozen=True)
class Model:
    """Shape, colours and weight of a kind of object. Its parts stand upright, with the centre of mass at the origin.

    `hollow`: convex pieces that leave its hollow free, for physics in which a finger goes in.
    """

    kind: str
    parts: tuple[Part, ...]
    mass_kg: float = 0.2
    may_lie: bool = False
    rolls: bool = False
    hollow: tuple[Mesh, ...] = ()

    @property
    def points(self) -> Points:
        """All vertices of all parts, (N, 3), metres."""
        return np.concatenate([part.mesh.points for part in self.parts])


def paint_of(part: Part, colour: str, rgb: RGB) -> RGB:
    """The colour of a part of an object whose own colour is named `colour` and looks like `rgb`."""
    if isinstance(part.paint, tuple):
        return part.paint
    if part.paint == "own":
        return rgb
    return DARK if colour in LIGHT_COLOURS else LIGHT


def sized(parts: list[Part], size_m: float, weight_at: float = 0.5) -> tuple[Part, ...]:
    """The parts together scaled to a largest edge of `size_m`, with the origin inside them.

    The origin, which is the centre of mass, is in the middle of the box around them, or lower or higher by `weight_at`
    (0 is the foot, 1 the top).
    """
    weight, factor = _weight_and_factor(parts, size_m, weight_at)
    return tuple(Part(part.mesh.moved(-weight).scaled(factor), part.paint) for part in parts)


def _weight_and_factor(parts: list[Part], size_m: float, weight_at: float) -> tuple[Points, float]:
    """The centre of mass, and what the parts are scaled by."""
    points = np.concatenate([part.mesh.points for part in parts])
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray(low + (high - low) * (0.5, 0.5, weight_at)), size_m / float((high - low).max())


def _hollow(kind: str, mesh: Mesh, pieces: list[Mesh], size_m: float, weight_at: float) -> Model:
    """An object of one part whose pieces are in the part's own coordinates."""
    weight, factor = _weight_and_factor([Part(mesh)], size_m, weight_at)
    hollow = tuple(piece.moved(-weight).scaled(factor) for piece in pieces)
    return Model(kind, sized([Part(mesh)], size_m, weight_at), hollow=hollow)


def _from_file(kind: str, path: Path, size_m: float, *, y_up: bool) -> Model:
    return Model(kind, sized([Part(read_obj(path, y_up=y_up))], size_m, weight_at=0.3))


def _mug(folder: Path) -> Model:
    foot = [(0.0, 0.0), (0.041, 0.0), (0.041, 0.009), (0.0, 0.009)]
    wall = [(0.041, 0.009), (0.041, 0.098), (0.038, 0.1), (0.036, 0.1), (0.033, 0.097), (0.033, 0.009)]
    # The first piece of PyBullet's own is the cup, filled; the others are the handle.
    handle = read_pieces(folder / "mug_col.obj")[1:]
    return _hollow("mug", read_obj(folder / "mug.obj"), [*wedges([foot, wall], 20), *handle], 0.115, 0.3)


def _ball() -> Model:
    angle = np.linspace(-np.pi / 2, np.pi / 2, 17)
    mesh = lathe([(float(np.cos(a)), float(np.sin(a))) for a in angle])
    return Model("ball", sized([Part(mesh)], 0.09), rolls=True)


def _domino() -> Model:
    length, width, thick = 0.13, 0.065, 0.024
    marks = [box((0.004, width * 0.85, 0.002))]
    marks += [lathe([(0.0075, 0.0), (0.0075, 0.001), (0.0, 0.001)], 12).moved((x, y, 0.0)) for x, y in _pips()]
    faces = [Part(mark.moved((0.0, 0.0, thick / 2)), "contrast") for mark in marks]
    return Model("domino", sized([Part(box((length, width, thick))), _joined(faces)], length))


def _pips() -> list[tuple[float, float]]:
    """Where the pips of a 5 and a 2 are."""
    five = [(-0.032, 0.0), *((-0.032 + dx, dy) for dx in (-0.017, 0.017) for dy in (-0.018, 0.018))]
    return [*five, (0.015, -0.018), (0.049, 0.018)]


def _joined(parts: list[Part]) -> Part:
    """Parts of one paint as a single part, so that the renderer has fewer pieces to handle."""
    starts = np.cumsum([0, *(len(part.mesh.points) for part in parts)])
    faces = [part.mesh.faces + start for part, start in zip(parts, starts, strict=False)]
    return Part(Mesh(np.concatenate([part.mesh.points for part in parts]), np.concatenate(faces)), parts[0].paint)


def _cube() -> Model:
    return Model("cube", sized([Part(box((1, 1, 1)))], 0.08))


def _can() -> Model:
    wall = lathe([(0.037, 0.006), (0.037, 0.114)])
    top = lathe([(0.037, 0.114), (0.034, 0.12), (0.032, 0.12), (0.031, 0.115), (0.0, 0.115)])
    foot = lathe([(0.0, 0.0), (0.033, 0.0), (0.037, 0.006)])
    return Model("can", sized([Part(wall), _joined([Part(top, METAL), Part(foot, METAL)])], 0.12), may_lie=True)


def _plate() -> Model:
    profile = [(0.0, 0.0), (0.05, 0.0), (0.083, 0.018), (0.083, 0.022), (0.058, 0.016), (0.05, 0.006), (0.0, 0.006)]
    return Model("plate", sized([Part(lathe(profile, 40))], 0.16))


def _book() -> Model:
    length, width, thick, board = 0.15, 0.11, 0.032, 0.004
    covers = [box((length, width, board), (0, 0, z)) for z in (board / 2, thick - board / 2)]
    spine = box((length, board, thick), (0, -width / 2, thick / 2))
    pages = box((length - 0.008, width - 0.006, thick - 2 * board), (0, 0, thick / 2))
    cover = _joined([Part(mesh) for mesh in (*covers, spine)])
    return Model("book", sized([cover, Part(pages, PAPER)], length), mass_kg=0.4)


def _bottle() -> Model:
    belly = [(0.0, 0.0), (0.03, 0.0), (0.036, 0.005), (0.036, 0.1)]
    neck = [(0.033, 0.115), (0.018, 0.135), (0.013, 0.15), (0.013, 0.17)]
    cap = [(0.0, 0.165), (0.017, 0.165), (0.017, 0.19), (0.0, 0.19)]
    parts = [Part(lathe(belly + neck)), Part(lathe(cap), "contrast")]
    return Model("bottle", sized(parts, 0.19, weight_at=0.35), may_lie=True)


def _bowl() -> Model:
    outer = [(0.0, 0.0), (0.03, 0.0), (0.032, 0.006), (0.05, 0.02), (0.063, 0.04), (0.07, 0.065)]
    inner = [(0.066, 0.065), (0.058, 0.04), (0.045, 0.022), (0.025, 0.01), (0.0, 0.008)]
    walls = [(outer[4 - i], outer[5 - i], inner[i], inner[i + 1]) for i in range(3)]
    pieces = wedges([(*outer[:3], *inner[-2:]), *walls], 20)
    return _hollow("bowl", lathe(outer + inner, 40), pieces, 0.14, 0.5)


def _cone() -> Model:
    slope = [(0.04, 0.008), (0.028, 0.05), (0.022, 0.07), (0.008, 0.12), (0.0, 0.12)]
    own = _joined([Part(box((0.1, 0.1, 0.01), (0, 0, 0.005))), Part(lathe(slope[:2])), Part(lathe(slope[2:]))])
    return Model("cone", sized([own, Part(lathe(slope[1:3]), "contrast")], 0.13, weight_at=0.25))


def _ring() -> Model:
    angle = np.linspace(0.0, 2 * np.pi, 17)
    tube = [(0.05 + 0.016 * float(np.cos(a)), 0.016 * float(np.sin(a))) for a in angle]
    return Model("ring", sized([Part(lathe(tube))], 0.132))


@cache
def catalogue(data: Path) -> dict[str, Model]:
    """Every kind by its name.

    Args:
        data: the folder of `pybullet_data`, from which the mug, the duck, the bear and the brick come.
    """
    made: tuple[Callable[[], Model], ...] = (
        _ball, _domino, _cube, _can, _plate, _book, _bottle, _bowl, _cone, _ring,
    )  # fmt: skip
    models = [
        _mug(data / "objects"),
        _from_file("duck", data / "duck.obj", 0.12, y_up=True),
        _from_file("teddy bear", data / "teddy2_VHACD_CHs.obj", 0.15, y_up=True),
        _from_file("brick", data / "lego" / "lego.obj", 0.1, y_up=True),
        *(make() for make in made),
    ]
    return {model.kind: model for model in models}
