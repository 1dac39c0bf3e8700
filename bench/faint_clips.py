"""Makes clips fainter, for policies that might miss what hardly shows.

  python bench/faint_clips.py --data DATA --out FOLDER [--clips a,b] [--frames 320]
      [--contrasts 0.5,0.3,0.2]
  python bench/policy_table.py build/bin/deltacnn --data FOLDER --frames 160 --skip 40
      --models yolox_nano_416,yolov5n_640,nanodet_m_416 --clips a_50,a_30,...

DATA and FOLDER hold `models/` (a link in FOLDER) and `videos/`. What differs from the median
picture of a fixed camera keeps the given share of its difference; H.264, CRF 18.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import numpy as np

CLIPS = "vtest_480x360,one-by-one-person-detection,otb_crossing,webcam_asl_A,street_market_pinto2"
MOST_WIDTH = 640  # larger clips are scaled down: all frames are held in memory
EVERY = 8  # frames between those that the median is of


def size_of(clip: Path) -> tuple[int, int]:
    """Width and height of the fainter clip."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0"]
    command += ["-show_entries", "stream=width,height", "-of", "csv=p=0", str(clip)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    width, height = (int(part) for part in text.strip().rstrip(",").split(",")[:2])
    scale = min(1.0, MOST_WIDTH / width)
    return int(width * scale) // 2 * 2, int(height * scale) // 2 * 2


def read(clip: Path, width: int, height: int, frames: int) -> np.ndarray:
    """[frames, 3, height, width], YUV."""
    command = ["ffmpeg", "-v", "error", "-i", str(clip), "-frames:v", str(frames)]
    command += ["-vf", f"scale={width}:{height}", "-f", "rawvideo", "-pix_fmt", "yuv444p", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, 3, height, width)


def write(video: np.ndarray, background: np.ndarray, contrast: float, path: Path) -> None:
    """The clip with the difference to the background at `contrast`."""
    height, width = video.shape[2:]
    command = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv444p"]
    command += ["-s", f"{width}x{height}", "-r", "25", "-i", "-", "-c:v", "libx264"]
    command += ["-crf", "18", "-pix_fmt", "yuv420p", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        for frame in video:
            faint = np.rint(background + contrast * (frame - background))
            encoder.stdin.write(np.clip(faint, 0, 255).astype(np.uint8).tobytes())
        encoder.stdin.close()
    if encoder.returncode != 0:
        raise RuntimeError(f"{path}: ffmpeg failed")


def main() -> None:
    """Makes all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", default=CLIPS)
    parser.add_argument("--frames", type=int, default=320)
    parser.add_argument("--contrasts", default="0.5,0.3,0.2")
    args = parser.parse_args()
    videos = args.out / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    if not (args.out / "models").exists():
        (args.out / "models").symlink_to((args.data / "models").resolve())
    for name in args.clips.split(","):
        clip = next((args.data / "videos").glob(f"*{name}*"))
        video = read(clip, *size_of(clip), args.frames)
        background = np.median(video[::EVERY], axis=0)
        for contrast in (float(text) for text in args.contrasts.split(",")):
            path = videos / f"{name}_{round(100 * contrast)}.mp4"
            write(video, background, contrast, path)
            print(path, flush=True)


if __name__ == "__main__":
    main()
