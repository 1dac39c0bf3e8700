"""What an encoder in front (`run --encode`) costs and saves on raw video with noise.

  python bench/encode_table.py build/bin/deltacnn MODEL.onnx CLIP ... [--frames 60] [--skip 0]
      [--sigmas 0,2,4,8] [--crfs 23,30] [--rounds 3] [-- --policy fast ...]

Decodes each clip, adds white noise to all planes and runs `deltacnn run` on the raw frames, without
and with `--encode`. Times are milliseconds a frame, medians over the rounds: encode and decode of
`--encode`, change map and preprocessing (`feed`), network. `dense`: recall and precision (IoU 0.5)
against dense runs on the same pictures, by `deltacnn verify` on the raw frames or the recording;
`clean`: against dense runs on the clip without noise, never encoded again. What follows `--` goes
to `run` and `verify`.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from noise_table import decode, numbers, parse, verify

TIMES = re.compile(r"preprocess ([\d.]+) ms, network ([\d.]+) ms")
RECORDING = re.compile(r"encode ([\d.]+) ms, decode ([\d.]+) ms")


def overlap(a: list[float], b: list[float]) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def found(wanted: list[list[dict]], given: list[list[dict]]) -> float:
    """Share of the objects wanted, frame by frame, that are given."""
    hits = total = 0
    for want, have in zip(wanted, given, strict=True):
        left = list(have)
        for item in want:
            total += 1
            same = [other for other in left if other["class"] == item["class"]]
            best = max(same, key=lambda other: overlap(item["xyxy"], other["xyxy"]), default=None)
            if best is not None and overlap(item["xyxy"], best["xyxy"]) >= 0.5:
                hits += 1
                left.remove(best)
    return hits / total if total else 1.0


class Runs:
    """Calls of the program on one model."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments = arguments
        self.folder = folder

    def run(self, clip: Path, options: list[str]) -> tuple[list[list[dict]], dict[str, float]]:
        """The objects of every frame, and the averages that the program prints."""
        lines = self.folder / "out.jsonl"
        command = [self.arguments.program, "run", self.arguments.model, clip, "--threads", "1"]
        result = subprocess.run(
            [*command, "--jsonl", lines, *options], check=True, capture_output=True, text=True
        )
        frames = [json.loads(line) for line in lines.read_text().splitlines()]
        feed, network = map(float, TIMES.findall(result.stderr)[-1])
        encode, again = map(float, (RECORDING.findall(result.stderr) or [(0, 0)])[-1])
        shares = {
            key: statistics.mean(frame["work"][key] for frame in frames)
            for key in ("changed", "macs_share")
        }
        times = {"encode": encode, "decode": again, "feed": feed, "network": network}
        return [frame["objects"] for frame in frames], shares | times

    def row(self, clip: Path, clean: list[list[dict]], crf: int | None) -> list[str]:
        """One line of the table."""
        recording = self.folder / "rec.mp4"
        options = list(self.arguments.rest)
        if crf is not None:
            options += ["--encode", str(recording), "--encode-crf", str(crf)]
        rounds = [self.run(clip, options) for _ in range(self.arguments.rounds)]
        objects = rounds[0][0]
        mean = {key: statistics.median(one[1][key] for one in rounds) for key in rounds[0][1]}
        seen = clip if crf is None else recording
        agreement = verify(self.arguments.program, self.arguments.model, seen, self.arguments.rest)[
            "agreement"
        ]
        cells = [f"{100 * mean['changed']:.2f} %", f"{100 * mean['macs_share']:.2f} %"]
        cells += [f"{mean[key]:.2f}" for key in ("encode", "decode", "feed", "network")]
        cells.append(f"{agreement['recall50']:.3f} / {agreement['precision50']:.3f}")
        cells.append(f"{found(clean, objects):.3f} / {found(objects, clean):.3f}")
        return cells


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("program", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--sigmas", type=numbers(float), default=[0.0, 2.0, 4.0, 8.0])
    parser.add_argument("--crfs", type=numbers(int), default=[23, 30])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parse(parser)
    print("| clip | sigma | encoder | changed | MACs | encode | decode | feed | network "
          "| dense | clean |")  # fmt: skip
    print("|---" * 11 + "|")
    for clip in arguments.clips:
        pictures = decode(clip, arguments.skip, arguments.frames)
        rng = np.random.default_rng(1)
        clean: list[list[dict]] | None = None
        with tempfile.TemporaryDirectory() as folder:
            runs = Runs(arguments, Path(folder))
            for sigma in [0.0, *(sigma for sigma in arguments.sigmas if sigma > 0)]:
                noise = rng.normal(0, sigma, pictures.data.shape).astype(np.float32)
                noisy = np.clip(np.rint(pictures.data + noise), 0, 255).astype(np.uint8)
                path = Path(folder) / "raw.nut"
                command = ["ffmpeg", "-v", "error", "-y", *pictures.input_options(), "-i", "-"]
                command += ["-c:v", "rawvideo", str(path)]
                subprocess.run(command, input=noisy.tobytes(), check=True)
                if clean is None:
                    clean = runs.run(path, ["--policy", "exact"])[0]
                if sigma not in arguments.sigmas:
                    continue
                for crf in (None, *arguments.crfs):
                    name = "none" if crf is None else f"CRF {crf}"
                    cells = [clip.stem, f"{sigma:g}", name, *runs.row(path, clean, crf)]
                    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
