"""Compares rules of change detection: false alarms on still blocks and misses of changed ones.

  python bench/change_rules.py [CLIP ...]

Without clips: a made scene (a 4x4 ball, a faint walker, a creeping box, a mover of fine texture on
a still background) as a raw camera with noise sees it and after several encoders. The scene without
noise is the truth. With clips of fixed cameras: the median over nine frames stands in for it.
Luma only. A false alarm is a block that fired although its truth is that of its last update (of a
clip: to within a level); a miss is a block that did not fire although the mean difference of its
truth (of all of it, or of one of its 4x4 sub-blocks) exceeds 6 (12) levels.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WIDTH, HEIGHT, FRAMES, GOP = 352, 288, 90, 10
BLOCK = 8
MEMORY = 15  # frames whose noise is remembered
THIRD_OF_NORMAL = 0.4307  # deviations below which a third of normal values are

ENCODERS = {
    "x264 crf 23": ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-g", str(GOP)],
    "x264 crf 28": ["-c:v", "libx264", "-preset", "medium", "-crf", "28", "-g", str(GOP)],
    "x264 crf 35": ["-c:v", "libx264", "-preset", "veryfast", "-crf", "35", "-g", str(GOP)],
    "x265 crf 28": ["-c:v", "libx265", "-preset", "veryfast", "-crf", "28", "-x265-params",
                    f"keyint={GOP}:log-level=none"],
    "vp9 300k": ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k",
                 "-g", str(GOP)],
    "mjpeg q5": ["-c:v", "mjpeg", "-q:v", "5", "-pix_fmt", "yuvj420p"],
}  # fmt: skip


def smooth_noise(rng: np.random.Generator, cell: int) -> np.ndarray:
    """Bilinear noise in -1..1 with cells of so many pixels."""
    rows, cols = HEIGHT // cell + 2, WIDTH // cell + 2
    grid = rng.uniform(-1, 1, (rows, cols))
    y, x = np.arange(HEIGHT) / cell, np.arange(WIDTH) / cell
    top, left = y.astype(int), x.astype(int)
    fy, fx = (y - top)[:, None], (x - left)[None, :]
    upper = grid[top][:, left] * (1 - fx) + grid[top][:, left + 1] * fx
    lower = grid[top + 1][:, left] * (1 - fx) + grid[top + 1][:, left + 1] * fx
    return upper * (1 - fy) + lower * fy


def scene() -> np.ndarray:
    """The clean frames, uint8."""
    rng = np.random.default_rng(1)
    still = 110 + 40 * smooth_noise(rng, 64) + 20 * smooth_noise(rng, 12) + 8 * smooth_noise(rng, 3)
    for _ in range(30):  # hard edges
        y, x = rng.integers(0, HEIGHT - 40), rng.integers(0, WIDTH - 40)
        still[y : y + rng.integers(4, 40), x : x + rng.integers(4, 40)] += rng.uniform(-60, 60)
    texture = 30 * np.sign(np.sin(np.arange(40) * 1.9))[None, :] * np.ones((24, 1))
    frames = []
    for i in range(FRAMES):
        frame = still.copy()
        ball_y, ball_x = 20 + 2 * i, 30 + 3 * i
        frame[ball_y : ball_y + 4, ball_x : ball_x + 4] += 50
        walker = 40 + 2 * i
        frame[120:152, walker : walker + 12] += 14
        edge = 250 + i // 20
        frame[200:240, edge : edge + 30] += 30
        text = 20 + i
        frame[250:274, text : text + 40] = 120 + texture
        frames.append(np.clip(frame, 16, 235).astype(np.uint8))
    return np.stack(frames)


def with_noise(clean: np.ndarray, sigma: float) -> np.ndarray:
    rng = np.random.default_rng(2)
    noise = rng.normal(0, sigma, clean.shape) if sigma else 0
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


@dataclass
class Clip:
    name: str
    frames: np.ndarray  # luma
    intra: list[bool]  # an I-frame among others
    truth: np.ndarray
    slack: int  # levels by which the truth of a still block may differ


def decode(path: Path, frames: int, skip: int = 0) -> tuple[np.ndarray, list[bool]]:
    probe = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries"]
    probe += ["stream=width,height:frame=pict_type", "-of", "default=nw=1", str(path)]
    lines = subprocess.run(probe, capture_output=True, text=True, check=True).stdout.split()
    facts = dict(line.split("=") for line in lines if not line.startswith("pict_type"))
    width, height = int(facts["width"]), int(facts["height"])
    types = [line[-1] for line in lines if line.startswith("pict_type")][skip : skip + frames]
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-vf"]
    command += [f"select=gte(n\\,{skip}),extractplanes=y", "-vsync", "passthrough", "-frames:v"]
    command += [str(frames), "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    luma = np.frombuffer(data, np.uint8).reshape(-1, height, width)
    mixed = any(kind != "I" for kind in types)
    return luma, [mixed and kind == "I" for kind in types[: len(luma)]]


def encoded(frames: np.ndarray, settings: list[str]) -> tuple[np.ndarray, list[bool]]:
    grey = np.full(WIDTH * HEIGHT // 2, 128, np.uint8).tobytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mkv"
        command = ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s"]
        command += [f"{WIDTH}x{HEIGHT}", "-r", "25", "-i", "-", *settings, str(path)]
        data = b"".join(frame.tobytes() + grey for frame in frames)
        subprocess.run(command, input=data, check=True, capture_output=True)
        return decode(path, FRAMES)


def made_clips() -> Iterator[Clip]:
    clean = scene()
    for sigma in (0, 1, 2, 4, 8):
        yield Clip(f"raw sigma {sigma}", with_noise(clean, sigma), [False] * FRAMES, clean, 0)
    for sigma in (0, 2, 4):
        for name, settings in ENCODERS.items():
            frames, intra = encoded(with_noise(clean, sigma), settings)
            yield Clip(f"{name} sigma {sigma}", frames, intra, clean[: len(frames)], 0)


def real_clip(path: Path, frames: int, skip: int) -> Clip:
    luma, intra = decode(path, frames, skip)
    half = 4
    padded = np.concatenate([luma[:1]] * half + [luma] + [luma[-1:]] * half)
    truth = np.stack([np.median(padded[i : i + 2 * half + 1], 0) for i in range(len(luma))])
    return Clip(path.stem, luma, intra, truth.astype(np.uint8), 1)


def sub_blocks(values: np.ndarray) -> np.ndarray:
    """Means of 4x4 pixels, [rows, columns, 4] of blocks of 8x8."""
    rows, cols = values.shape[0] // BLOCK, values.shape[1] // BLOCK
    means = values[: rows * BLOCK, : cols * BLOCK].reshape(rows, 2, 4, cols, 2, 4).mean((2, 5))
    return means.transpose(0, 2, 1, 3).reshape(rows, cols, 4)


@dataclass
class Difference:
    signed: np.ndarray
    absolute: np.ndarray
    pixels: np.ndarray  # of whole blocks

    @staticmethod
    def of(frame: np.ndarray, held: np.ndarray) -> Difference:
        d = frame.astype(np.int16) - held
        rows, cols = d.shape[0] // BLOCK, d.shape[1] // BLOCK
        pixels = np.abs(d[: rows * BLOCK, : cols * BLOCK]).reshape(rows, BLOCK, cols, BLOCK)
        return Difference(sub_blocks(d), sub_blocks(np.abs(d)), pixels.max((1, 3)))

    def dc4(self) -> np.ndarray:
        return np.abs(self.signed).max(2)

    def mad4(self) -> np.ndarray:
        return self.absolute.max(2)

    def ripple(self) -> np.ndarray:
        """What is left of the four means without their plane: free of fades and slow gradients."""
        s = self.signed
        return np.abs(s[..., 0] - s[..., 1] - s[..., 2] + s[..., 3]) / 2


@dataclass
class Rule:
    """A block changed if `statistic` exceeds a limit or, with `texture`, mad4 a multiple of it."""

    name: str
    tolerance: float
    statistic: Callable[[Difference], np.ndarray] = Difference.dc4
    texture: float = 0
    intra: float = 1  # factor of the limit on an I-frame
    frames: int = 1  # within which an I-frame's limit comes down again
    # The limit is at least `noise` times a quantile of this, `pop` times that on I-frames.
    floor: Callable[[Difference], np.ndarray] | None = None
    quantile: float = 1 / 3
    noise: float | None = 0  # none: as many deviations as the largest of all blocks has
    pop: float = 0
    cap: float = np.inf

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.noises: list[float] = []
        self.pops: list[float] = []
        self.since_intra = 1 << 30

    def limit(self, difference: Difference, intra: bool) -> float:
        self.since_intra = 0 if intra else self.since_intra + 1
        share = max(0.0, 1 - self.since_intra / self.frames)
        limit = self.tolerance
        if self.floor is not None:
            levels = self.pops if intra and self.pop else self.noises
            levels.append(float(np.quantile(self.floor(difference), self.quantile)))
            noise = self.noise
            if noise is None:
                noise = np.sqrt(2 * np.log(1.5 * difference.signed.size)) / THIRD_OF_NORMAL
            limit = max(limit, self.from_noise(noise, self.noises))
            limit += share * max(0.0, self.from_noise(self.pop, self.pops) - limit)
        return limit * (1 + (self.intra - 1) * share)

    def from_noise(self, factor: float, levels: list[float]) -> float:
        return min(factor * float(np.median(levels[-MEMORY:])), self.cap) if levels else 0

    def fires(self, difference: Difference, intra: bool) -> np.ndarray:
        limit = self.limit(difference, intra)
        fired = self.statistic(difference) > limit
        if self.texture:
            fired |= difference.mad4() > self.texture * limit
        return fired


def rules() -> list[Rule]:
    dc4, mad4, ripple = Difference.dc4, Difference.mad4, Difference.ripple
    made = [Rule("any difference", 0, lambda d: d.pixels), Rule("max > 14", 14, lambda d: d.pixels)]
    made += [Rule(f"mad4 > {t}", t, mad4) for t in (4, 6)]
    made += [Rule("dc4 > 5", 5), Rule("dc4 > 5, twice on I", 5, intra=2)]
    made += [
        Rule("dc4 > max(3, 2.5 r25), twice on I", 3, intra=2, floor=dc4, quantile=0.25, noise=2.5),
        Rule("dc4 > 5 or mad4 > 7.5", 5, texture=1.5),
        Rule("the same, twice on I", 5, texture=1.5, intra=2),
        Rule("the same, 1.5 times on I, 4 frames", 5, texture=1.5, intra=1.5, frames=4),
    ]
    for tolerance in (4, 5):
        made.append(
            Rule(f"as built, {tolerance}", tolerance, texture=1.5, frames=4, floor=ripple,
                 noise=None, pop=9.5 / THIRD_OF_NORMAL, cap=12)
        )  # fmt: skip
    return made


@dataclass
class Score:
    still: int = 0
    still_fired: int = 0
    intra_still: int = 0
    intra_fired: int = 0
    next_still: int = 0  # the frame after an I-frame
    next_fired: int = 0
    large: int = 0
    large_missed: int = 0
    small: int = 0
    small_missed: int = 0
    blocks: int = 0
    fired: int = 0

    def add(self, other: Score) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def cells(self) -> list[str]:
        def share(part: int, whole: int) -> str:
            return f"{100 * part / whole:.2f}" if whole else "-"

        return [
            share(self.still_fired, self.still),
            share(self.intra_fired, self.intra_still),
            share(self.next_fired, self.next_still),
            share(self.large_missed, self.large),
            share(self.small_missed, self.small),
            share(self.fired, self.blocks),
        ]


def play(rule: Rule, clip: Clip) -> Score:
    score = Score()
    held, true_held = clip.frames[0].copy(), clip.truth[0].copy()
    rule.start()
    for i in range(1, len(clip.frames)):
        frame, truth = clip.frames[i], clip.truth[i]
        fired = rule.fires(Difference.of(frame, held), clip.intra[i])
        true = Difference.of(truth, true_held)
        still = true.pixels <= clip.slack
        large = true.absolute.mean(2) > 6
        small = true.mad4() > 12
        one = Score(
            still=int(still.sum()), still_fired=int((still & fired).sum()),
            large=int(large.sum()), large_missed=int((large & ~fired).sum()),
            small=int(small.sum()), small_missed=int((small & ~fired).sum()),
            blocks=fired.size, fired=int(fired.sum()),
        )  # fmt: skip
        if clip.intra[i]:
            one.intra_still, one.intra_fired = one.still, one.still_fired
        if clip.intra[i - 1]:
            one.next_still, one.next_fired = one.still, one.still_fired
        score.add(one)
        pixels = fired.repeat(BLOCK, 0).repeat(BLOCK, 1)
        rows, cols = pixels.shape
        held[:rows, :cols][pixels] = frame[:rows, :cols][pixels]
        true_held[:rows, :cols][pixels] = truth[:rows, :cols][pixels]
    return score


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--skip", type=int, default=60)
    parser.add_argument("--each", action="store_true", help="a table for each clip")
    arguments = parser.parse_args()
    if arguments.clips:
        clips = [real_clip(path, arguments.frames, arguments.skip) for path in arguments.clips]
    else:
        clips = list(made_clips())
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        kind = "clips" if arguments.clips else "raw" if clip.name.startswith("raw") else "encoded"
        groups.setdefault(clip.name if arguments.each else kind, []).append(clip)
    head = "| rule | false % | on I | after I | missed % | small missed % | fired % |"
    for name, members in groups.items():
        print(f"\n{name}\n\n{head}\n|---|---|---|---|---|---|---|")
        for rule in rules():
            score = Score()
            for clip in members:
                score.add(play(rule, clip))
            print(f"| {rule.name} | {' | '.join(score.cells())} |")


if __name__ == "__main__":
    main()
