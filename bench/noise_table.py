"""What noise and lossy coding of a clip cost, and whether the answers stay those of dense runs.

  python bench/noise_table.py build/bin/deltacnn MODEL.onnx CLIP ... [--frames 30] [--skip 60]
      [--sigmas 1,2,4,8] [--crfs 23,29,35] [-- --policy fast ...]

Makes variants of each clip in a temporary folder: white noise added to all planes (uncompressed),
H.264 (x264, medium, an I-frame every 25 frames) and MJPEG; runs `deltacnn verify` on each and on
the clip itself. `cost` is the share of a dense run's multiply-adds beside that of the clip; recall
and precision are against dense runs on the same variant. What follows `--` goes to `verify`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SHARES = ("recall50", "precision50", "recall75", "precision75")
MJPEG_QUALITIES = (3, 8)


@dataclass(frozen=True)
class Pictures:
    """Decoded frames in yuv420p."""

    size: str
    data: np.ndarray  # uint8, a row for each frame

    def input_options(self) -> list[str]:
        """How FFmpeg reads them from standard input."""
        return ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", self.size, "-r", "25"]


def decode(clip: Path, skip: int, frames: int) -> Pictures:
    """The frames of a clip behind the first `skip`."""
    probe = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries"]
    probe += ["stream=width,height", "-of", "csv=p=0", str(clip)]
    result = subprocess.run(probe, capture_output=True, text=True, check=True)
    width, height = (int(side) for side in result.stdout.strip().split(","))
    command = ["ffmpeg", "-v", "error", "-i", str(clip), "-vf", f"select=gte(n\\,{skip})"]
    command += ["-vsync", "passthrough", "-frames:v", str(frames)]
    command += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    data = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)
    frame_bytes = width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)
    return Pictures(f"{width}x{height}", data.reshape(-1, frame_bytes))


def variants(
    pictures: Pictures, sigmas: list[float], crfs: list[int]
) -> Iterator[tuple[str, np.ndarray, list[str]]]:
    """Names, frames, and FFmpeg's settings for writing them."""
    uncompressed = ["-c:v", "rawvideo"]
    yield "clip", pictures.data, uncompressed
    rng = np.random.default_rng(1)
    for sigma in sigmas:
        noise = rng.normal(0, sigma, pictures.data.shape).astype(np.float32)
        noisy = np.clip(np.rint(pictures.data + noise), 0, 255).astype(np.uint8)
        yield f"sigma {sigma:g}", noisy, uncompressed
    for crf in crfs:
        yield f"H.264 CRF {crf}", pictures.data, ["-c:v", "libx264", "-crf", str(crf), "-g", "25"]
    for quality in MJPEG_QUALITIES:
        settings = ["-c:v", "mjpeg", "-q:v", str(quality)]
        yield f"MJPEG q {quality}", pictures.data, settings


def verify(program: Path, model: Path, clip: Path, options: list[str]) -> dict:
    """What `deltacnn verify` reports."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [program, "verify", model, clip, "--threads", "1", "--json", report, *options]
        subprocess.run(command, check=True, capture_output=True)
        return json.loads(report.read_text())


def measure(arguments: argparse.Namespace, clip: Path) -> Iterator[tuple[str, dict]]:
    """The report of every variant of a clip."""
    pictures = decode(clip, arguments.skip, arguments.frames)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "variant.nut"
        for name, data, settings in variants(pictures, arguments.sigmas, arguments.crfs):
            command = ["ffmpeg", "-v", "error", "-y", *pictures.input_options(), "-i", "-"]
            subprocess.run([*command, *settings, path], input=data.tobytes(), check=True)
            yield name, verify(arguments.program, arguments.model, path, arguments.rest)


def numbers(kind: type) -> object:
    """Reads a list with commas."""
    return lambda text: [kind(part) for part in text.split(",") if part]


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments; `rest` is what follows `--`."""
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments = parser.parse_args(sys.argv[1:end])
    arguments.rest = sys.argv[end + 1 :]
    return arguments


def main() -> None:
    """Prints a Markdown table for each clip and the rise of the cost over all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("program", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--skip", type=int, default=60)
    parser.add_argument("--sigmas", type=numbers(float), default=[1.0, 2.0, 4.0, 8.0])
    parser.add_argument("--crfs", type=numbers(int), default=[23, 29, 35])
    arguments = parse(parser)
    rises: dict[str, list[float]] = {}
    print("| clip | variant | input changed | MACs | cost | objects | recall .5 | precision .5 "
          "| recall .75 | precision .75 |")  # fmt: skip
    print("|---" * 10 + "|")
    for clip in arguments.clips:
        clean = 0.0
        for name, report in measure(arguments, clip):
            macs = report["macs_share"]
            clean = clean or macs
            rises.setdefault(name, []).append(macs / clean)
            agreement = report["agreement"] or {}
            shares = [agreement.get(share) for share in SHARES]
            cells = ["-" if share is None else f"{share:.3f}" for share in shares]
            print(
                f"| {clip.stem} | {name} | {100 * report['input_changed']:.2f} % "
                f"| {100 * macs:.2f} % | {macs / clean:.2f}x | {agreement.get('objects', 0)} "
                f"| {' | '.join(cells)} |",
                flush=True,
            )
    print("\n| variant | cost, geometric mean | largest |\n|---|---|---|")
    for name, values in rises.items():
        print(f"| {name} | {statistics.geometric_mean(values):.2f}x | {max(values):.2f}x |")


if __name__ == "__main__":
    main()
