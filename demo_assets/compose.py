"""Putting sprites on a street, and the truth about what is seen. Needs numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CLASS_NAMES = ["person", "car", "cyclist", "dog"]
PERSON, CAR, CYCLIST, DOG = range(4)
WIDTH, HEIGHT = 640, 384
FACADE_Y, KERB_BACK, KERB_FRONT = 178, 206, 312
VANISHING_Y = 30.0

Image = npt.NDArray[np.uint8]


def ground_scale(y: float) -> float:
    """Pixels a metre for something that stands at row `y`."""
    return 0.158 * (y - VANISHING_Y)


@dataclass
class Background:
    """image: [h, w, 3] RGB; front: [h, w, 4] premultiplied, what hides actors (lamp posts)."""

    image: Image
    front: Image


@dataclass
class Sprite:
    """A drawn object with its shadow.

    rgba: [h, w, 4] uint8, colour premultiplied by alpha. (left, top): where the sprite's corner
    lies relative to the whole pixel that holds the object's ground point. box: x0, y0, x1, y1 of
    the object without its shadow, in sprite pixels. solid: the object's pixels; area: their count.
    """

    kind: int
    rgba: npt.NDArray[np.uint8]
    left: int
    top: int
    box: tuple[int, int, int, int]
    area: int
    solid: npt.NDArray[np.bool_]


def blend(frame: Image, rgba: Image, x: int, y: int) -> tuple[slice, slice, slice, slice] | None:
    """Puts `rgba` (premultiplied) on `frame` with its corner at (x, y).

    Returns the rows and columns it covers in the frame, then in the sprite; None if outside.
    """
    h, w = rgba.shape[:2]
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + w, frame.shape[1]), min(y + h, frame.shape[0])
    if x0 >= x1 or y0 >= y1:
        return None
    rows, cols = slice(y0, y1), slice(x0, x1)
    from_rows, from_cols = slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)
    part = rgba[from_rows, from_cols]
    keep = 255 - part[..., 3:].astype(np.uint16)
    frame[rows, cols] = part[..., :3] + ((frame[rows, cols] * keep + 127) // 255).astype(np.uint8)
    return rows, cols, from_rows, from_cols


@dataclass
class Label:
    """kind: class index; box: x0, y0, x1, y1 in frame pixels; seen: visible share of the object."""

    kind: int
    box: tuple[int, int, int, int]
    seen: float


def compose(
    background: Background, placed: list[tuple[Sprite, int, int]]
) -> tuple[Image, list[Label]]:
    """Draws sprites, given with their ground points, far ones first; returns frame and labels."""
    frame = background.image.copy()
    owner = np.full((HEIGHT, WIDTH), -1, np.int16)
    placed = sorted(placed, key=lambda item: item[2])
    for index, (sprite, x, y) in enumerate(placed):
        area = blend(frame, sprite.rgba, x + sprite.left, y + sprite.top)
        if area is not None:
            owner[area[0], area[1]][sprite.solid[area[2], area[3]]] = index
    blend(frame, background.front, 0, 0)
    owner[background.front[..., 3] > 128] = -1
    visible = np.bincount(owner[owner >= 0], minlength=len(placed))
    labels = []
    for index, (sprite, x, y) in enumerate(placed):
        left, top = x + sprite.left, y + sprite.top
        box = (
            max(left + sprite.box[0], 0),
            max(top + sprite.box[1], 0),
            min(left + sprite.box[2], WIDTH),
            min(top + sprite.box[3], HEIGHT),
        )
        if visible[index] > 0 and box[2] > box[0] and box[3] > box[1]:
            labels.append(Label(sprite.kind, box, visible[index] / sprite.area))
    return frame, labels
