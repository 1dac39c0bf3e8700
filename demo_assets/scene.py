"""Random static backgrounds: a street with houses, trees and furniture."""

from __future__ import annotations

import math

import cairo
import numpy as np
import numpy.typing as npt
from compose import (
    FACADE_Y,
    HEIGHT,
    KERB_BACK,
    KERB_FRONT,
    WIDTH,
    Background,
    ground_scale,
)
from pen import Color, Context, limb, pixels

WALLS: list[Color] = [
    (0.62, 0.36, 0.28),
    (0.74, 0.66, 0.52),
    (0.56, 0.58, 0.60),
    (0.80, 0.76, 0.70),
    (0.47, 0.33, 0.27),
    (0.62, 0.70, 0.68),
    (0.78, 0.58, 0.42),
    (0.70, 0.50, 0.48),
]
SIGNS: list[Color] = [
    (0.62, 0.14, 0.14),
    (0.12, 0.34, 0.30),
    (0.14, 0.22, 0.42),
    (0.78, 0.56, 0.16),
    (0.30, 0.16, 0.28),
]


def _times(color: Color, factor: float) -> Color:
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def _rect(ctx: Context, x: float, y: float, w: float, h: float, color: Color, a: float = 1) -> None:
    ctx.set_source_rgba(*color, a)
    ctx.rectangle(x, y, w, h)
    ctx.fill()


def _window(
    ctx: Context, rng: np.random.Generator, x: float, y: float, w: float, h: float, trim: Color
) -> None:
    _rect(ctx, x - 2, y - 2, w + 4, h + 4, trim)
    glass = cairo.LinearGradient(x, y, x + w, y + h)
    tone = rng.uniform(0.75, 1.2)
    glass.add_color_stop_rgb(0, 0.42 * tone, 0.52 * tone, 0.60 * tone)
    glass.add_color_stop_rgb(1, 0.16 * tone, 0.20 * tone, 0.26 * tone)
    ctx.set_source(glass)
    ctx.rectangle(x, y, w, h)
    ctx.fill()
    if rng.random() < 0.5:  # curtains
        shade = rng.uniform(0.55, 0.9)
        for side in (x, x + w * 0.72):
            _rect(ctx, side, y, w * 0.28, h, (shade, shade * 0.95, shade * 0.85), 0.85)
    elif rng.random() < 0.4:
        _rect(ctx, x, y, w, h * rng.uniform(0.2, 0.6), (0.8, 0.78, 0.72), 0.8)
    _rect(ctx, x + w / 2 - 0.7, y, 1.4, h, trim)
    _rect(ctx, x, y + h * 0.42, w, 1.4, trim)
    _rect(ctx, x - 3, y + h + 2, w + 6, 2, (0.35, 0.34, 0.33))


def _building(ctx: Context, rng: np.random.Generator, x: float, w: float) -> None:
    top = float(rng.uniform(6, 46))
    wall = WALLS[int(rng.integers(len(WALLS)))]
    ctx.save()
    ctx.rectangle(x, 0, w, FACADE_Y)
    ctx.clip()
    face = cairo.LinearGradient(0, top, 0, FACADE_Y)
    face.add_color_stop_rgb(0, *_times(wall, 1.08))
    face.add_color_stop_rgb(1, *_times(wall, 0.85))
    ctx.set_source(face)
    ctx.rectangle(x, top, w, FACADE_Y - top)
    ctx.fill()
    if rng.random() < 0.65:  # courses of bricks
        for row in range(int((FACADE_Y - top) / 4)):
            y = top + 4 * row
            _rect(ctx, x, y, w, 0.8, _times(wall, 0.72), 0.6)
            for col in range(int(w / 8) + 1):
                cx = x + 8 * col + (row % 2) * 4
                if rng.random() < 0.3:
                    tint = rng.uniform(0.75, 1.15)
                    _rect(ctx, cx, y + 1, 7, 3, _times(wall, tint), 0.7)
                _rect(ctx, cx, y, 0.8, 4, _times(wall, 0.72), 0.6)
    roof = float(rng.uniform(0.2, 0.45))
    _rect(ctx, x, top, w, 5, (roof, roof, roof))
    _rect(ctx, x, top + 5, w, 2, (0.1, 0.1, 0.1), 0.4)
    trim = (0.88, 0.87, 0.84) if rng.random() < 0.6 else (0.25, 0.26, 0.28)
    count = max(1, int(w // rng.uniform(30, 44)))
    pitch = w / count
    ww, wh = pitch * rng.uniform(0.4, 0.58), float(rng.uniform(24, 30))
    y = top + 15
    while y + wh < FACADE_Y - 52:
        for i in range(count):
            _window(ctx, rng, x + pitch * (i + 0.5) - ww / 2, y, ww, wh, trim)
        y += wh + 14
    _ground_floor(ctx, rng, x, w, trim)
    _rect(ctx, x + w - 2, top, 2, FACADE_Y - top, (0, 0, 0), 0.35)
    ctx.restore()


def _ground_floor(ctx: Context, rng: np.random.Generator, x: float, w: float, trim: Color) -> None:
    base = FACADE_Y - 46
    sign = SIGNS[int(rng.integers(len(SIGNS)))]
    if rng.random() < 0.7:  # a shop
        _rect(ctx, x + 4, base, w - 8, 46, _times(sign, 0.55))
        _rect(ctx, x + 4, base, w - 8, 11, sign)
        cursor = x + 14
        while cursor < x + w - 26:  # lettering
            width = rng.uniform(2, 6)
            _rect(ctx, cursor, base + 3, width, 5, (0.93, 0.9, 0.8))
            cursor += width + 1.8
        door = x + 8 + rng.uniform(0, max(1.0, w - 36))
        _window_pane(ctx, rng, x + 9, base + 15, w - 18, 26)
        _rect(ctx, door, base + 14, 18, 32, _times(sign, 0.8))
        _window_pane(ctx, rng, door + 3, base + 17, 12, 20)
        if rng.random() < 0.55:  # striped awning
            n = int(w // 9)
            for i in range(n):
                color = (0.92, 0.9, 0.86) if i % 2 else sign
                ctx.set_source_rgb(*color)
                x0, step = x + 5, (w - 10) / n
                ctx.move_to(x0 + i * step, base + 10)
                ctx.line_to(x0 + (i + 1) * step, base + 10)
                ctx.line_to(x0 + (i + 1) * step, base + 22)
                ctx.arc(x0 + (i + 0.5) * step, base + 22, step / 2, 0, math.pi)
                ctx.close_path()
                ctx.fill()
            _rect(ctx, x + 5, base + 26, w - 10, 4, (0, 0, 0), 0.3)
    else:
        count = max(2, int(w // 38))
        for i in range(count):
            cx = x + w * (i + 0.5) / count
            if i == count // 2:
                _rect(ctx, cx - 11, FACADE_Y - 40, 22, 40, trim)
                _rect(ctx, cx - 9, FACADE_Y - 38, 18, 38, sign)
                _rect(ctx, cx - 6, FACADE_Y - 34, 12, 10, (0.3, 0.38, 0.42))
                _rect(ctx, cx + 4, FACADE_Y - 18, 2, 3, (0.85, 0.75, 0.4))
            else:
                _window(ctx, rng, cx - 9, FACADE_Y - 38, 18, 24, trim)
    _rect(ctx, x, FACADE_Y - 4, w, 4, (0.2, 0.2, 0.2), 0.5)


def _window_pane(
    ctx: Context, rng: np.random.Generator, x: float, y: float, w: float, h: float
) -> None:
    pane = cairo.LinearGradient(x, y, x, y + h)
    pane.add_color_stop_rgb(0, 0.20, 0.24, 0.28)
    pane.add_color_stop_rgb(1, 0.45, 0.44, 0.38)
    ctx.set_source(pane)
    ctx.rectangle(x, y, w, h)
    ctx.fill()
    for _ in range(int(w / 9)):  # goods on show
        height = rng.uniform(3, 10)
        red, green, blue = rng.uniform(0.2, 0.8, 3)
        _rect(
            ctx,
            x + rng.uniform(0, max(1, w - 8)),
            y + h - height,
            rng.uniform(3, 8),
            height,
            (red, green, blue),
            0.7,
        )
    for _ in range(int(w / 40) + 1):
        left = x + rng.uniform(0, w * 0.8)
        ctx.set_source_rgba(1, 1, 1, 0.13)
        ctx.move_to(left, y + h)
        ctx.line_to(left + 8, y + h)
        ctx.line_to(left + 20, y)
        ctx.line_to(left + 12, y)
        ctx.fill()


def _tree(ctx: Context, rng: np.random.Generator, x: float, y: float, size: float) -> None:
    trunk = (0.30, 0.22, 0.16)
    _ground_shadow(ctx, x + 4, y, size * 0.42, size * 0.07)
    ctx.set_source_rgb(*trunk)
    ctx.move_to(x - size * 0.045, y)
    ctx.line_to(x + size * 0.045, y)
    ctx.line_to(x + size * 0.025, y - size * 0.6)
    ctx.line_to(x - size * 0.025, y - size * 0.6)
    ctx.fill()
    for angle in (-0.7, -0.2, 0.4, 0.8):
        limb(
            ctx,
            [
                (x, y - size * 0.45),
                (x + size * 0.3 * math.sin(angle), y - size * (0.45 + 0.3 * math.cos(angle))),
            ],
            size * 0.025,
            trunk,
        )
    hue = rng.uniform(-0.06, 0.1)
    for i in range(420):  # leaves: dark ones first, bright ones last and higher
        level = i / 420
        angle, radius = rng.uniform(0, 2 * math.pi), math.sqrt(rng.random()) * size * 0.36
        cx = x + radius * math.cos(angle) * 1.05 - level * size * 0.03
        cy = y - size * 0.8 + radius * math.sin(angle) * 0.82 - level * size * 0.05
        light = 0.45 + 0.65 * level * rng.uniform(0.6, 1.1) - 0.25 * (cy - y + size * 0.8) / size
        color = (max(0.0, (0.28 + hue) * light), 0.44 * light, 0.17 * light)
        ctx.save()
        ctx.translate(cx, cy)
        ctx.rotate(rng.uniform(0, math.pi))
        ctx.scale(size * rng.uniform(0.025, 0.055), size * 0.025)
        ctx.arc(0, 0, 1, 0, 2 * math.pi)
        ctx.restore()
        ctx.set_source_rgb(*(min(c, 1.0) for c in color))
        ctx.fill()


def _ground_shadow(ctx: Context, x: float, y: float, rx: float, ry: float) -> None:
    ctx.save()
    ctx.translate(x, y)
    ctx.scale(rx, ry)
    shadow = cairo.RadialGradient(0, 0, 0.2, 0, 0, 1)
    shadow.add_color_stop_rgba(0, 0, 0, 0.02, 0.5)
    shadow.add_color_stop_rgba(1, 0, 0, 0.02, 0)
    ctx.set_source(shadow)
    ctx.arc(0, 0, 1, 0, 2 * math.pi)
    ctx.fill()
    ctx.restore()


def _furniture(ctx: Context, rng: np.random.Generator, x: float, y: float) -> None:
    """A bin, letter box, bench, planter, bollards or bicycle stand: none of them a class."""
    s = ground_scale(y)
    what = int(rng.integers(6))
    _ground_shadow(ctx, x + 2, y, s * 0.7, s * 0.14)
    if what == 0:
        _rect(ctx, x - 0.25 * s, y - 0.95 * s, 0.5 * s, 0.95 * s, (0.20, 0.30, 0.24))
        _rect(ctx, x - 0.3 * s, y - 1.05 * s, 0.6 * s, 0.12 * s, (0.12, 0.18, 0.15))
        _rect(ctx, x - 0.15 * s, y - 0.85 * s, 0.3 * s, 0.1 * s, (0.05, 0.05, 0.05))
    elif what == 1:
        color = SIGNS[int(rng.integers(len(SIGNS)))]
        _rect(ctx, x - 0.22 * s, y - 1.3 * s, 0.44 * s, 1.3 * s, color)
        _rect(ctx, x - 0.27 * s, y - 1.42 * s, 0.54 * s, 0.16 * s, _times(color, 0.7))
        _rect(ctx, x - 0.14 * s, y - 1.15 * s, 0.28 * s, 0.06 * s, (0.05, 0.05, 0.05))
    elif what == 2:
        for h in (0.42, 0.62, 0.78):
            _rect(ctx, x - 0.8 * s, y - h * s, 1.6 * s, 0.09 * s, (0.48, 0.32, 0.2))
        for side in (-0.65, 0.6):
            _rect(ctx, x + side * s, y - 0.8 * s, 0.06 * s, 0.8 * s, (0.15, 0.15, 0.16))
    elif what == 3:
        _rect(ctx, x - 0.6 * s, y - 0.5 * s, 1.2 * s, 0.5 * s, (0.52, 0.50, 0.47))
        for _ in range(70):
            tint = rng.uniform(0.5, 1.1)
            flower = rng.random() < 0.15
            leaf = (0.25 * tint, 0.45 * tint, 0.16 * tint)
            ctx.set_source_rgb(*(rng.uniform(0.4, 0.95, 3) if flower else leaf))
            ctx.arc(x + rng.uniform(-0.6, 0.6) * s, y - rng.uniform(0.45, 0.85) * s, 0.07 * s, 0, 7)
            ctx.fill()
    elif what == 4:
        for i in range(3):
            _rect(
                ctx,
                x + (i - 1) * 0.9 * s - 0.06 * s,
                y - 0.8 * s,
                0.13 * s,
                0.8 * s,
                (0.2, 0.2, 0.22),
            )
            _rect(
                ctx,
                x + (i - 1) * 0.9 * s - 0.06 * s,
                y - 0.7 * s,
                0.13 * s,
                0.1 * s,
                (0.9, 0.9, 0.85),
            )
    else:
        for i in range(3):
            left = x + (i - 1.5) * 0.6 * s
            limb(
                ctx,
                [
                    (left, y),
                    (left, y - 0.75 * s),
                    (left + 0.45 * s, y - 0.75 * s),
                    (left + 0.45 * s, y),
                ],
                0.05 * s,
                (0.55, 0.57, 0.6),
            )


def _lamp_post(ctx: Context, x: float, y: float) -> None:
    s = ground_scale(y)
    _ground_shadow(ctx, x + 2, y, s * 0.4, s * 0.1)
    color = (0.14, 0.17, 0.17)
    limb(ctx, [(x, y), (x, y - 5.6 * s)], 0.1 * s, color)
    limb(ctx, [(x, y - 0.1 * s), (x, y - 1.0 * s)], 0.2 * s, color)
    limb(
        ctx,
        [(x, y - 5.6 * s), (x + 0.35 * s, y - 6.0 * s), (x + 0.9 * s, y - 6.0 * s)],
        0.08 * s,
        color,
    )
    limb(
        ctx, [(x + 0.7 * s, y - 5.95 * s), (x + 1.1 * s, y - 5.92 * s)], 0.14 * s, (0.9, 0.88, 0.75)
    )


def _noise(rng: np.random.Generator, cell: int) -> npt.NDArray[np.float32]:
    """Smooth noise of standard deviation about 1, its grains `cell` pixels wide."""
    h, w = HEIGHT // cell + 2, WIDTH // cell + 2
    grid = rng.normal(0, 1, (h, w)).astype(np.float32)
    ys, xs = np.arange(HEIGHT) / cell, np.arange(WIDTH) / cell
    y0, x0 = ys.astype(int), xs.astype(int)
    fy, fx = (ys - y0).astype(np.float32)[:, None], (xs - x0).astype(np.float32)[None]
    top = grid[y0][:, x0] * (1 - fx) + grid[y0][:, x0 + 1] * fx
    bottom = grid[y0 + 1][:, x0] * (1 - fx) + grid[y0 + 1][:, x0 + 1] * fx
    noise: npt.NDArray[np.float32] = (top * (1 - fy) + bottom * fy).astype(np.float32)
    return noise


def _ground(ctx: Context, rng: np.random.Generator) -> None:
    paving = float(rng.uniform(0.52, 0.68))
    warm = float(rng.uniform(-0.03, 0.04))
    road = float(rng.uniform(0.27, 0.4))
    _rect(ctx, 0, FACADE_Y, WIDTH, HEIGHT, (paving + warm, paving, paving - warm))
    for top, bottom in ((FACADE_Y, KERB_BACK), (KERB_FRONT, HEIGHT)):
        ctx.set_source_rgba(0, 0, 0, 0.22)
        ctx.set_line_width(0.9)
        for i in range(-60, 61):  # slab joints run to the vanishing point
            for row, y in enumerate(_slab_rows(top, bottom)[:-1]):
                below = _slab_rows(top, bottom)[row + 1]
                offset = i + 0.5 * (row % 2)
                x0 = WIDTH / 2 + offset * ground_scale(y) * 0.8
                x1 = WIDTH / 2 + offset * ground_scale(below) * 0.8
                ctx.move_to(x0, y)
                ctx.line_to(x1, below)
        for y in _slab_rows(top, bottom):
            ctx.move_to(0, y)
            ctx.line_to(WIDTH, y)
        ctx.stroke()
    _rect(ctx, 0, KERB_BACK, WIDTH, KERB_FRONT - KERB_BACK, (road, road, road * 1.03))
    for y, thick in ((KERB_BACK, 4), (KERB_FRONT - 3, 7)):
        _rect(ctx, 0, y, WIDTH, thick, (0.72, 0.71, 0.69))
        _rect(ctx, 0, y + thick, WIDTH, 2, (0.12, 0.12, 0.12), 0.6)
        for i in range(12):
            x = WIDTH / 2 + (i - 6) * ground_scale(y) * 2.2
            _rect(ctx, x, y, 1, thick, (0.3, 0.3, 0.3), 0.8)
    paint = (0.86, 0.85, 0.8)
    middle = 262 + float(rng.uniform(-3, 3))
    for i in range(-8, 9):
        x = WIDTH / 2 + (i + 0.25) * ground_scale(middle) * 3.2
        _rect(ctx, x, middle, ground_scale(middle) * 1.6, 3, paint, 0.85)
    _rect(ctx, 0, 229, WIDTH, 1.6, paint, 0.6)
    if rng.random() < 0.5:
        _crossing(ctx, float(rng.uniform(120, 520)), paint)
    for _ in range(5):  # repairs and manhole covers
        x, y = float(rng.uniform(0, WIDTH)), float(rng.uniform(236, 300))
        if rng.random() < 0.5:
            _rect(ctx, x, y, rng.uniform(20, 70), rng.uniform(6, 12), (0.1, 0.1, 0.1), 0.25)
        else:
            ctx.save()
            ctx.translate(x, y)
            ctx.scale(13, 5)
            ctx.arc(0, 0, 1, 0, 7)
            ctx.restore()
            ctx.set_source_rgb(0.2, 0.19, 0.18)
            ctx.fill()


def _slab_rows(top: int, bottom: int) -> list[float]:
    rows = [float(top)]
    while rows[-1] < bottom:
        rows.append(min(rows[-1] + 0.22 * ground_scale(rows[-1]), bottom))
    return rows


def _crossing(ctx: Context, x: float, paint: Color) -> None:
    ctx.set_source_rgba(*paint, 0.85)
    for i in range(5):
        points = []
        for y, side in (
            (KERB_BACK + 8, 0),
            (KERB_BACK + 8, 0.5),
            (KERB_FRONT - 6, 0.5),
            (KERB_FRONT - 6, 0),
        ):
            points.append((WIDTH / 2 + ((x - WIDTH / 2) / 32 + i + side) * ground_scale(y), y))
        ctx.move_to(*points[0])
        for point in points[1:]:
            ctx.line_to(*point)
        ctx.close_path()
    ctx.fill()


def make_background(rng: np.random.Generator) -> Background:
    """A street nobody has seen before: sky, houses, trees, pavements, road and furniture."""
    surface = cairo.ImageSurface(cairo.FORMAT_RGB24, WIDTH, HEIGHT)
    ctx = cairo.Context(surface)
    sky = cairo.LinearGradient(0, 0, 0, 60)
    sky.add_color_stop_rgb(0, 0.50, 0.66, 0.84)
    sky.add_color_stop_rgb(1, 0.84, 0.88, 0.90)
    ctx.set_source(sky)
    ctx.paint()
    x = -float(rng.uniform(0, 60))
    while x < WIDTH:
        w = float(rng.uniform(85, 170))
        _building(ctx, rng, x, w)
        x += w
    _ground(ctx, rng)
    for i in range(int(rng.integers(2, 5))):
        _tree(
            ctx, rng, (i + rng.uniform(0.1, 0.9)) * WIDTH / 4, KERB_BACK - 3, rng.uniform(100, 145)
        )
    for _ in range(int(rng.integers(2, 6))):
        _furniture(ctx, rng, rng.uniform(20, WIDTH - 20), FACADE_Y + rng.uniform(6, 14))
    for _ in range(int(rng.integers(0, 3))):
        _furniture(ctx, rng, rng.uniform(20, WIDTH - 20), KERB_FRONT + rng.uniform(10, 22))
    image = pixels(surface)[..., [2, 1, 0]].astype(np.float32)

    front = cairo.ImageSurface(cairo.FORMAT_ARGB32, WIDTH, HEIGHT)
    ctx = cairo.Context(front)
    for _ in range(int(rng.integers(0, 3))):
        _lamp_post(ctx, float(rng.uniform(30, WIDTH - 60)), KERB_FRONT + 10)
    overlay = pixels(front)[..., [2, 1, 0, 3]].copy()

    grain = 1.8 * _noise(rng, 1) + 2.2 * _noise(rng, 3) + 3.0 * _noise(rng, 24)
    strength = np.where(np.arange(HEIGHT) < FACADE_Y, 0.8, 1.25).astype(np.float32)[:, None]
    image += (grain * strength)[..., None]
    light = 1 + 0.05 * _noise(rng, 120)
    image *= light[..., None] * rng.uniform(0.9, 1.08)
    return Background(image.clip(0, 255).astype(np.uint8), overlay)
