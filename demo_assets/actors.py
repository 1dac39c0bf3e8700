"""Vector drawings of the four object classes, in metres, with the ground at y = 0 and y up."""

from __future__ import annotations

import math
from typing import Any

import cairo
import numpy as np
from compose import Sprite
from pen import Color, Context, disc, ellipse, limb, pick, pixels, shade, vertical

SKIN: list[Color] = [(0.94, 0.78, 0.66), (0.80, 0.60, 0.46), (0.55, 0.37, 0.27), (0.38, 0.25, 0.18)]
HAIR: list[Color] = [(0.12, 0.09, 0.08), (0.35, 0.21, 0.11), (0.72, 0.55, 0.28), (0.55, 0.54, 0.53)]
FUR: list[Color] = [(0.45, 0.28, 0.14), (0.15, 0.13, 0.12), (0.83, 0.69, 0.46), (0.88, 0.85, 0.80)]
PAINT: list[Color] = [
    (0.72, 0.12, 0.12),
    (0.13, 0.27, 0.55),
    (0.86, 0.87, 0.88),
    (0.16, 0.17, 0.19),
    (0.55, 0.58, 0.61),
    (0.88, 0.66, 0.14),
    (0.15, 0.42, 0.35),
    (0.40, 0.60, 0.76),
    (0.56, 0.30, 0.16),
]
CLOTH: list[Color] = [
    (0.80, 0.22, 0.18),
    (0.16, 0.30, 0.58),
    (0.90, 0.74, 0.24),
    (0.20, 0.48, 0.36),
    (0.24, 0.24, 0.27),
    (0.86, 0.85, 0.82),
    (0.55, 0.30, 0.50),
    (0.88, 0.48, 0.20),
    (0.36, 0.56, 0.68),
]
TROUSERS: list[Color] = [
    (0.15, 0.19, 0.32),
    (0.12, 0.12, 0.13),
    (0.46, 0.40, 0.31),
    (0.33, 0.35, 0.38),
    (0.25, 0.34, 0.50),
]


def _knee(hip: tuple[float, float], foot: tuple[float, float], bend: float) -> tuple[float, float]:
    return ((hip[0] + foot[0]) / 2 + bend, (hip[1] + foot[1]) / 2 + 0.02)


class Person:
    """A pedestrian seen from the side when walking, from the front when standing."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.height = float(rng.uniform(1.55, 1.9))
        self.skin, self.hair = pick(rng, SKIN), pick(rng, HAIR)
        self.top, self.bottom = pick(rng, CLOTH), pick(rng, TROUSERS)
        self.shoe = pick(rng, [(0.1, 0.1, 0.1), (0.85, 0.85, 0.85), (0.4, 0.25, 0.15)])
        self.girth = float(rng.uniform(0.88, 1.2))
        self.bag = int(rng.integers(4))  # 0 backpack, 1 hand bag, else none
        self.bag_color = pick(rng, CLOTH)
        self.skirt = bool(rng.random() < 0.25)
        self.long_hair = bool(rng.random() < 0.4)
        self.hat = bool(rng.random() < 0.2)
        self.stripe = bool(rng.random() < 0.3)

    length = 0.45

    def draw(self, ctx: Context, distance: float, still: bool) -> None:
        ctx.save()
        unit = self.height / 1.75
        ctx.scale(unit, unit)
        swing = 0.0 if still else math.sin(distance * 2 * math.pi / 1.45)
        lift = 0.0 if still else abs(math.cos(distance * 2 * math.pi / 1.45))
        ctx.translate(0, 0.02 * lift)
        spread = 0.09 if still else 0.0
        hip = (0.0, 0.86)
        for sign, dark in ((-1, 0.72), (1, 1.0)):
            foot = (sign * (spread + 0.30 * swing), 0.07 + (0.09 * lift if sign * swing < 0 else 0))
            start = (hip[0] + sign * spread * 0.8, hip[1])
            knee = _knee(start, foot, 0.0 if still else 0.06)
            limb(ctx, [start, knee, foot], 0.145 * self.girth, shade(self.bottom, dark))
            toe = (foot[0] + (sign * 0.03 if still else 0.11), foot[1] - 0.03)
            limb(ctx, [(foot[0], foot[1] - 0.03), toe], 0.09, self.shoe)
        shoulder = (0.0, 1.38)
        half = (0.2 if still else 0.145) * self.girth
        if self.bag == 0 and not still:
            limb(ctx, [(-0.2, 1.05), (-0.2, 1.32)], 0.2, self.bag_color)
        reach = 0.0 if still else 0.26 * swing
        for sign in (-1, 1):
            if still:
                arm = [
                    (sign * half * 0.95, 1.36),
                    (sign * (half + 0.06), 1.1),
                    (sign * (half + 0.05), 0.86),
                ]
            else:
                arm = [shoulder, (-sign * reach * 0.6 - 0.02, 1.12), (-sign * reach + 0.06, 0.92)]
            if sign < 0:
                self._arm(ctx, arm, 0.78)
        ctx.move_to(-half, 0.84)
        ctx.line_to(half, 0.84)
        ctx.curve_to(half * 1.1, 1.1, half * 1.15, 1.3, half * 0.75, 1.44)
        ctx.curve_to(half * 0.3, 1.48, -half * 0.3, 1.48, -half * 0.75, 1.44)
        ctx.curve_to(-half * 1.15, 1.3, -half * 1.1, 1.1, -half, 0.84)
        ctx.set_source(vertical(self.top, 0.84, 1.46, 0.7, 1.15))
        ctx.fill()
        if self.stripe:
            limb(ctx, [(-half * 0.9, 1.18), (half * 0.9, 1.18)], 0.06, shade(self.top, 1.6))
        if self.skirt:
            ctx.move_to(-half, 0.95)
            ctx.line_to(half, 0.95)
            ctx.line_to(half * 1.55, 0.5)
            ctx.line_to(-half * 1.55, 0.5)
            ctx.close_path()
            ctx.set_source(vertical(self.bottom, 0.5, 0.95, 0.75, 1.2))
            ctx.fill()
        if still:
            self._arm(ctx, [(half * 0.95, 1.36), (half + 0.06, 1.1), (half + 0.05, 0.86)], 1.0)
        else:
            self._arm(ctx, [shoulder, (-reach * 0.6 - 0.02, 1.12), (-reach + 0.06, 0.92)], 0.92)
        if self.bag == 1:
            x = half + 0.07 if still else -reach + 0.06
            ctx.set_source_rgb(*self.bag_color)
            ctx.rectangle(x - 0.12, 0.55, 0.24, 0.24)
            ctx.fill()
            limb(ctx, [(x - 0.06, 0.79), (x, 0.9), (x + 0.06, 0.79)], 0.03, self.bag_color)
        limb(ctx, [(0, 1.4), (0.01, 1.52)], 0.1, shade(self.skin, 0.85))
        if self.long_hair:
            ellipse(ctx, -0.04, 1.57, 0.13, 0.19, self.hair)
        ellipse(ctx, 0.015, 1.62, 0.105, 0.13, self.skin)
        ctx.save()
        ctx.rectangle(-0.3, 1.635 if still else 1.6, 0.6 if still else 0.31, 0.3)
        ctx.rectangle(-0.3, 1.67, 0.6, 0.3)
        ctx.clip()
        ellipse(ctx, 0.0, 1.635, 0.122, 0.135, self.hair)
        ctx.restore()
        if self.hat:
            ellipse(ctx, 0.0, 1.72, 0.12, 0.06, self.bag_color)
            limb(ctx, [(0.0, 1.69), (0.17, 1.69)], 0.035, self.bag_color)
        ctx.restore()

    def _arm(self, ctx: Context, arm: list[tuple[float, float]], dark: float) -> None:
        limb(ctx, arm, 0.105 * self.girth, shade(self.top, dark * 0.85))
        disc(ctx, arm[-1][0], arm[-1][1] - 0.03, 0.055, shade(self.skin, dark))


class Car:
    """A hatchback, a saloon or a van from the side."""

    # Roof line from the rear bumper to the front one (metres), then the windows.
    shapes: list[dict[str, Any]] = [
        {
            "length": 3.9,
            "front": 3.05,
            "rear": 0.8,
            "roof": [
                (0.0, 0.5),
                (0.03, 0.95),
                (0.22, 1.4),
                (0.6, 1.48),
                (1.9, 1.5),
                (2.35, 1.42),
                (2.95, 1.02),
                (3.65, 0.9),
                (3.88, 0.72),
                (3.9, 0.42),
            ],
            "windows": [
                [(0.42, 1.0), (0.55, 1.38), (1.45, 1.42), (1.45, 1.0)],
                [(1.55, 1.0), (1.55, 1.42), (2.2, 1.38), (2.72, 1.0)],
            ],
        },
        {
            "length": 4.5,
            "front": 3.6,
            "rear": 0.9,
            "roof": [
                (0.0, 0.5),
                (0.03, 0.9),
                (0.3, 1.0),
                (0.85, 1.06),
                (1.3, 1.38),
                (1.6, 1.45),
                (2.4, 1.45),
                (2.75, 1.36),
                (3.35, 1.0),
                (4.2, 0.85),
                (4.47, 0.7),
                (4.5, 0.42),
            ],
            "windows": [
                [(1.02, 1.02), (1.4, 1.34), (1.95, 1.38), (1.95, 1.02)],
                [(2.05, 1.02), (2.05, 1.38), (2.6, 1.33), (3.1, 1.02)],
            ],
        },
        {
            "length": 4.6,
            "front": 3.75,
            "rear": 0.9,
            "roof": [
                (0.0, 0.5),
                (0.0, 1.0),
                (0.06, 1.8),
                (0.2, 1.9),
                (2.9, 1.92),
                (3.2, 1.84),
                (3.85, 1.2),
                (4.45, 1.0),
                (4.58, 0.8),
                (4.6, 0.42),
            ],
            "windows": [[(2.35, 1.15), (2.35, 1.7), (2.95, 1.7), (3.55, 1.15)]],
        },
    ]

    def __init__(self, rng: np.random.Generator) -> None:
        self.shape = self.shapes[int(rng.choice(3, p=[0.45, 0.37, 0.18]))]
        self.length = float(self.shape["length"])
        self.stretch = float(rng.uniform(0.93, 1.06))
        self.paint = pick(rng, PAINT)
        self.spokes = int(rng.integers(5, 9))
        self.decal = bool(rng.random() < 0.6)
        self.decal_color = pick(rng, CLOTH)
        self.rim = pick(rng, [(0.75, 0.76, 0.78), (0.5, 0.5, 0.52), (0.25, 0.25, 0.27)])
        self.driver = pick(rng, SKIN)

    def draw(self, ctx: Context, distance: float, still: bool) -> None:
        shape = self.shape
        ctx.save()
        ctx.scale(1.0, self.stretch)
        ctx.translate(-self.length / 2, 0)
        ctx.set_line_join(cairo.LINE_JOIN_ROUND)
        self._body_path(ctx)
        ctx.set_source(vertical(self.paint, 0.25, 1.5, 0.5, 1.28))
        ctx.fill_preserve()
        ctx.set_source_rgb(*shade(self.paint, 0.45))
        ctx.set_line_width(0.035)
        ctx.stroke()
        self._body_path(ctx)
        ctx.save()
        ctx.clip()
        ctx.set_source_rgb(0.1, 0.1, 0.11)
        ctx.rectangle(0, 0.2, self.length, 0.17)
        ctx.fill()
        ctx.set_source_rgba(1, 1, 1, 0.22)
        ctx.rectangle(0, 0.84, self.length, 0.04)
        ctx.fill()
        self._lamp(ctx, self.length - 0.16, 0.68, (0.97, 0.95, 0.82))
        self._lamp(ctx, 0.1, 0.8, (0.75, 0.06, 0.06))
        ctx.restore()
        for window in shape["windows"]:
            self._window(ctx, window, still)
        ctx.set_source_rgba(*shade(self.paint, 0.45), 0.9)
        ctx.set_line_width(0.03)
        for x in (
            shape["windows"][0][0][0] + 0.1,
            shape["windows"][-1][0][0] - 0.05,
            shape["windows"][-1][3][0] - 0.08,
        ):
            ctx.move_to(x, 0.98)
            ctx.line_to(x, 0.4)
            ctx.stroke()
            ctx.rectangle(x + 0.08, 0.86, 0.18, 0.035)
            ctx.fill()
        if len(shape["windows"]) == 1 and self.decal:
            ctx.set_source_rgb(*self.decal_color)
            ctx.rectangle(0.35, 0.95, 1.7, 0.55)
            ctx.fill()
            limb(ctx, [(0.6, 1.22), (1.8, 1.22)], 0.1, shade(self.decal_color, 1.7))
        for x in (shape["rear"], shape["front"]):
            self._wheel(ctx, x, distance)
        ctx.restore()

    def _body_path(self, ctx: Context) -> None:
        roof = self.shape["roof"]
        ctx.move_to(0.05, 0.25)
        previous = roof[0]
        ctx.line_to(*previous)
        for i in range(1, len(roof) - 1):  # through the middles, corners as control points
            middle = ((roof[i][0] + roof[i + 1][0]) / 2, (roof[i][1] + roof[i + 1][1]) / 2)
            start = ctx.get_current_point()
            corner = roof[i]
            ctx.curve_to(
                start[0] + 0.75 * (corner[0] - start[0]),
                start[1] + 0.75 * (corner[1] - start[1]),
                middle[0] + 0.75 * (corner[0] - middle[0]),
                middle[1] + 0.75 * (corner[1] - middle[1]),
                *middle,
            )
        ctx.line_to(*roof[-1])
        ctx.line_to(self.length - 0.06, 0.25)
        ctx.close_path()

    def _lamp(self, ctx: Context, x: float, y: float, color: Color) -> None:
        ellipse(ctx, x, y, 0.19, 0.1, shade(color, 0.7))
        ellipse(ctx, x, y + 0.01, 0.14, 0.07, color)

    def _window(self, ctx: Context, points: list[tuple[float, float]], still: bool) -> None:
        ctx.move_to(*points[0])
        for point in points[1:]:
            ctx.line_to(*point)
        ctx.close_path()
        glass = cairo.LinearGradient(0, 1.0, 0, 1.6)
        glass.add_color_stop_rgb(0, 0.1, 0.13, 0.17)
        glass.add_color_stop_rgb(1, 0.42, 0.52, 0.6)
        ctx.set_source(glass)
        ctx.fill_preserve()
        ctx.save()
        ctx.clip()
        if not still and points is self.shape["windows"][-1]:
            ellipse(
                ctx, points[0][0] + 0.38, points[0][1] + 0.2, 0.11, 0.14, shade(self.driver, 0.6)
            )
        ctx.set_source_rgba(1, 1, 1, 0.25)
        x = points[0][0] + 0.25
        ctx.move_to(x, 0.9)
        ctx.line_to(x + 0.12, 0.9)
        ctx.line_to(x + 0.5, 1.9)
        ctx.line_to(x + 0.38, 1.9)
        ctx.fill()
        ctx.restore()

    def _wheel(self, ctx: Context, x: float, distance: float) -> None:
        disc(ctx, x, 0.34, 0.41, (0.05, 0.05, 0.06))
        disc(ctx, x, 0.33, 0.33, (0.13, 0.13, 0.14))
        disc(ctx, x, 0.33, 0.21, self.rim)
        angle = -distance / 0.33
        for i in range(self.spokes):
            a = angle + 2 * math.pi * i / self.spokes
            limb(
                ctx,
                [(x, 0.33), (x + 0.18 * math.cos(a), 0.33 + 0.18 * math.sin(a))],
                0.03,
                shade(self.rim, 0.45),
            )
        disc(ctx, x, 0.33, 0.05, shade(self.rim, 0.7))


class Cyclist:
    """A rider on a bicycle from the side; with one foot on the ground when standing."""

    length = 1.8

    def __init__(self, rng: np.random.Generator) -> None:
        self.frame = pick(rng, PAINT)
        self.skin, self.hair = pick(rng, SKIN), pick(rng, HAIR)
        self.top, self.bottom = pick(rng, CLOTH), pick(rng, TROUSERS)
        self.helmet = bool(rng.random() < 0.6)
        self.helmet_color = pick(rng, CLOTH)
        self.lean = float(rng.uniform(0.12, 0.34))
        self.basket = bool(rng.random() < 0.3)

    def draw(self, ctx: Context, distance: float, still: bool) -> None:
        crank, saddle = (-0.08, 0.32), (-0.28, 0.98)
        bar, rear, front = (0.42, 1.06), (-0.55, 0.35), (0.57, 0.35)
        angle = -distance / 0.9
        hip = (-0.24, 1.02)
        feet = []
        for offset in (math.pi, 0.0):
            feet.append(
                (
                    crank[0] + 0.17 * math.cos(angle + offset),
                    crank[1] + 0.17 * math.sin(angle + offset),
                )
            )
        if still:
            feet = [(0.05, 0.06), (0.09, 0.32)]
        self._leg(ctx, hip, feet[0], 0.7)
        for x, y in (rear, front):
            ctx.set_line_width(0.055)
            ctx.set_source_rgb(0.09, 0.09, 0.1)
            ctx.arc(x, y, 0.33, 0, 2 * math.pi)
            ctx.stroke()
            for i in range(8):
                a = -distance / 0.35 + math.pi * i / 4
                limb(
                    ctx,
                    [(x, y), (x + 0.3 * math.cos(a), y + 0.3 * math.sin(a))],
                    0.012,
                    (0.6, 0.6, 0.62),
                )
        neck = (0.36, 0.88)
        for line in ([rear, crank, neck, saddle, crank], [saddle, rear], [bar, neck, front]):
            limb(ctx, line, 0.055, self.frame)
        limb(ctx, [(-0.4, 1.0), (-0.18, 1.0)], 0.07, (0.1, 0.1, 0.1))
        limb(ctx, [(0.36, 1.1), (0.5, 1.08)], 0.05, (0.1, 0.1, 0.1))
        if self.basket:
            ctx.set_source_rgb(0.45, 0.32, 0.2)
            ctx.rectangle(0.48, 0.82, 0.26, 0.22)
            ctx.fill()
        self._leg(ctx, hip, feet[1], 1.0)
        shoulder = (hip[0] + self.lean + 0.04, 1.52)
        limb(ctx, [hip, shoulder], 0.25, self.top)
        limb(
            ctx,
            [(hip[0] - 0.05, hip[1] + 0.05), (shoulder[0] - 0.07, shoulder[1])],
            0.08,
            shade(self.top, 0.75),
        )
        elbow = ((shoulder[0] + bar[0]) / 2 + 0.02, (shoulder[1] + bar[1]) / 2 - 0.08)
        limb(ctx, [shoulder, elbow, bar], 0.09, shade(self.top, 0.85))
        disc(ctx, *bar, 0.055, self.skin)
        head = (shoulder[0] + 0.1, shoulder[1] + 0.22)
        limb(ctx, [shoulder, head], 0.09, shade(self.skin, 0.85))
        ellipse(ctx, *head, 0.105, 0.125, self.skin)
        ctx.save()
        ctx.rectangle(head[0] - 0.3, head[1] + 0.02, 0.6, 0.4)
        ctx.clip()
        cap = self.helmet_color if self.helmet else self.hair
        ellipse(ctx, head[0] - 0.01, head[1] + 0.01, 0.145 if self.helmet else 0.12, 0.15, cap)
        ctx.restore()

    def _leg(
        self, ctx: Context, hip: tuple[float, float], foot: tuple[float, float], dark: float
    ) -> None:
        knee = ((hip[0] + foot[0]) / 2 + 0.2, (hip[1] + foot[1]) / 2 + 0.1)
        limb(ctx, [hip, knee, foot], 0.12, shade(self.bottom, dark))
        limb(ctx, [foot, (foot[0] + 0.12, foot[1] - 0.02)], 0.08, (0.12, 0.12, 0.12))


class Dog:
    """A dog from the side; sitting when it is still."""

    length = 1.0

    def __init__(self, rng: np.random.Generator) -> None:
        self.fur = pick(rng, FUR)
        self.second = pick(rng, FUR)
        self.size = float(rng.uniform(0.85, 1.2))
        self.patch = bool(rng.random() < 0.5)
        self.collar = pick(rng, CLOTH)
        self.floppy = bool(rng.random() < 0.5)
        self.body = float(rng.uniform(0.11, 0.15))

    def draw(self, ctx: Context, distance: float, still: bool) -> None:
        ctx.save()
        ctx.scale(self.size, self.size)
        gait = distance / self.size * 2 * math.pi / 0.8
        dark = shade(self.fur, 0.68)
        if still:
            chest, rump = (0.16, 0.52), (-0.16, 0.2)
            limb(ctx, [(-0.2, 0.13), (-0.45, 0.07), (-0.55, 0.14)], 0.06, dark)
            limb(ctx, [(0.12, 0.45), (0.1, 0.05)], 0.08, dark)
        else:
            chest, rump = (0.24, 0.52), (-0.27, 0.52)
            wag = 0.06 * math.sin(gait * 1.5)
            limb(ctx, [(-0.34, 0.56), (-0.5, 0.66 + wag), (-0.56, 0.8 + wag)], 0.055, self.fur)
            for x, offset in ((0.22, 0.0), (-0.3, 2.2)):
                self._leg(ctx, x, math.sin(gait + offset), dark)
        limb(ctx, [rump, chest], 2 * self.body, self.fur)
        if self.patch:
            middle = ((rump[0] + chest[0]) / 2, (rump[1] + chest[1]) / 2 + 0.05)
            ellipse(ctx, *middle, 0.15, 0.08, self.second)
        if still:
            ellipse(ctx, -0.14, 0.17, 0.18, 0.16, self.fur)
            limb(ctx, [(-0.1, 0.06), (0.04, 0.05)], 0.09, shade(self.fur, 0.85))
            limb(ctx, [(0.2, 0.45), (0.2, 0.05), (0.25, 0.05)], 0.085, self.fur)
        else:
            for x, offset in ((0.28, 2.9), (-0.24, 5.1)):
                self._leg(ctx, x, math.sin(gait + offset), self.fur)
        head = (chest[0] + 0.2, chest[1] + 0.24)
        limb(ctx, [chest, (head[0] - 0.04, head[1])], 0.17, self.fur)
        limb(
            ctx,
            [(chest[0] + 0.05, chest[1] + 0.17), (chest[0] + 0.18, chest[1] + 0.06)],
            0.045,
            self.collar,
        )
        ellipse(ctx, *head, 0.125, 0.11, self.fur)
        limb(
            ctx,
            [(head[0] + 0.06, head[1] - 0.03), (head[0] + 0.19, head[1] - 0.05)],
            0.1,
            shade(self.fur, 0.9),
        )
        disc(ctx, head[0] + 0.23, head[1] - 0.03, 0.032, (0.06, 0.05, 0.05))
        disc(ctx, head[0] + 0.05, head[1] + 0.03, 0.02, (0.05, 0.04, 0.04))
        if self.floppy:
            limb(
                ctx,
                [(head[0] - 0.05, head[1] + 0.07), (head[0] - 0.11, head[1] - 0.1)],
                0.08,
                shade(self.second, 0.7),
            )
        else:
            ctx.move_to(head[0] - 0.12, head[1] + 0.04)
            ctx.line_to(head[0] - 0.09, head[1] + 0.22)
            ctx.line_to(head[0] + 0.01, head[1] + 0.08)
            ctx.set_source_rgb(*dark)
            ctx.fill()
        ctx.restore()

    def _leg(self, ctx: Context, x: float, swing: float, color: Color) -> None:
        foot = (x + 0.14 * swing, 0.04 + 0.04 * max(0.0, -swing))
        limb(ctx, [(x, 0.5), (x - 0.03 + 0.05 * swing, 0.27), foot], 0.085, color)
        limb(ctx, [foot, (foot[0] + 0.05, foot[1])], 0.07, color)


Actor = Person | Car | Cyclist | Dog


def make_actor(kind: int, rng: np.random.Generator) -> Actor:
    """A random individual of class `kind`."""
    return (Person, Car, Cyclist, Dog)[kind](rng)


def draw_sprite(
    actor: Actor,
    kind: int,
    scale: float,
    *,
    distance: float = 0.0,
    still: bool = False,
    facing: int = 1,
    dx: float = 0.0,
    dy: float = 0.0,
) -> Sprite:
    """Draws `actor` at `scale` pixels a metre.

    distance: metres travelled, which moves legs and wheels. facing: 1 right, -1 left. (dx, dy): the
    part of the ground point's position that is below a pixel.
    """
    left = int(math.ceil(scale * (actor.length / 2 + 0.45))) + 2
    above, below = int(math.ceil(scale * 2.25)) + 2, int(math.ceil(scale * 0.3)) + 2
    width, height = 2 * left, above + below
    layer = cairo.ImageSurface(cairo.FORMAT_ARGB32, width, height)
    ctx = cairo.Context(layer)
    ctx.translate(left + dx, above + dy)
    ctx.scale(scale * facing, -scale)
    actor.draw(ctx, distance, still)
    alpha = pixels(layer)[..., 3]
    solid = alpha > 100
    ys, xs = np.nonzero(solid)
    box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)

    whole = cairo.ImageSurface(cairo.FORMAT_ARGB32, width, height)
    ctx = cairo.Context(whole)
    ctx.translate(left + dx + 0.1 * scale, above + dy)
    ctx.scale(scale * (actor.length / 2 + 0.22), scale * 0.19)
    shadow = cairo.RadialGradient(0, 0, 0.3, 0, 0, 1)
    shadow.add_color_stop_rgba(0, 0, 0, 0.02, 0.55)
    shadow.add_color_stop_rgba(1, 0, 0, 0.02, 0)
    ctx.set_source(shadow)
    ctx.arc(0, 0, 1, 0, 2 * math.pi)
    ctx.fill()
    ctx.identity_matrix()
    ctx.set_source_surface(layer, 0, 0)
    ctx.paint()
    rgba = pixels(whole)[..., [2, 1, 0, 3]].copy()
    return Sprite(kind, rgba, -left, -above, box, int(solid.sum()), solid)
