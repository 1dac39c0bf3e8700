"""Times deltacnn beside ONNX Runtime, OpenVINO, ncnn and PyTorch on the same models, in turns.

  python bench/compare.py build/bin/deltacnn --models MODEL.onnx ... [--layers] [--out out/bench]

Every round times each runtime's dense run, then deltacnn at several shares of changed pixels: two
moving blobs of noise in a noise picture. Figures are medians over the rounds. Writes compare.json
after every model, at the end compare.md and plots; what compare.json already has is not measured
again.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import layer_models
import peers
import plot

MOST_WAITED = 0.02  # share of the time for which a quiet machine may keep a thread from its core
SHARES = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.0)


def processor() -> str:
    """The name of this machine's processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def time_deltacnn(
    program: Path, model: Path, spread: str, threads: int, seconds: float
) -> dict[str, Any]:
    """The report of `deltacnn bench`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "bench.json"
        result = subprocess.run(
            [program, "bench", model, "--policy", "exact", "--spread", spread,
             "--threads", str(threads), "--active", ",".join(f"{share:g}" for share in SHARES),
             "--seconds", f"{seconds:g}", "--json", report],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if result.returncode != 0:
            raise peers.NotMeasured(peers.one_line(result.stderr))
        return json.loads(report.read_text())


def medians(reports: list[dict[str, Any]]) -> list[dict[str, float]]:
    """One row a share out of the reports of all rounds."""
    rows = []
    for same in zip(*(report["rows"] for report in reports), strict=True):
        keys = ("active", "input_changed", "macs_share", "dense_ms", "step_ms")
        rows.append({key: statistics.median(row[key] for row in same) for key in keys})
    return rows


def compare(model: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Medians over the rounds."""
    program, threads, seconds = arguments.program, arguments.threads, arguments.seconds
    time_deltacnn(program, model, arguments.spread[0], threads, 0.01)  # can it run at all?
    runtimes, missing = peers.make_peers(model, threads)
    _, image = peers.load(model)
    dense: dict[str, list[float]] = {peer.name: [] for peer in runtimes}
    reports: dict[str, list[dict[str, Any]]] = {spread: [] for spread in arguments.spread}
    waited = spent = 0.0
    for _ in range(arguments.rounds):
        before = time.perf_counter(), peers.waited()
        for peer in runtimes:
            dense[peer.name].append(peers.time_peer(peer, image, seconds))
        spent += time.perf_counter() - before[0]
        waited += peers.waited() - before[1]
        for spread, list_ in reports.items():
            list_.append(time_deltacnn(program, model, spread, threads, seconds / 2))
    last = reports[arguments.spread[0]][-1]
    return {
        "dense_ms": {name: statistics.median(samples) for name, samples in dense.items()},
        "not_measured": missing,
        "rows": {spread: medians(list_) for spread, list_ in reports.items()},
        "waited_share": waited / spent,
        "repeats": 1,
    } | {key: last[key] for key in ("macs", "state_bytes", "weights_bytes", "peak_bytes", "isa")}


def table(results: dict[str, dict[str, Any]], spread: str) -> str:
    """Markdown: every runtime's milliseconds, deltacnn's and how they relate to the fastest."""
    names = [kind.name for kind in peers.PEERS]
    shares = [f"{100 * share:g} %" for share in SHARES]
    lines = [f"| | {' | '.join([*names, *shares])} |", "|---" * (1 + len(names + shares)) + "|"]
    for model, result in results.items():
        best, repeats = min(result["dense_ms"].values()), result["repeats"]
        cells = [model]
        for name in names:
            ms = result["dense_ms"].get(name)
            mark = "**" if ms == best else ""
            cells.append("-" if ms is None else f"{mark}{ms / repeats:.3g}{mark}")
        for row in result["rows"][spread]:
            ms = row["step_ms"]
            if row["active"] == 0:
                cells.append(f"{1e3 * ms / repeats:.2g} us")
            else:
                cells.append(f"{ms / repeats:.3g} ({best / ms:.3g}x)")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def markdown(report: dict[str, Any]) -> str:
    """All tables, and what was left out."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    settings = report["settings"]
    text = (
        f"{report['processor']}, {settings['threads']} thread(s), float32; {versions}. "
        f"Medians of {settings['rounds']} rounds, in milliseconds; the fastest dense runtime in "
        "bold, in brackets how many times faster than it deltacnn is.\n"
    )
    waited = [r["waited_share"] for kind in ("networks", "layers") for r in report[kind].values()]
    if max(waited, default=0) > MOST_WAITED:
        text += (
            f"\nThe machine was busy: up to {100 * max(waited):.0f} % of the time went in waiting "
            "for a core, which makes long runs look longer than short ones. Do not rely on this.\n"
        )
    for kind, title in (("networks", "Networks"), ("layers", "Layers, each on its own")):
        results = report[kind]
        for spread in settings["spread"]:
            if results:
                growth = "the same share of every layer" if spread == "none" else "changes spread"
                text += f"\n## {title}: {growth}\n\n{table(results, spread)}"
        for model, result in results.items():
            for name, reason in result["not_measured"].items():
                text += f"\n{model}: {name} not measured ({reason})."
    for model, reason in report["left_out"].items():
        text += f"\n{model}: left out ({reason})."
    return text.rstrip() + "\n"


def start(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The report so far, or an empty one."""
    settings = {key: getattr(arguments, key) for key in ("threads", "rounds", "seconds", "spread")}
    if path.exists() and not arguments.again:
        report = json.loads(path.read_text())
        if report["settings"] != settings:
            sys.exit(f"{path}: made with other settings; choose another --out, or --again")
        return report
    versions = {kind.name: kind.version for kind in peers.PEERS}
    return {"processor": processor(), "settings": settings, "versions": versions,
            "networks": {}, "layers": {}, "left_out": {}}  # fmt: skip


def main() -> None:
    """Measures what is missing, then writes tables and plots."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program", type=Path, help="build/bin/deltacnn")
    parser.add_argument("--models", type=Path, nargs="+", default=[], help="ONNX files")
    parser.add_argument("--layers", action="store_true", help="typical layers, made here")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4, help="a runtime and round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--spread", nargs="+", choices=("none", "natural"), default=["none"])
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for results")
    parser.add_argument("--again", action="store_true", help="forget the results there")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "compare.json"
    report = start(path, arguments)
    todo = [("networks", model.stem, model, 1) for model in arguments.models]
    if arguments.layers:
        folder = arguments.out / "layers"
        folder.mkdir(exist_ok=True)
        todo += [
            ("layers", layer.name, layer_models.write(layer, folder), layer.repeats)
            for layer in layer_models.LAYERS
        ]
    for kind, name, model, repeats in todo:
        if name in report[kind] or name in report["left_out"]:
            continue
        try:
            report[kind][name] = compare(model, arguments) | {"repeats": repeats}
            print(table({name: report[kind][name]}, arguments.spread[0]).splitlines()[-1])
        except peers.NotMeasured as reason:
            report["left_out"][name] = str(reason)
            print(f"{name}: left out ({reason})")
        sys.stdout.flush()
        path.write_text(json.dumps(report, indent=1))
    (arguments.out / "compare.md").write_text(markdown(report))
    plot.draw(report, arguments.out)


if __name__ == "__main__":
    main()
