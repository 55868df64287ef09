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
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.stop_signals import STOPPING, cleaning_up_after_sigterm, leave_once, signals_waiting
from lisa_ros.simulation.scene import Camera, SceneObject, View
from lisa_ros.tabletop.view_sources import OWN_TABLE, ViewSource

DEFAULT_CACHE = Path(".cache/tabletop")
"""Where views are kept by default, one folder per split; git ignores it."""

SPLITS: dict[str, int] = {
    "train": 1_000_000,
    "validation": 2_000_000,
    "test": 3_000_000,
    "randomized": 4_000_000,
    "second": 5_000_000,
    "far": 6_000_000,
    "calibration": 7_000_000,
    "framed": 8_000_000,
    "distant": 9_100_000,
}
"""First seed of each split; shard i of a split has the seed that is i higher, so no split ever meets another."""

RESERVED_PAIRS: frozenset[tuple[str, str]] = frozenset(
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
"""(kind, colour) pairs that test views show and training views do not: one of each kind, none of it new by itself.

`lisa train --all-combinations` shows them, too, as in the last round of the embedded model."""

SHARD_VIEWS = 64


@dataclass(frozen=True)
class _Shape:
    views: int
    height: int
    width: int
    avoid: frozenset[tuple[str, str]] = frozenset()
    source: ViewSource = OWN_TABLE


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
    source: ViewSource = OWN_TABLE,
) -> None:
    """Fill a folder with at least `count` views, rounded up to whole shards; what is there already is kept.

    Args:
        first_seed: seed of the first shard, such as `SPLITS["train"]`.
        count: number of views wanted.
        width: of the images, pixels.
        height: of the images, pixels.
        cache: the folder of this split; made if missing.
        workers: number of processes.
        shard_views: number of views in a shard; the views of a seed do not depend on it, where a shard ends does.
        avoid: (kind, colour) pairs that no view shows, such as `RESERVED_PAIRS` in training.
        source: how the views are made; where it has sizes of its own, width and height are not used.

    Raises:
        ValueError: for a count, shard or number of workers below 1, or when the folder has shards of another size.
        SystemExit: after SIGTERM, with 143. No process is left, nor a shard or another file in the making.
    """
    if min(count, workers, shard_views) < 1:
        raise LisaError(f"Views, workers and shard must be 1 or more, not {count}, {workers} and {shard_views}.")
    cache.mkdir(parents=True, exist_ok=True)
    shape = _Shape(shard_views, height, width, avoid, source)
    paths = {seed: _shard_path(cache, seed) for seed in range(first_seed, first_seed - (-count // shard_views))}
    for path in filter(Path.exists, paths.values()):
        _check_shape(path, shape)
    missing = [seed for seed, path in paths.items() if not path.exists()]
    with cleaning_up_after_sigterm("rendering stopped; the same command resumes"):
        _render_shards(missing, len(paths), cache, shape, workers)


def _render_shards(missing: Sequence[int], total: int, cache: Path, shape: _Shape, workers: int) -> None:
    done = (total - len(missing)) * shape.views
    progress = tqdm(total=total * shape.views, initial=done, unit="view", desc=f"rendering {cache.name}")
    if not missing:
        progress.close()
        return
    # spawn: a forked child would share the simulator's and torch's threads. Ctrl-C is for the parent alone, which
    # ends the pool when it leaves the with block; a shard in the making is then lost, never half written.
    resource_tracker.ensure_running()  # its start would end the waiting
    with progress, ExitStack() as stack:
        with signals_waiting():  # also in the new processes, which else print a traceback while they start
            pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers, _prepare_process))
        for _ in pool.imap_unordered(partial(_render_shard, cache=cache, shape=shape), missing):
            progress.update(shape.views)


def _prepare_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # As an exception, so that the files in the making are deleted; once, since the parent's SIGTERM may follow another.
    signal.signal(signal.SIGTERM, leave_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def _render_shard(seed: int, cache: Path, shape: _Shape) -> None:
    size = shape.source.size(seed, shape.width, shape.height)
    views = list(shape.source.views(seed, shape.views, size, shape.avoid))
    facts = {
        "seed": seed,
        "objects": [[asdict(item) for item in view.objects] for view in views],
        "cameras": [{"k": view.camera.k.tolist(), "pose": view.camera.pose.tolist()} for view in views],
        "distractors": [view.has_distractors for view in views],
    }
    _write_shard(
        _shard_path(cache, seed),
        size=np.array([shape.views, *views[0].instances.shape]),
        source=np.array(shape.source.name),
        avoid=np.array(json.dumps(sorted(shape.avoid))),
        facts=np.array(json.dumps(facts)),
        rgb=np.stack([view.rgb for view in views]),
        instances=np.stack([view.instances for view in views]),
    )


def _write_shard(path: Path, **arrays: NDArray[Any]) -> None:
    """Write under another name first, so that a file with the right name is always whole."""
    # numpy leaves its archive open after an exception, and Python then prints a traceback.
    with signals_waiting(), NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".part", delete=False) as file:
        part = Path(file.name)
        try:
            np.savez_compressed(file, **arrays)
            file.flush()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _shard_path(cache: Path, seed: int) -> Path:
    return cache / f"shard_{seed:08d}.npz"


@dataclass(frozen=True)
class _Stored:
    """The description in a shard."""

    views: int
    height: int
    width: int
    avoid: frozenset[tuple[str, str]]
    source: str


def _stored(path: Path) -> _Stored:
    """What a shard holds, without decompressing its images."""
    with np.load(path) as shard:
        avoid = json.loads(shard["avoid"].item()) if "avoid" in shard else []
        views, height, width = (int(value) for value in shard["size"])
        source = str(shard["source"].item()) if "source" in shard else OWN_TABLE.name
        return _Stored(views, height, width, frozenset((kind, colour) for kind, colour in avoid), source)


def _check_shape(path: Path, wanted: _Shape) -> None:
    found = _stored(path)
    same_size = wanted.source.sizes or (found.height, found.width) == (wanted.height, wanted.width)
    if (found.views, found.avoid, found.source) != (wanted.views, wanted.avoid, wanted.source.name) or not same_size:
        raise LisaError(
            f"{path} has {found.views} views of {found.width}x{found.height} pixels from source {found.source}, not "
            f"{wanted.views} of {wanted.width}x{wanted.height} from {wanted.source.name}, or avoids other pairs of "
            "kind and colour; use another folder or delete this one."
        )


class ViewCache:
    """Rendered views, all in memory. Shards may differ in the size of their images."""

    def __init__(self, cache: Path, limit: int | None = None) -> None:
        """Read the views of a folder, in the order of their seeds.

        Args:
            cache: a folder that `render_views` filled.
            limit: read no more than this many views; None reads all.

        Raises:
            FileNotFoundError: when the folder has no views.
        """
        paths = sorted(cache.glob("shard_*.npz"))
        if not paths:
            raise FileNotFoundError(f"{cache} has no rendered views (shard_*.npz); make some with render_views first.")
        self._views: list[View] = []
        for path in paths:
            if limit is None or len(self._views) < limit:
                self._views += _read_shard(path)[: None if limit is None else limit - len(self._views)]

    def __len__(self) -> int:
        """Number of views."""
        return len(self._views)

    def __getitem__(self, index: int) -> View:
        """One view. Its image shares the cache's memory; its depth was not kept and is inf everywhere."""
        return self._views[index]


def _read_shard(path: Path) -> list[View]:
    with np.load(path) as shard:
        images, instances, facts = shard["rgb"], shard["instances"], json.loads(shard["facts"].item())
    depth = np.broadcast_to(np.float32(np.inf), instances.shape[1:])
    distractors = facts.get("distractors", [False] * len(images))
    return [
        View(image, depth, seen, tuple(_scene_object(one) for one in objects), _camera(seen.shape, **camera), others)
        for image, seen, objects, camera, others in zip(
            images, instances, facts["objects"], facts["cameras"], distractors, strict=True
        )
    ]


def _camera(shape: tuple[int, ...], k: list[list[float]], pose: list[list[float]]) -> Camera:
    height, width = shape
    return Camera(width, height, np.asarray(k, dtype=np.float64), np.asarray(pose, dtype=np.float64))


def _scene_object(facts: dict[str, Any]) -> SceneObject:
    return SceneObject(
        facts["instance"], facts["kind"], facts["colour"], tuple(facts["extent_m"]), tuple(facts["position_m"])
    )
