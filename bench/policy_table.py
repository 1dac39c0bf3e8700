"""Measures a policy on models x clips with `deltacnn verify`: agreement with dense runs, and cost.

  python bench/policy_table.py --data DATA [--policy balanced] [--models a,b] [--clips a,b]
      [--frames 24] [--skip 60] [--jobs 2] build/bin/deltacnn [-- --cutoff 0.1 ...]

DATA holds `models/` and `videos/`; what --models and --clips name by a part of their file names is
taken. Whatever follows `--` goes to `verify`. Recall and precision are pooled over the clips,
weighted by the objects of the dense run; MACs are means over the clips, "faster" is the geometric
mean of the ratios of median steps, dense to incremental, without decoding and preprocessing.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODELS = (
    "yolox_nano_416,yolov5n_640,nanodet_m_416,fastestdet_352,ultraface_rfb_320,yunet_n_640,"
    "retinaface"
)
CLIPS = (
    "vtest_480x360,one-by-one-person-detection,bottle-detection,street_market_pinto2,webcam_asl_A,"
    "night_ir_A,otb_crossing"
)
SHARES = ("recall50", "precision50", "recall75", "precision75")


@dataclass(frozen=True)
class Pair:
    """What `verify` reports of a model on a clip."""

    model: str
    clip: str
    report: dict

    @property
    def objects(self) -> int:
        """Of the dense run; 0 for models without a decoder of objects."""
        return (self.report["agreement"] or {}).get("objects", 0)


def verify(program: Path, model: Path, clip: Path, options: list[str]) -> Pair:
    """One run of `deltacnn verify` on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [program, "verify", model, clip, "--threads", "1", "--json", report, *options]
        subprocess.run(command, check=True, capture_output=True)
        return Pair(model.stem, clip.stem, json.loads(report.read_text()))


def cells(pairs: list[Pair]) -> list[str]:
    """Objects, the four shares, MACs, changed input, largest difference, ratio of times."""
    objects = sum(pair.objects for pair in pairs)
    pooled = [
        sum(pair.report["agreement"][share] * pair.objects for pair in pairs if pair.objects)
        / objects
        if objects
        else 1.0
        for share in SHARES
    ]
    mean = {
        key: statistics.mean(pair.report[key] for pair in pairs)
        for key in ("macs_share", "input_changed")
    }
    faster = statistics.geometric_mean(
        pair.report["dense_ms"]["median"] / pair.report["step_ms"]["median"] for pair in pairs
    )
    largest = max(pair.report["max_abs_diff"] for pair in pairs)
    return [
        str(objects),
        *(f"{share:.3f}" for share in pooled),
        f"{100 * mean['macs_share']:.1f} %",
        f"{100 * mean['input_changed']:.1f} %",
        f"{largest:.3g}",
        f"{faster:.1f}x",
    ]


def matching(folder: Path, names: str) -> list[Path]:
    """The files whose names hold one of the parts, in the order of the parts."""
    return [
        path for name in names.split(",") for path in sorted(folder.iterdir()) if name in path.name
    ]


def main() -> None:
    """Prints two Markdown tables: by model and by clip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--policy", default="balanced")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--clips", default=CLIPS)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--skip", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("rest", nargs="*", help="options of verify, after --")
    arguments = parser.parse_args()
    options = ["--policy", arguments.policy, "--frames", str(arguments.frames)]
    options += ["--skip", str(arguments.skip), *arguments.rest]
    models = matching(arguments.data / "models", arguments.models)
    clips = matching(arguments.data / "videos", arguments.clips)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        runs = [
            pool.submit(verify, arguments.program, model, clip, options)
            for model in models
            for clip in clips
        ]
        pairs = [run.result() for run in runs]
    head = "objects | recall .5 | precision .5 | recall .75 | precision .75"
    for title, names in (
        ("model", [path.stem for path in models]),
        ("clip", [path.stem for path in clips]),
    ):
        print(f"| {title} | {head} | MACs | input changed | max_abs_diff | faster |")
        print("|---" * 10 + "|")
        for name in names:
            chosen = [pair for pair in pairs if name in (pair.model, pair.clip)]
            print(f"| {name} | {' | '.join(cells(chosen))} |")
        print(f"| all | {' | '.join(cells(pairs))} |\n")


if __name__ == "__main__":
    main()
