"""Times deltacnn beside ONNX Runtime on the same models, in turns, on one core each.

  python bench/compare.py build/bin/deltacnn MODEL.onnx ... [--rounds 5] [--threads 1]

Every round times ONNX Runtime, then deltacnn at several active shares (two moving blobs of noise in
a noise picture, exact propagation, no tolerance). Figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

SHARES = (1.0, 0.25, 0.1, 0.05, 0.02, 0.01, 0.0)


def session(model: Path, threads: int) -> tuple[ort.InferenceSession, dict[str, np.ndarray]]:
    """A float32 CPU session and random inputs; unknown dimensions as deltacnn's defaults."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    made = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    defaults = {0: 1, 1: 3}
    generator = np.random.default_rng(1)
    inputs = {
        item.name: generator.random(
            [size if isinstance(size, int) else defaults.get(i, 320)
             for i, size in enumerate(item.shape)],
            dtype=np.float32,
        )
        for item in made.get_inputs()
    }  # fmt: skip
    return made, inputs


def time_session(
    made: ort.InferenceSession, inputs: dict[str, np.ndarray], seconds: float
) -> float:
    """Median milliseconds of a run."""
    samples = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples) < 5:
        start = time.perf_counter()
        made.run(None, inputs)
        samples.append(1e3 * (time.perf_counter() - start))
    return statistics.median(samples)


def time_deltacnn(program: Path, model: Path, threads: int, seconds: float) -> list[dict]:
    """Rows of `deltacnn bench`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "bench.json"
        subprocess.run(
            [program, "bench", model, "--policy", "exact", "--threads", str(threads),
             "--active", ",".join(f"{share:g}" for share in SHARES),
             "--seconds", f"{seconds:g}", "--json", report],
            check=True, capture_output=True,
        )  # fmt: skip
        return json.loads(report.read_text())["rows"]


def compare(program: Path, model: Path, rounds: int, threads: int) -> dict:
    """Medians over the rounds."""
    made, inputs = session(model, threads)
    made.run(None, inputs)
    dense: list[float] = []
    steps: list[list[float]] = [[] for _ in SHARES]
    macs: list[float] = [0.0] * len(SHARES)
    for _ in range(rounds):
        dense.append(time_session(made, inputs, 0.5))
        for i, row in enumerate(time_deltacnn(program, model, threads, 0.3)):
            steps[i].append(row["step_ms"])
            macs[i] = row["macs_share"]
    return {
        "model": model.stem,
        "onnxruntime_ms": statistics.median(dense),
        "step_ms": [statistics.median(values) for values in steps],
        "macs_share": macs,
    }


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    shares = " | ".join(f"{100 * share:g} %" for share in SHARES)
    print(f"| model | ONNX Runtime {ort.__version__} ms | 100 % ms, ratio | {shares[8:]} |")
    print("|---" * (len(SHARES) + 2) + "|")
    results = []
    for model in arguments.models:
        result = compare(arguments.program, model, arguments.rounds, arguments.threads)
        results.append(result)
        peer = result["onnxruntime_ms"]
        full, *rest = result["step_ms"]
        cells = [f"{ms:.2f} ({peer / ms:.1f}x)" for ms in rest[:-1]] + [f"{1e3 * rest[-1]:.0f} us"]
        row = [result["model"], f"{peer:.2f}", f"{full:.2f}, {peer / full:.2f}x", *cells]
        print(f"| {' | '.join(row)} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
