# SPDX-License-Identifier: Apache-2.0
"""MR-RefCOCO (SegLLM, arXiv 2410.18923): dialogues whose later rounds refer to the masks of earlier ones.

A folder as SegLLM lays it out: conversations_folder/all_data_mix_val/mr_refcoco_val.json (mr_refcoco+_val.json,
mr_refcocog_val.json), annotations_folder/refcoco/instances.json, images_folder/coco/train2014. A dialogue is
`{"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "[MASK-DECODE:...]"}, ...]}`. The
human's turns contain placeholders for a model's further inputs: `[IMAGE256:file]`, and `[MASK-ENCODE:file|set|id]` and
`[BOX-ENCODE:...]` for the mask of an earlier round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lisa_ros.datasets.files import first_file, first_folder, read_json_file
from lisa_ros.datasets.instances import Instances
from lisa_ros.datasets.samples import DataError, Round, Sample, Truth, shown

_PLACEHOLDER = re.compile(r"\[(IMAGE256|MASK-ENCODE|BOX-ENCODE|MASK-DECODE):([^\]]*)\]")

# Sets whose masks are annotations of an instances.json.
_COCO_SETS = ("refcoco", "refcoco+", "refcocog")

Lookup = Callable[[str], Instances]
"""A set's name -> its annotations."""


@dataclass(frozen=True)
class Target:
    """The mask that a placeholder names: the image's file, the set and the annotation's number in it."""

    image: str
    dataset: str
    number: str


def conversation_file(folder: Path, split: str) -> Path:
    """The file of a split: "val" (RefCOCO's), "refcoco+_val", "refcocog_val" ..., or a file's own name.

    Raises:
        DataError: there is none.
    """
    names = [f"mr_{split}.json", f"mr_refcoco_{split}.json", f"{split}.json"]
    homes = [folder / "conversations_folder", folder]
    folders = [*(home / mix for home in homes for mix in ("all_data_mix_val", "all_data_mix_train")), *homes]
    return first_file([home / name for name in names for home in folders], f"dialogues of split {split!r}")


def read_mr_refcoco(folder: Path, split: str = "val", images: Path | None = None) -> list[Sample]:
    """Reads a file of dialogues.

    Args:
        folder: SegLLM's data folder, see this module's text.
        split: see `conversation_file`.
        images: the folder that the images' file names are relative to; None: images_folder, or the folder itself.

    Returns:
        a sample for each dialogue, in order; a round for each mask that is asked for, with the placeholders removed
        from its text. `references` are the earlier rounds whose masks the text refers to, in the placeholders' order;
        their positions in the text are lost (SegLLM's code inserts its inputs there). Rounds without a mask to score
        (SegLLM's `<FAKE_MASK_OUT>`) are left out, and not counted, as in SegLLM's evaluation; a reference to the mask
        of such a round, for which SegLLM's code gives the true one, is left out, too.

    Raises:
        DataError: a file is missing or damaged.
    """
    file = conversation_file(folder, split)
    content = read_json_file(file)
    if not isinstance(content, list) or not content:
        raise DataError(f"{file} holds no list of dialogues")
    homes = [images] if images else [folder / "images_folder", folder]
    home = first_folder(homes, "folder of images (--images)")
    lookup = partial(_instances, {}, [folder / "annotations_folder", folder])
    return [_sample(i, entry, file, home, lookup) for i, entry in enumerate(content)]


def find_image(folder: Path, name: str) -> Path:
    """An image's file, by the name that a dialogue has for it, with SegLLM's corrections of such names.

    Where there is no such file, the most likely one is returned, for an error message to name.
    """
    name = name.replace("val2014", "train2014").replace("new_", "")
    if "VG_100K" in name:
        name = f"vg/{name}" if not name.startswith("vg/") else name
    fallback = name.replace("val2017", "train2017").replace("images/", "object365/")
    base = Path(name).name
    others = [folder / home / base for home in ("coco/train2014", "train2014", "images/mscoco/images/train2014", "")]
    for candidate in (folder / name, folder / fallback, *others):
        if candidate.is_file():
            return candidate
    return folder / name


def _instances(known: dict[str, Instances], homes: Sequence[Path], dataset: str) -> Instances:
    """Each set's annotations are read once, when first needed."""
    if dataset not in _COCO_SETS:
        raise DataError(f"masks of {dataset!r} cannot be looked up; those of {', '.join(_COCO_SETS)} can")
    if dataset not in known:
        candidates = [home / dataset / "instances.json" for home in homes]
        known[dataset] = Instances(first_file(candidates, f"annotations of {dataset}"))
    return known[dataset]


def _sample(index: int, entry: Any, file: Path, images: Path, lookup: Lookup) -> Sample:
    name = f"{index:06d}"
    try:
        rounds, image = _dialogue(entry, lookup)
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = str(error) if isinstance(error, DataError) else f"it is not in SegLLM's format: {shown(entry)}"
        return Sample(name, images, problem=f"{file}: dialogue {index}: {reason}")
    return Sample(name, find_image(images, image), rounds, dialogue=True)


def _dialogue(entry: Any, lookup: Lookup) -> tuple[tuple[Round, ...], str]:
    """(rounds, the image's name)."""
    turns = entry["conversations"]
    if len(turns) % 2 or not turns:
        raise DataError(f"it has {len(turns)} turns; human and gpt must alternate")
    rounds: list[Round] = []
    targets: list[Target] = []
    image = ""
    for human, model in zip(turns[::2], turns[1::2], strict=True):
        if (human["from"], model["from"]) != ("human", "gpt"):
            raise DataError("human and gpt do not alternate in it")
        image = image or _named_image(human["value"])
        decoded = [body for kind, body in _PLACEHOLDER.findall(model["value"]) if kind == "MASK-DECODE"]
        if not decoded:
            continue
        target = parse_target(decoded[0])
        references = _references(human["value"], targets)
        truth = partial(_truth, target, lookup)
        rounds.append(Round(_text(human["value"]), True, truth, references=references, is_command=True))
        targets.append(target)
    if not rounds:
        raise DataError("it asks for no mask")
    return tuple(rounds), image or targets[0].image


def parse_target(body: str) -> Target:
    """The content of a `[MASK-DECODE:...]`: `img|set|id`, or `task:ref[:ref2]:id:img:set`.

    Raises:
        DataError: it is neither.
    """
    if body.count(":") in (4, 5):
        *_, number, image, dataset = body.split(":")
        return Target(image, dataset, number)
    if body.count("|") == 2:
        return Target(*body.split("|"))
    raise DataError(f"[MASK-DECODE:{body}] is neither img|set|id nor task:ref:id:img:set")


def _named_image(value: str) -> str:
    return next((body for kind, body in _PLACEHOLDER.findall(value) if kind == "IMAGE256"), "")


def _text(value: str) -> str:
    """The human's text, without placeholders."""
    text = " ".join(_PLACEHOLDER.sub(" ", value).split())
    if not text:
        raise DataError("a round of it has no text")
    return re.sub(r" (?=[.,;:!?])", "", text)


def _references(value: str, targets: Sequence[Target]) -> tuple[int, ...]:
    """The rounds, counted from 1, whose masks the placeholders name, in the placeholders' order.

    Where two rounds asked for the same mask, the later one; none where no round did.
    """
    bodies = [body for kind, body in _PLACEHOLDER.findall(value) if kind in ("MASK-ENCODE", "BOX-ENCODE")]
    numbers = [body.split("|")[-1] for body in bodies]
    latest = {target.number: i for i, target in enumerate(targets, start=1)}
    return tuple(dict.fromkeys(latest[number] for number in numbers if number in latest))


def _truth(target: Target, lookup: Lookup) -> Truth:
    if target.dataset == "INFERENCE":
        raise DataError("this dialogue has no truth (its set is INFERENCE), so it cannot be scored")
    instances = lookup(target.dataset)
    try:
        number = int(target.number)
    except ValueError as error:
        raise DataError(f"{target.number!r} is not the number of an annotation of {target.dataset}") from error
    return instances.truth([number], instances.image_of(number).size)
