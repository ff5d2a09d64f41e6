"""Sheets of level pictures as PNG, for previews."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def save_sheet(rows: Sequence[Tensor], path: Path, gap: int = 4) -> None:
    """Rows of level pictures (each [N, H, W] in 0 … 1, row 0 = lowest frequency) as one grey PNG."""
    from PIL import Image

    lines = []
    for row in rows:
        framed = torch.nn.functional.pad(row.float().cpu().flip(-2), (0, gap, 0, gap), value=0.5)
        lines.append(torch.cat(list(framed), dim=-1))
    sheet = torch.cat(lines, dim=0).mul(255).round().clamp(0, 255)
    part = path.with_name(path.name + ".part")
    Image.fromarray(sheet.numpy().astype(np.uint8)).save(part, format="PNG")
    part.replace(path)
