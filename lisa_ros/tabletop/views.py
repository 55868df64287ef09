# SPDX-License-Identifier: Apache-2.0
"""Views of the simulated table for training: rendered once, kept in shards, read back into memory.

A shard is a compressed .npz of `SHARD_VIEWS` views that depends on its seed alone, so the number of workers changes
nothing, and an interrupted rendering goes on with the shards that are missing. Shards do not know which version of the
simulation made them: after a change there, delete the folder.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lisa_ros.simulation.scene import Camera, SceneObject, View

DEFAULT_CACHE = Path(".cache/tabletop")
"""Where views are kept unless told otherwise, one folder per split; git ignores it."""

SPLITS: dict[str, int] = {"train": 1_000_000, "validation": 2_000_000, "test": 3_000_000}
"""First seed of each split; shard i of a split has the seed that is i higher, so no split ever meets another."""

UNSEEN_PAIRS: frozenset[tuple[str, str]] = frozenset(
    {
        ("mug", "purple"),
        ("duck", "white"),
        ("teddy bear", "red"),
        ("ball", "green"),
        ("brick", "black"),
        ("domino", "orange"),
        ("cube", "yellow"),
        ("can", "purple"),
        ("plate", "blue"),
        ("book", "green"),
        ("bottle", "white"),
        ("bowl", "orange"),
        ("cone", "blue"),
        ("ring", "yellow"),
    }
)
"""(kind, colour) pairs that training views never show and test views do: one of each kind, none of it new by itself."""

SHARD_VIEWS = 64
VIEWS_PER_ARRANGEMENT = 3
"""How many pictures are taken of one arrangement, each in other colours and from another side."""


@dataclass(frozen=True)
class _Shape:
    views: int
    height: int
    width: int
    avoid: frozenset[tuple[str, str]] = frozenset()


def render_views(
    first_seed: int,
    count: int,
    *,
    width: int = 320,
    height: int = 240,
    cache: Path,
    workers: int = 1,
    shard_views: int = SHARD_VIEWS,
    avoid: frozenset[tuple[str, str]] = frozenset(),
) -> None:
    """Fill a folder with at least `count` views, rounded up to whole shards; what is there already is kept.

    Args:
        first_seed: seed of the first shard, such as `SPLITS["train"]`.
        count: number of views wanted.
        width: of the pictures, pixels.
        height: of the pictures, pixels.
        cache: the folder of this split; made if missing.
        workers: number of processes.
        shard_views: number of views in a shard; the views of a seed do not depend on it, where a shard ends does.
        avoid: (kind, colour) pairs that no view shows, such as `UNSEEN_PAIRS` in training.

    Raises:
        ValueError: for a count, shard or number of workers below 1, or when the folder has shards of another size.
    """
    if min(count, workers, shard_views) < 1:
        raise ValueError(f"Views, workers and shard must be 1 or more, not {count}, {workers} and {shard_views}.")
    cache.mkdir(parents=True, exist_ok=True)
    shape = _Shape(shard_views, height, width, avoid)
    paths = {seed: _shard_path(cache, seed) for seed in range(first_seed, first_seed - (-count // shard_views))}
    for path in filter(Path.exists, paths.values()):
        _check_shape(path, shape)
    missing = [seed for seed, path in paths.items() if not path.exists()]
    _render_shards(missing, len(paths), cache, shape, workers)


def _render_shards(missing: Sequence[int], total: int, cache: Path, shape: _Shape, workers: int) -> None:
    done = (total - len(missing)) * shape.views
    progress = tqdm(total=total * shape.views, initial=done, unit="view", desc=f"rendering {cache.name}")
    if not missing:
        progress.close()
        return
    # spawn: a forked child would share the simulator's and torch's threads. Ctrl-C is for the parent alone, which
    # ends the pool when it leaves the with block; a shard in the making is then lost, never half written.
    pool = multiprocessing.get_context("spawn").Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    with progress, pool:
        for _ in pool.imap_unordered(partial(_render_shard, cache=cache, shape=shape), missing):
            progress.update(shape.views)


def _render_shard(seed: int, cache: Path, shape: _Shape) -> None:
    views = list(_shard_views(seed, shape))
    facts = {
        "seed": seed,
        "objects": [[asdict(thing) for thing in view.objects] for view in views],
        "cameras": [{"k": view.camera.k.tolist(), "pose": view.camera.pose.tolist()} for view in views],
    }
    _write_shard(
        _shard_path(cache, seed),
        size=np.array([shape.views, shape.height, shape.width]),
        avoid=np.array(json.dumps(sorted(shape.avoid))),
        facts=np.array(json.dumps(facts)),
        rgb=np.stack([view.rgb for view in views]),
        instances=np.stack([view.instances for view in views]),
    )


def _shard_views(seed: int, shape: _Shape) -> Iterator[View]:
    from lisa_ros.simulation.tabletop import Tabletop  # only those who render need the simulator

    with Tabletop(seed, width=shape.width, height=shape.height, avoid=shape.avoid) as table:
        for index in range(shape.views):
            if index % VIEWS_PER_ARRANGEMENT == 0:
                table.rearrange()
            else:
                table.recolour()
            table.move_camera()
            yield table.render()


def _write_shard(path: Path, **arrays: NDArray[Any]) -> None:
    """Write under another name first, so that a file with the right name is always whole."""
    with NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".part", delete=False) as file:
        part = Path(file.name)
        try:
            np.savez_compressed(file, **arrays)
            file.flush()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _shard_path(cache: Path, seed: int) -> Path:
    return cache / f"shard_{seed:08d}.npz"


def _shape(path: Path) -> _Shape:
    """What a shard holds, without unpacking its pictures."""
    with np.load(path) as shard:
        avoid = json.loads(shard["avoid"].item()) if "avoid" in shard else []
        views, height, width = (int(value) for value in shard["size"])
        return _Shape(views, height, width, frozenset((kind, colour) for kind, colour in avoid))


def _check_shape(path: Path, wanted: _Shape) -> None:
    found = _shape(path)
    if found != wanted:
        raise ValueError(
            f"{path} has {found.views} views of {found.width}x{found.height} pixels, "
            f"not {wanted.views} of {wanted.width}x{wanted.height}, or avoids other pairs of kind and colour; "
            "use another folder or delete this one."
        )


class ViewCache:
    """Rendered views, all in memory.

    Attributes:
        rgb: (N, H, W, 3) uint8.
        instances: (N, H, W) uint8.
    """

    def __init__(self, cache: Path, limit: int | None = None) -> None:
        """Read the views of a folder, in the order of their seeds.

        Args:
            cache: a folder that `render_views` filled.
            limit: read no more than this many views; None reads all.

        Raises:
            FileNotFoundError: when the folder has no views.
            ValueError: when its views differ in size.
        """
        paths = sorted(cache.glob("shard_*.npz"))
        if not paths:
            raise FileNotFoundError(f"{cache} has no rendered views (shard_*.npz); make some with render_views first.")
        shapes = [_shape(path) for path in paths]
        if len({(shape.height, shape.width) for shape in shapes}) != 1:
            raise ValueError(f"{cache} mixes views of several sizes; delete it and render again.")
        total = sum(shape.views for shape in shapes)
        count = total if limit is None else min(limit, total)
        height, width = shapes[0].height, shapes[0].width
        self.rgb = np.empty((count, height, width, 3), dtype=np.uint8)
        self.instances = np.empty((count, height, width), dtype=np.uint8)
        self._objects: list[tuple[SceneObject, ...]] = []
        self._cameras: list[Camera] = []
        for path in paths:
            if len(self._objects) < count:
                self._read(path)

    def _read(self, path: Path) -> None:
        start = len(self._objects)
        room = len(self.rgb) - start
        with np.load(path) as shard:
            pictures, instances, facts = (
                shard["rgb"][:room],
                shard["instances"][:room],
                json.loads(shard["facts"].item()),
            )
        self.rgb[start : start + len(pictures)] = pictures
        self.instances[start : start + len(pictures)] = instances
        self._objects += [tuple(_scene_object(thing) for thing in things) for things in facts["objects"][:room]]
        self._cameras += [self._camera(**camera) for camera in facts["cameras"][:room]]

    def _camera(self, k: list[list[float]], pose: list[list[float]]) -> Camera:
        height, width = self.rgb.shape[1:3]
        return Camera(width, height, np.asarray(k, dtype=np.float64), np.asarray(pose, dtype=np.float64))

    def __len__(self) -> int:
        """Number of views."""
        return len(self.rgb)

    def __getitem__(self, index: int) -> View:
        """One view. Its pictures share the cache's memory; its depth was not kept and is inf everywhere."""
        depth = np.broadcast_to(np.float32(np.inf), self.instances.shape[1:])
        return View(self.rgb[index], depth, self.instances[index], self._objects[index], self._cameras[index])


def _scene_object(facts: dict[str, Any]) -> SceneObject:
    return SceneObject(
        facts["instance"], facts["kind"], facts["colour"], tuple(facts["extent_m"]), tuple(facts["position_m"])
    )
