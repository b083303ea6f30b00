"""A bar chart of rewards as SVG: small enough to write by hand, and drawn by every browser."""

import base64
from collections.abc import Sequence
from xml.sax.saxutils import escape

from flows.result import RolloutRow

_ROW, _LABEL, _BAR = 18, 240, 400
_SOLVED, _PARTIAL, _UNSCORED = "#2e9e5b", "#d9a441", "#8a8f98"


def rewards(rows: Sequence[RolloutRow]) -> str:
    """One bar for each instance, as long as its mean reward; `no score` where it has none."""
    by_instance: dict[str, list[float]] = {}
    for row in rows:
        scored = by_instance.setdefault(row.instance, [])
        if row.reward is not None:
            scored.append(row.reward)
    height = _ROW * len(by_instance) + 10
    bars = "".join(_bar(index, name, scored) for index, (name, scored) in enumerate(by_instance.items()))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABEL + _BAR + 60}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>{bars}</svg>'
    )


def data_uri(svg: str) -> str:
    """The picture as an address that needs no server."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _bar(index: int, name: str, scored: list[float]) -> str:
    y = 5 + index * _ROW
    mean = sum(scored) / len(scored) if scored else None
    text = "no score" if mean is None else f"{mean:.2f}"
    color = _UNSCORED if mean is None else _SOLVED if mean == 1 else _PARTIAL
    width = round(_BAR * (mean or 0))
    return (
        f'<text x="{_LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{_LABEL}" y="{y + 2}" width="{width}" height="{_ROW - 4}" fill="{color}"/>'
        f'<text x="{_LABEL + width + 6}" y="{y + 13}" fill="{color}">{text}</text>'
    )
