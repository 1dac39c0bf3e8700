"""A store of drawn backgrounds and sprites that training pictures are put together from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from compose import (
    CAR,
    CLASS_NAMES,
    CYCLIST,
    FACADE_Y,
    HEIGHT,
    KERB_BACK,
    KERB_FRONT,
    VANISHING_Y,
    WIDTH,
    Background,
    Image,
    Label,
    Sprite,
    compose,
    ground_scale,
)


@dataclass
class Bank:
    """by_class: for each class its sprites and the scales (pixels a metre) they were drawn at."""

    backgrounds: list[Background]
    by_class: list[list[tuple[Sprite, float]]]

    def save(self, path: Path) -> None:
        sprites = [item for group in self.by_class for item in group]
        facts = [
            (s.kind, *s.rgba.shape[:2], s.left, s.top, *s.box, s.area, scale)
            for s, scale in sprites
        ]
        np.savez_compressed(
            path,
            images=np.stack([b.image for b in self.backgrounds]),
            fronts=np.stack([b.front for b in self.backgrounds]),
            facts=np.array(facts, np.float64),
            pixels=np.concatenate([s.rgba.reshape(-1) for s, _ in sprites]),
            solid=np.packbits(np.concatenate([s.solid.reshape(-1) for s, _ in sprites])),
        )

    @staticmethod
    def load(path: Path) -> Bank:
        data = np.load(path)
        images, fronts = data["images"], data["fronts"]
        pixels, solid = data["pixels"], np.unpackbits(data["solid"]).astype(bool)
        by_class: list[list[tuple[Sprite, float]]] = [[] for _ in CLASS_NAMES]
        start = 0
        for row in data["facts"]:
            kind, h, w, left, top, *box, area = (int(v) for v in row[:-1])
            count = h * w
            rgba = pixels[4 * start : 4 * (start + count)].reshape(h, w, 4)
            mask = solid[start : start + count].reshape(h, w)
            corners = (box[0], box[1], box[2], box[3])
            sprite = Sprite(kind, rgba, left, top, corners, area, mask)
            by_class[kind].append((sprite, float(row[-1])))
            start += count
        return Bank([Background(i, f) for i, f in zip(images, fronts, strict=True)], by_class)

    def picture(self, rng: np.random.Generator) -> tuple[Image, list[Label]]:
        """A random street with random traffic, at times crowded, at times empty."""
        background = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        placed = []
        busy = rng.choice([4, 9, 16], p=[0.25, 0.5, 0.25])
        weights = rng.dirichlet([2.5, 2.0, 1.5, 1.5])
        group_x = rng.uniform(0, WIDTH)
        for kind in rng.choice(len(CLASS_NAMES), int(rng.integers(0, busy + 1)), p=weights):
            group = self.by_class[kind]
            sprite, scale = group[int(rng.integers(len(group)))]
            natural = scale / ground_scale(VANISHING_Y + 1) + VANISHING_Y
            x = rng.normal(group_x, 60) if rng.random() < 0.25 else rng.uniform(-30, WIDTH + 30)
            placed.append((sprite, int(x), int(natural + rng.normal(0, 8))))
        return compose(background, placed)


def random_ground_y(kind: int, rng: np.random.Generator) -> float:
    """A row where an object of this class may stand, mostly where it belongs."""
    if rng.random() < 0.15:
        return float(rng.uniform(FACADE_Y + 6, HEIGHT))
    if kind == CAR or (kind == CYCLIST and rng.random() < 0.8):
        return float(rng.uniform(KERB_BACK + 8, KERB_FRONT - 4))
    if rng.random() < 0.45:
        return float(rng.uniform(FACADE_Y + 5, KERB_BACK))
    return float(rng.uniform(KERB_FRONT + 4, HEIGHT + 10))
