"""The demo's clip: one street, a written-down timetable of traffic, coded as H.264."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from actors import draw_sprite, make_actor
from compose import CAR, CYCLIST, DOG, HEIGHT, PERSON, WIDTH, Sprite, compose, ground_scale
from scene import make_background

FPS, FRAMES = 25, 300
NOISE = 1.0  # standard deviation of the sensor's noise, in levels


@dataclass
class Role:
    """An actor and where it is: straight lines between (second, x in pixels), corners eased.

    y: the row it stands on, or (second, y) points. look: seed of its appearance.
    """

    kind: int
    look: int
    y: float | list[tuple[float, float]]
    path: list[tuple[float, float]]
    facing: int = 1  # at the start: 1 right, -1 left
    xs: npt.NDArray[np.float64] = field(init=False)
    ys: npt.NDArray[np.float64] = field(init=False)
    travelled: npt.NDArray[np.float64] = field(init=False)
    speed: npt.NDArray[np.float64] = field(init=False)
    directions: list[int] = field(init=False)

    def __post_init__(self) -> None:
        times = np.arange(FRAMES + 1) / FPS
        rows = self.y if isinstance(self.y, list) else [(0.0, self.y)]
        self.xs, self.ys = _eased(self.path, times), _eased(rows, times)
        steps = np.hypot(np.diff(self.xs), np.diff(self.ys)) / ground_scale(float(self.ys.mean()))
        self.travelled = np.concatenate([[0.0], np.cumsum(steps)])
        self.speed = steps * FPS  # metres a second
        self.directions = []
        facing = self.facing
        for step in np.diff(self.xs):
            if abs(step) > 0.02:
                facing = 1 if step > 0 else -1
            self.directions.append(facing)

    def sprite(self, frame: int) -> tuple[Sprite, int, int]:
        """The drawing for a frame and its ground point in whole pixels."""
        x, y = float(self.xs[frame]), float(self.ys[frame])
        drawn = draw_sprite(
            make_actor(self.kind, np.random.default_rng(self.look)),
            self.kind,
            ground_scale(y),
            distance=float(self.travelled[frame]),
            still=bool(self.speed[frame] < 0.05),
            facing=self.directions[frame],
            dx=x % 1,
            dy=y % 1,
        )
        return drawn, int(x // 1), int(y // 1)


def _eased(
    points: list[tuple[float, float]], times: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    at, value = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    window = np.linspace(-0.35, 0.35, 15)
    return np.mean([np.interp(times + shift, at, value) for shift in window], axis=0)


def timetable() -> list[Role]:
    return [
        # Parked along the far kerb, sitting or waiting: still throughout.
        Role(CAR, 11, 221, [(0, 92)]),
        Role(CAR, 4, 221, [(0, 528)]),
        Role(PERSON, 12, 196, [(0, 216)]),
        Role(PERSON, 14, 198, [(0, 238)]),
        Role(DOG, 4, 337, [(0, 560)], facing=-1),
        Role(PERSON, 26, 334, [(0, 592)]),
        # Cars: one drives through, one stops before the crossing and goes on, one arrives late.
        Role(CAR, 1, 252, [(-0.4, 740), (4.8, -140)]),
        Role(CAR, 10, 296, [(0.8, -140), (3.8, 168), (7.3, 168), (11.6, 800)]),
        Role(CAR, 15, 252, [(10.2, 760), (15.8, -120)]),
        # Cyclists, one of them passing the stopped car.
        Role(CYCLIST, 2, 232, [(1.6, 690), (8.2, -60)]),
        Role(CYCLIST, 7, 308, [(7.4, -60), (13.6, 640)]),
        # People on both pavements, crossing the road, meeting and stopping.
        Role(PERSON, 6, 190, [(-3, -40), (12, 330)]),
        Role(PERSON, 27, 201, [(0.5, 670), (12.5, 400)]),
        Role(
            PERSON,
            65,
            [(4.1, 326), (7.1, 203), (7.2, 199)],
            [(0, 560), (4.0, 424), (4.2, 418), (7.1, 342), (7.3, 340), (12.5, 440)],
        ),
        Role(PERSON, 77, 352, [(-1, 60), (4.4, 238), (8.4, 238), (12.5, 420)]),
        Role(PERSON, 83, 366, [(-2.5, 560), (4.2, 296), (8.0, 296), (12.5, 90)]),
        # A dog and its walker.
        Role(PERSON, 92, 344, [(3.6, 720), (12.5, 330)]),
        Role(DOG, 11, 350, [(3.6, 668), (12.5, 278)]),
    ]


def render(video: Path, truth: Path, seed: int, crf: int) -> float:
    """Writes the clip and, for each frame, what is in it: [class, x0, y0, x1, y1, seen].

    Returns the mean share of pixels that differ by over 10 levels from the frame before.
    """
    rng = np.random.default_rng(seed)
    background = make_background(rng)
    roles = timetable()
    command = [
        "ffmpeg",
        "-y",
        "-loglevel",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{WIDTH}x{HEIGHT}",
        "-r",
        str(FPS),
        "-i",
        "-",
        "-c:v",
        "libx264",
        "-preset",
        "slow",
        "-crf",
        str(crf),
        "-g",
        "100",
        "-threads",
        "1",
        "-vf",
        "scale=out_color_matrix=bt709:out_range=tv",
        "-colorspace",
        "bt709",
        "-color_primaries",
        "bt709",
        "-color_trc",
        "bt709",
        "-pix_fmt",
        "yuv420p",
        "-movflags",
        "+faststart",
        "-fflags",
        "+bitexact",
        "-flags:v",
        "+bitexact",
        str(video),
    ]
    coder = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert coder.stdin is not None
    rows = []
    for frame in range(FRAMES):
        picture, labels = compose(background, [role.sprite(frame) for role in roles])
        noise = rng.normal(0, NOISE, (HEIGHT, WIDTH, 1))
        coder.stdin.write((picture + noise).round().clip(0, 255).astype(np.uint8).tobytes())
        rows.append([[label.kind, *label.box, round(label.seen, 3)] for label in labels])
    coder.stdin.close()
    if coder.wait() != 0:
        raise RuntimeError("ffmpeg failed")
    truth.write_text(json.dumps(rows))
    frames = read_frames(video).astype(np.int16)
    changed = [
        (np.abs(b - a).max(-1) > 10).mean() for a, b in zip(frames[:-1], frames[1:], strict=True)
    ]
    return float(np.mean(changed))


def read_frames(video: Path) -> npt.NDArray[np.uint8]:
    """All frames, [count, height, width, 3] RGB."""
    command = [
        "ffmpeg",
        "-loglevel",
        "error",
        "-i",
        str(video),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)
