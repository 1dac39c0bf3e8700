"""Plots latency against the share of unchanged pixels.

python bench/plot.py out/bench/compare.json
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

COLUMNS = 4
# Colour-blind safe (Okabe and Ito); the dashes tell them apart in grey too.
STYLES = {
    "ONNX Runtime": ("#0072B2", "-"),
    "OpenVINO": ("#CC79A7", (0, (6, 2))),
    "ncnn": ("#009E73", (0, (3, 2))),
    "PyTorch": ("#999999", (0, (1, 1.5))),
}
OURS = "#D55E00"
LABELLED = (0.25, 0.1, 0.05, 0.01)  # shares whose speed-up is written beside the point


def milliseconds(value: float, _: int) -> str:
    """A tick label of an axis of milliseconds."""
    return f"{1e3 * value:g} µs" if value < 1 else f"{value:g} ms"


def draw_one(axes: Axes, name: str, result: dict[str, Any], spread: str) -> None:
    """One network or layer."""
    repeats = result["repeats"]
    dense = {runtime: ms / repeats for runtime, ms in result["dense_ms"].items()}
    best = min(dense.values())
    for runtime, ms in dense.items():
        color, dashes = STYLES[runtime]
        axes.axhline(ms, color=color, linestyle=dashes, linewidth=1.6, label=runtime)
    rows = result["rows"][spread]
    points = [
        (100 * (1 - row["input_changed"]), row["step_ms"] / repeats, row["active"])
        for row in rows
        if row["active"] > 0
    ]
    axes.plot(
        [x for x, _, _ in points], [ms for _, ms, _ in points],
        color=OURS, marker="o", markersize=4, linewidth=2, label="deltacnn", zorder=3,
    )  # fmt: skip
    for x, ms, active in points:
        if active in LABELLED:
            axes.annotate(
                f"{best / ms:.2g}x" if best / ms < 9.95 else f"{best / ms:.0f}x", (x, ms),
                xytext=(-5, -3), textcoords="offset points", ha="right", va="top",
                fontsize=8, color=OURS,
            )  # fmt: skip
    axes.set_yscale("log")
    lowest = min(ms for _, ms, _ in points)
    axes.set_ylim(lowest / 2.2, 1.5 * max(*dense.values(), *(ms for _, ms, _ in points)))
    axes.set_xlim(-3, 103)
    axes.set_title(name.replace("_", " "), fontsize=10, loc="left", fontweight="bold")
    still = [row["step_ms"] / repeats for row in rows if row["active"] == 0]
    if still:
        axes.text(
            0.03, 0.05, f"nothing changed: {1e3 * still[0]:.2g} µs",
            transform=axes.transAxes, fontsize=8, color=OURS,
        )  # fmt: skip
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(milliseconds))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=8)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw_all(results: dict[str, Any], spread: str, title: str, path: Path) -> None:
    """Small multiples."""
    lines = math.ceil(len(results) / COLUMNS)
    columns = min(COLUMNS, len(results))
    figure, grid = plt.subplots(
        lines, columns, figsize=(3.4 * columns + 0.4, 2.7 * lines + 0.9), squeeze=False
    )
    cells = list(grid.flat)
    for axes, (name, result) in zip(cells, results.items(), strict=False):
        draw_one(axes, name, result, spread)
    for axes in cells[len(results) :]:
        axes.set_visible(False)
    for i, axes in enumerate(cells[: len(results)]):
        if i + columns >= len(results):
            axes.set_xlabel("unchanged pixels, %", fontsize=9)
        if i % columns == 0:
            axes.set_ylabel("time of a frame", fontsize=9)
    known = {}
    for axes in cells[: len(results)]:
        handles, labels = axes.get_legend_handles_labels()
        known |= dict(zip(labels, handles, strict=True))
    names = [name for name in (*STYLES, "deltacnn") if name in known]
    texts = [*names[:-1], "deltacnn, and how many times faster than the fastest of the others"]
    height = figure.get_figheight()
    figure.suptitle(title, fontsize=12, x=0.01, y=1 - 0.12 / height, ha="left", va="top")
    figure.legend(
        [known[name] for name in names], texts, ncols=len(names), fontsize=10, frameon=False,
        loc="upper left", bbox_to_anchor=(0.0, 1 - 0.38 / height), handlelength=3,
    )  # fmt: skip
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.6 / height))
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw(report: dict[str, Any], folder: Path) -> None:
    """networks.png and layers.png; with a suffix where changes spread."""
    threads = report["settings"]["threads"]
    machine = f"{report['processor']}, {threads} thread{'s' if threads > 1 else ''}, float32"
    for kind in ("networks", "layers"):
        for spread in report["settings"]["spread"]:
            if report[kind]:
                growth = "" if spread == "none" else ", changes spread"
                name = kind if spread == "none" else f"{kind}_{spread}"
                title = f"deltacnn beside dense runtimes{growth} ({machine})"
                draw_all(report[kind], spread, title, folder / f"{name}.png")


def main() -> None:
    """Draws again what compare.py measured."""
    path = Path(sys.argv[1])
    draw(json.loads(path.read_text()), path.parent)


if __name__ == "__main__":
    main()
