# SPDX-License-Identifier: Apache-2.0
"""LIRA's released pieces on the disk: found and opened; their tensors by piece and name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.weights.files import WeightFiles, load_pickle, open_safetensors
from lisa_ros.models.common.weights.layout import Shape
from lisa_ros.models.lira.keys import CLASSES, Released

LIRA_FILES, OMG_FILE = "model_weight/LIRA-*.pth", "omg_seg_convl.pth"
CLASSES_FILE = "convnext_large_d_320_CocoPanopticOVDataset.pth"
TRUNK_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""OpenCLIP's convnext_large_d_320 (laion2b_s29b_b131k_ft_soup), for an OMG-Seg without its backbone."""

_TRUNK = re.compile(r"visual\.trunk\.(?:(stem\..+)|stages\.(\d)\.(.+))")


@dataclass(frozen=True)
class Pieces:
    """The paths of the pieces.

    Attributes:
        lira: the file of trained parts.
        internvl: the folder of InternVL2.
        omg, classes: OMG-Seg's file, and that of its class names.
        trunk: OpenCLIP's file, if there is one.
        sizes: a file with sizes that cannot be read from the weights; no released piece has one.
    """

    lira: Path
    internvl: Path
    omg: Path
    classes: Path
    trunk: Path | None
    sizes: Path | None

    @property
    def files(self) -> list[Path]:
        """All that a conversion reads."""
        names = ("config.json", "tokenizer.model", "tokenizer_config.json", "added_tokens.json")
        small = [self.internvl / name for name in names]
        found = [self.lira, self.omg, self.classes, self.trunk, self.sizes, *WeightFiles(self.internvl).files, *small]
        return [file for file in found if file is not None and file.is_file()]


def holds_lira(source: Path) -> bool:
    """Whether a folder, or a file in it, belongs to LIRA's released pieces; OMG-Seg alone identifies a folder."""
    return bool(_lira_files(source)) or any((folder / OMG_FILE).is_file() for folder in _omg_folders(source))


def _lira_files(source: Path) -> list[Path]:
    # The name "LIRA-2B.pth" is not enough; its folder counts. Links are not followed: cached files have other names.
    source = source.absolute()
    if source.is_file():
        return [source] if source.match(LIRA_FILES) else []
    return sorted(source.glob(LIRA_FILES))


def _omg_folders(root: Path) -> list[Path]:
    return [root / "omg_llava", root / "pretrained" / "omg_llava"]


def find_pieces(source: Path) -> Pieces:
    """The pieces below a folder.

    Args:
        source: the folder with model_weight/LIRA-*.pth, or that file if there are several. InternVL2-* and omg_llava
            lie in the folder, or in its folder `pretrained` as LIRA's repository has them.

    Raises:
        CheckpointError: a piece is missing, or there are several candidates.
    """
    lira = _only(_lira_files(source), LIRA_FILES, source)
    root = lira.parent.parent
    folders = [root, root / "pretrained"]
    named = [folder for parent in folders for folder in sorted(parent.glob("InternVL2-*")) if folder.is_dir()]
    size = lira.stem.removeprefix("LIRA-")
    fitting = [folder for folder in named if folder.name == f"InternVL2-{size}"]
    internvl = _only(fitting or named, f"InternVL2-{size}", root)
    omg = _only([folder / OMG_FILE for folder in _omg_folders(root) if (folder / OMG_FILE).is_file()], OMG_FILE, root)
    classes = _only([omg.with_name(CLASSES_FILE)] if omg.with_name(CLASSES_FILE).is_file() else [], CLASSES_FILE, root)
    trunk = next((omg.with_name(name) for name in TRUNK_FILES if omg.with_name(name).is_file()), None)
    sizes = root / "config.json"
    return Pieces(lira, internvl, omg, classes, trunk, sizes if sizes.is_file() else None)


def _only(found: list[Path], wanted: str, root: Path) -> Path:
    if not found:
        raise CheckpointError(
            f"{root} lacks {wanted}, a piece that LIRA consists of (docs/lira.md says where it is from)"
        )
    if len(found) > 1:
        names = ", ".join(str(path) for path in found)
        raise CheckpointError(f"{root} has several of {wanted}: {names}; name the LIRA-*.pth to use")
    return found[0]


class ReleasedTensors:
    """The tensors of all pieces; their bytes are read when they are used."""

    def __init__(self, pieces: Pieces) -> None:
        """Opens the pieces.

        Raises:
            CheckpointError: a file is damaged, not safe to read, or does not hold what it should.
        """
        self._plain: dict[Released, torch.Tensor] = {}
        self._mapped: dict[Released, Any] = {}
        self._add("lira", _state(pieces.lira))
        self._add("omg", _with_trunk(_state(pieces.omg), pieces.trunk))
        self._add(CLASSES[0], {CLASSES[1]: _class_embeddings(pieces.classes)})
        for file in WeightFiles(pieces.internvl).files:
            if file.suffix == ".safetensors":
                opened = open_safetensors(file)
                self._mapped |= {("internvl", key): opened for key in opened.keys()}  # noqa: SIM118 (not a mapping)
            else:
                self._add("internvl", _state(file))

    def _add(self, piece: str, tensors: Mapping[str, torch.Tensor]) -> None:
        self._plain |= {(piece, name): tensor for name, tensor in tensors.items()}

    def names(self) -> list[Released]:
        """All that there are."""
        return [*self._plain, *self._mapped]

    def __contains__(self, released: Released) -> bool:
        return released in self._plain or released in self._mapped

    def __getitem__(self, released: Released) -> torch.Tensor:
        if released in self._plain:
            return self._plain[released]
        tensor: torch.Tensor = self._mapped[released].get_tensor(released[1])
        return tensor

    def shape(self, piece: str, name: str) -> Shape:
        """A tensor's shape.

        Raises:
            CheckpointError: there is none of the name.
        """
        if (piece, name) not in self:
            raise CheckpointError(f"the released pieces have no {name} (in {piece}), which a size of LIRA is read from")
        return tuple(self[piece, name].shape)

    def count(self, piece: str, pattern: str) -> int:
        """One more than the largest number that the pattern finds in a piece's names; 0 if it finds none."""
        matches = (re.match(pattern, name) for its_piece, name in self.names() if its_piece == piece)
        return max((int(match[1]) + 1 for match in matches if match), default=0)


def _state(file: Path) -> dict[str, torch.Tensor]:
    """A file's tensors by name; some wrap them once more."""
    held = load_pickle(file)
    for wrapper in ("state_dict", "module"):
        held = held.get(wrapper, held) if isinstance(held, dict) else held
    if not isinstance(held, dict) or not all(isinstance(one, torch.Tensor) for one in held.values()):
        raise CheckpointError(f"{file} does not hold tensors by name")
    return held


def _class_embeddings(file: Path) -> torch.Tensor:
    held = load_pickle(file)
    if not isinstance(held, torch.Tensor) or held.dim() != 3:
        raise CheckpointError(f"{file} is not one tensor of classes, prototypes and numbers")
    return held


def _with_trunk(omg: dict[str, torch.Tensor], file: Path | None) -> dict[str, torch.Tensor]:
    """OMG-Seg's tensors, with OpenCLIP's trunk if the file has none: the trunk was not trained."""
    if file is None or any(name.startswith("backbone.") for name in omg):
        return omg
    if file.suffix == ".safetensors":
        opened = open_safetensors(file)
        found = {name: opened.get_tensor(name) for name in opened.keys() if _TRUNK.match(name)}  # noqa: SIM118
    else:
        found = _state(file)
    matches = ((_TRUNK.fullmatch(name), tensor) for name, tensor in found.items())
    trunk = {f"backbone.{_trunk_name(match)}": tensor for match, tensor in matches if match}
    return omg | trunk


def _trunk_name(match: re.Match[str]) -> str:
    return match[1] or f"layer{int(match[2]) + 1}.{match[3]}"
