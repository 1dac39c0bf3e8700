"""Whether anything drifts in a long run under changing light: deviation from dense, and memory.

  python bench/long_run.py build/bin/deltacnn MODEL.onnx CLIP [--frames 20000] [-- --policy fast]

Plays the clip again and again, its brightness rising and falling by 5 % of full scale within 2000
frames, encoded once more as H.264. Every frame is compared with a dense run. The largest relative
difference of a frame's outputs, averaged over the last hundred frames and over the first hundred of
the last pass of the clip (which show what the first hundred frames of all show), must not exceed
that of the first hundred by more than a tenth; the memory of `deltacnn run` on all frames not that
on 500 frames by more than 1 %. What follows `--` goes to `verify` and `run`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PERIOD = 2000  # frames
FEW_FRAMES = 500
MOST_GROWTH, MOST_MEMORY_GROWTH = 1.1, 1.01


def frames_of(clip: Path) -> int:
    """How many frames a clip has."""
    command = ["ffprobe", "-v", "error", "-count_packets", "-select_streams", "v:0"]
    command += ["-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", str(clip)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def make_clip(clip: Path, frames: int, path: Path) -> None:
    """The clip in a loop under slowly changing light."""
    light = f"setpts=N/25/TB,eq=brightness='0.05*sin(2*PI*n/{PERIOD})':eval=frame"
    command = ["ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i", clip, "-an", "-r", "25"]
    command += ["-vf", light, "-frames:v", str(frames), "-c:v", "libx264", "-preset", "superfast"]
    subprocess.run([*command, "-crf", "23", "-pix_fmt", "yuv420p", path], check=True)


def peak_kib(command: list[str | Path]) -> int:
    """The most memory that a program had at once."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise RuntimeError(f"{command[0]} failed")
    return usage.ru_maxrss


def main() -> int:
    """Prints the figures; 1 if something drifted or grew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("program", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("rest", nargs="*", help="options of verify and run, after --")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, report = Path(folder) / "long.mp4", Path(folder) / "report.json"
        make_clip(arguments.clip, arguments.frames, path)
        command = [arguments.program, "verify", arguments.model, path, "--threads", "1"]
        command += ["--json", report, *arguments.rest]
        subprocess.run(command, check=True, capture_output=True)
        result = json.loads(report.read_text())
        run = [arguments.program, "run", arguments.model, path, "--threads", "1", *arguments.rest]
        few = peak_kib([*run, "--frames", str(FEW_FRAMES)])
        all_frames = peak_kib(run)
    hundreds = [part for part in result["hundreds"] if part["frames"] == 100]
    length = frames_of(arguments.clip)
    last_pass = (arguments.frames // length - 1) * length // 100 + 1
    parts = {"first": 0, "last pass": last_pass, "last": len(hundreds) - 1}
    print("| hundred frames | mean difference | objects | missed | wrong |\n|---|---|---|---|---|")
    for name, number in parts.items():
        part = hundreds[number]
        cells = [f"{part['mean_rel_diff']:.4f}", *(part[k] for k in ("objects", "missed", "wrong"))]
        print(f"| {name} | {' | '.join(str(cell) for cell in cells)} |")
    print(f"{arguments.frames} frames, {100 * result['macs_share']:.1f} % of the multiply-adds")
    print(f"agreement {result['agreement']}")
    print(f"memory {few} KiB in {FEW_FRAMES} frames, {all_frames} KiB in all")
    most = MOST_GROWTH * hundreds[0]["mean_rel_diff"]
    steady = all(hundreds[number]["mean_rel_diff"] <= most for number in parts.values())
    return 0 if steady and all_frames <= MOST_MEMORY_GROWTH * few else 1


if __name__ == "__main__":
    sys.exit(main())
