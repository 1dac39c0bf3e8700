"""Times whole pipelines on video, frame in to answers out: deltacnn beside dense runtimes.

  python bench/end_to_end.py build/bin/deltacnn --data DATA [--models a,b] [--clips a,b]
      [--frames 200] [--rounds 3] [--seconds 0.5] [--out out/end_to_end.json] [-- --policy fast]

Milliseconds of CPU time a frame, one thread each, in turns; medians over the rounds.
deltacnn: `deltacnn run --jsonl`, all of the process: decoding, change map, preprocessing, network,
answers and writing them. A dense job: FFmpeg decodes (the same library), scales with bilinear
filter, letterboxes and converts to planar RGB; NumPy turns that into float32; the runtime runs; the
answers cost what deltacnn's cost. What happens once is left out: N frames less the first one.
What follows `--` goes to `run`.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import peers
from policy_table import CLIPS, MODELS, matching

RUNTIMES: list[type[peers.Peer]] = [peers.OnnxRuntime, peers.OpenVino, peers.Ncnn]
ANSWERS = re.compile(r"answers ([\d.]+) ms")


@dataclass
class Samples:
    """Milliseconds a frame, one value for each round."""

    delta: list[float] = field(default_factory=list)
    front: list[float] = field(default_factory=list)  # of the dense job: decoding and scaling
    answers: list[float] = field(default_factory=list)


def cpu_ms(command: list[str | Path]) -> tuple[float, str]:
    """CPU time of a program, and what it wrote to stderr."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    ), result.stderr


def frame_ms(command: Callable[[int], list[str | Path]], frames: int) -> tuple[float, str]:
    """CPU time of a frame behind the first, and stderr of the longer run."""
    start, _ = cpu_ms(command(1))
    whole, text = cpu_ms(command(frames))
    return (whole - start) / (frames - 1), text


def frames_of(clip: Path) -> int:
    """How many frames a clip has."""
    command = ["ffprobe", "-v", "error", "-count_packets", "-select_streams", "v:0"]
    command += ["-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", str(clip)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run_command(
    arguments: argparse.Namespace, model: Path, clip: Path, frames: int
) -> list[str | Path]:
    """deltacnn, all of its work."""
    command = [arguments.program, "run", model, clip, "--jsonl", "/dev/null"]
    return [*command, "--frames", str(frames), *arguments.rest]


def front_command(clip: Path, width: int, height: int, frames: int) -> list[str | Path]:
    """FFmpeg up to the network's input in bytes."""
    filters = f"scale={width}:{height}:force_original_aspect_ratio=decrease:flags=bilinear,"
    filters += f"pad={width}:{height},format=gbrp"
    command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-filter_threads", "1"]
    return [*command, "-i", clip, "-vf", filters, "-frames:v", str(frames), "-f", "null", "-"]


def convert_ms(image: np.ndarray) -> float:
    """CPU time of turning bytes into the network's input."""
    pixels = np.random.default_rng(1).integers(0, 256, image.shape, np.uint8)
    target = np.empty_like(image)
    runs = 50
    start = time.process_time()
    for _ in range(runs):
        np.copyto(target, pixels)
    return 1e3 * (time.process_time() - start) / runs


def measure_model(arguments: argparse.Namespace, model: Path, clips: list[Path]) -> list[dict]:
    """A result for each clip."""
    runtimes, missing = peers.make_peers(model, 1, RUNTIMES)
    _, image = peers.load(model)
    height, width = image.shape[2:]
    network: dict[str, list[float]] = {peer.name: [] for peer in runtimes}
    conversion: list[float] = []
    samples = {clip: Samples() for clip in clips}
    for _ in range(arguments.rounds):
        for clip in clips:
            frames = min(arguments.frames, frames_of(clip))
            ms, text = frame_ms(partial(run_command, arguments, model, clip), frames)
            samples[clip].delta.append(ms)
            samples[clip].answers.append(float(ANSWERS.search(text)[1]))
            ms, _ = frame_ms(partial(front_command, clip, width, height), frames)
            samples[clip].front.append(ms)
            for peer in runtimes:
                ms = peers.time_peer(peer, image, arguments.seconds, time.process_time)
                network[peer.name].append(ms)
            conversion.append(convert_ms(image))
    results = []
    for clip, sample in samples.items():
        answers = statistics.median(sample.answers)
        around = statistics.median(sample.front) + statistics.median(conversion) + answers
        delta = statistics.median(sample.delta)
        dense = {name: around + statistics.median(values) for name, values in network.items()}
        results.append(
            {
                "model": model.stem,
                "clip": clip.stem,
                "delta_ms": delta,
                "dense_front_ms": around - answers,
                "answers_ms": answers,
                "dense_ms": dense,
                "missing": missing,
                "faster": min(dense.values()) / delta,
            }
        )
    return results


def table(results: list[dict]) -> str:
    """Markdown: how many times faster than the best dense job, models by clips."""
    models = list(dict.fromkeys(result["model"] for result in results))
    clips = list(dict.fromkeys(result["clip"] for result in results))

    def mean(**wanted: str) -> str:
        chosen = [
            result["faster"]
            for result in results
            if all(result[key] == value for key, value in wanted.items())
        ]
        return f"{statistics.geometric_mean(chosen):.1f}x" if chosen else "-"

    lines = [f"| | {' | '.join(clips)} | all |", "|---" * (len(clips) + 2) + "|"]
    for model in models:
        cells = [mean(model=model, clip=clip) for clip in clips]
        lines.append(f"| {model} | {' | '.join(cells)} | {mean(model=model)} |")
    lines.append(f"| all | {' | '.join(mean(clip=clip) for clip in clips)} | {mean()} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, writes JSON after every model, prints tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("program", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="holds models/ and videos/")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--clips", default=CLIPS)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="for a runtime in a round")
    parser.add_argument("--out", type=Path, default=Path("out/end_to_end.json"))
    parser.add_argument("rest", nargs="*", help="options of run, after --")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    clips = matching(arguments.data / "videos", arguments.clips)
    results: list[dict] = []
    for model in matching(arguments.data / "models", arguments.models):
        results += measure_model(arguments, model, clips)
        arguments.out.write_text(json.dumps(results, indent=2))
    print("| model | clip | deltacnn ms | best dense ms | its runtime | faster |")
    print("|---" * 6 + "|")
    for result in results:
        best = min(result["dense_ms"], key=result["dense_ms"].get)
        print(
            f"| {result['model']} | {result['clip']} | {result['delta_ms']:.2f} "
            f"| {result['dense_ms'][best]:.2f} | {best} | {result['faster']:.1f}x |"
        )
    print(f"\n{table(results)}")


if __name__ == "__main__":
    main()
