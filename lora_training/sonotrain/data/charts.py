"""Small charts as SVG text and the page around them: nothing is loaded, light and dark follow the system."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT = 420, 130
_LEFT, _BOTTOM = 4, 18

_LIGHT = (
    "--ground: #f4f2ee; --panel: #fffefb; --line: #e0dcd3; --ink: #1e1b29; --quiet: #676272; "
    "--paint: #0a7d72; --soft: #dcefec; --bad: #b3381f; color-scheme: light;"
)
_DARK = (
    "--ground: #121118; --panel: #1a1922; --line: #302e3b; --ink: #eceaf3; --quiet: #a09cae; "
    "--paint: #3ad6c0; --soft: #173532; --bad: #ff8d72; color-scheme: dark;"
)
# As the system says, unless whoever shows the page says otherwise in <html data-theme="…">.
STYLE = (
    f"""
:root {{ {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
:root[data-theme=light] {{ {_LIGHT} }}
:root[data-theme=dark] {{ {_DARK} }}
"""
    + """
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.45;
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 2px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 34px 0 10px; }
p, li { color: var(--quiet); margin: 4px 0; max-width: 80ch; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0; padding: 0; list-style: none; }
.facts li { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 8px 14px;
  min-width: 108px; margin: 0; }
.facts b { display: block; font-size: 21px; color: var(--ink); font-variant-numeric: tabular-nums; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 14px; }
figure { margin: 0; background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  padding: 10px 12px; }
figcaption { font-size: 13px; font-weight: 600; margin-bottom: 6px; }
svg { display: block; width: 100%; height: auto; }
svg rect { fill: var(--paint); } svg .back { fill: var(--soft); }
svg text { fill: var(--quiet); font-size: 11px; } svg line { stroke: var(--line); }
svg text.name { fill: var(--ink); }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 12px; }
.clips figure { padding: 8px; }
.clips img { width: 100%; height: 84px; display: block; border-radius: 4px; background: #000; }
.clips figcaption { font-weight: 400; font-size: 13px; margin: 6px 0 2px; overflow-wrap: anywhere; }
.clips small { color: var(--quiet); font-size: 11.5px; overflow-wrap: anywhere; }
audio { width: 100%; height: 30px; margin-top: 4px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; background: var(--panel);
  border: 1px solid var(--line); }
th, td { text-align: left; padding: 5px 10px; border-top: 1px solid var(--line); overflow-wrap: anywhere;
  vertical-align: top; }
th { color: var(--quiet); font-weight: 500; border-top: 0; }
details { margin: 8px 0; } summary { cursor: pointer; padding: 4px 0; }
.notes { border-left: 3px solid var(--bad); padding: 2px 14px; margin: 16px 0; }
.notes p { color: var(--ink); }
"""
)


def page(title: str, body: str) -> str:
    """A whole HTML document that needs nothing but itself (and the sounds beside it, to play them)."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def histogram(title: str, values: Sequence[float], unit: str, *, bins: int = 24) -> str:
    """How often values occur: a figure with bars; the axis says the smallest and the largest."""
    if not values:
        return ""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    counts, _ = np.histogram(values, bins=bins, range=(low, high))
    width, top = (WIDTH - 2 * _LEFT) / bins, HEIGHT - _BOTTOM
    edges = np.linspace(low, high, bins + 1)
    bars = "".join(
        f'<rect x="{_LEFT + index * width:.1f}" y="{top - top * count / counts.max():.1f}" '
        f'width="{width - 1.5:.1f}" height="{top * count / counts.max():.1f}" rx="1">'
        f"<title>{edges[index]:.3g} to {edges[index + 1]:.3g} {html.escape(unit)}: {count}</title></rect>"
        for index, count in enumerate(counts)
        if count
    )
    middle = float(np.median(values))
    marks = "".join(
        f'<text x="{x}" y="{HEIGHT - 4}" text-anchor="{anchor}">{text}</text>'
        for x, anchor, text in (
            (_LEFT, "start", f"{min(values):.3g}"),
            (WIDTH / 2, "middle", f"median {middle:.3g} {html.escape(unit)}"),
            (WIDTH - _LEFT, "end", f"{max(values):.3g}"),
        )
    )
    axis = f'<line x1="{_LEFT}" y1="{top}" x2="{WIDTH - _LEFT}" y2="{top}"/>'
    return _figure(title, f"{bars}{axis}{marks}", HEIGHT)


def bars(title: str, counts: Sequence[tuple[str, int]]) -> str:
    """A figure with one bar for each name, its count at the end."""
    if not counts:
        return ""
    most, row = max(count for _, count in counts), 18
    parts = []
    for index, (name, count) in enumerate(counts):
        y, length = index * row, (WIDTH - 190) * count / most
        parts.append(
            f'<text class="name" x="128" y="{y + 13}" text-anchor="end">{html.escape(_cut(name))}</text>'
            f'<rect x="136" y="{y + 3}" width="{length:.1f}" height="{row - 6}" rx="2"/>'
            f'<text x="{142 + length:.1f}" y="{y + 13}">{count}</text>'
        )
    return _figure(title, "".join(parts), row * len(counts) + 4)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table of plain text."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _figure(title: str, content: str, height: int) -> str:
    name = html.escape(title)
    return (
        f"<figure><figcaption>{name}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">{content}</svg></figure>'
    )


def _cut(name: str) -> str:
    return name if len(name) <= 20 else name[:19] + "…"
