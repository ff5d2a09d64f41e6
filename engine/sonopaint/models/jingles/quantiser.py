"""A small vector quantiser: each row of Mini's latents (4 numbers) is one of a few codes (k-means)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CHANNELS = 4  # of Mini's latents


@dataclass(frozen=True)
class Quantiser:
    """`books` float [rows, classes, 4]: of each row the codes' latents."""

    books: Tensor

    @property
    def rows(self) -> int:
        return self.books.shape[0]

    @property
    def classes(self) -> int:
        return self.books.shape[1]

    def encode(self, latents: Tensor) -> Tensor:
        """[B, 4 · rows, T] → the nearest codes, int64 [B, rows, T]."""
        points = _points(latents, self.rows)  # [rows, B · T, 4]
        codes = torch.cdist(points, self.books.to(points)).argmin(-1)
        return codes.reshape(self.rows, len(latents), -1).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """int64 [B, rows, T] → [B, 4 · rows, T]."""
        rows = torch.arange(self.rows, device=codes.device)[:, None]
        return self.books.to(codes.device)[rows, codes].permute(0, 3, 1, 2).flatten(1, 2)


def fit(latents: Tensor, classes: int, seed: int = 0, rounds: int = 20, most: int = 20_000) -> Quantiser:
    """Lloyd's algorithm for each row of latents [N, 4 · rows, T], from points chosen by `seed`."""
    rows = latents.shape[1] // CHANNELS
    points = _points(latents.float(), rows)
    generator = torch.Generator().manual_seed(seed)
    points = points[:, torch.randperm(points.shape[1], generator=generator)[:most]]
    books = points[:, :classes].clone()
    if books.shape[1] < classes:
        raise ValueError(f"{points.shape[1]} points are too few for {classes} classes")
    for _ in range(rounds):
        nearest = torch.cdist(points, books).argmin(-1)  # [rows, points]
        wide = nearest[..., None].expand_as(points)
        total = torch.zeros_like(books).scatter_add_(1, wide, points)
        count = torch.zeros(books.shape[:2]).scatter_add_(1, nearest, torch.ones(nearest.shape))
        books = torch.where(count[..., None] > 0, total / count[..., None].clamp_min(1), books)
    return Quantiser(books)


def _points(latents: Tensor, rows: int) -> Tensor:
    """[B, 4 · rows, T] → [rows, B · T, 4]; channels come first in the latents."""
    return latents.unflatten(1, (CHANNELS, rows)).permute(2, 0, 3, 1).flatten(1, 2)
