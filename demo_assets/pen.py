"""Cairo's drawing steps that the actors and the street share."""

from __future__ import annotations

import math
from typing import Any

import cairo
import numpy as np
import numpy.typing as npt

Color = tuple[float, float, float]
Context = Any  # cairo.Context is generic in some stub versions and not in others


def pick(rng: np.random.Generator, colors: list[Color]) -> Color:
    base = colors[int(rng.integers(len(colors)))]
    red, green, blue = np.clip(np.array(base) + rng.normal(0, 0.03, 3), 0.03, 0.97)
    return (float(red), float(green), float(blue))


def shade(color: Color, factor: float) -> Color:
    if factor <= 1:
        return (color[0] * factor, color[1] * factor, color[2] * factor)
    red, green, blue = (c + (1 - c) * (factor - 1) for c in color)
    return (red, green, blue)


def limb(ctx: Context, points: list[tuple[float, float]], width: float, color: Color) -> None:
    ctx.set_line_cap(cairo.LINE_CAP_ROUND)
    ctx.set_line_join(cairo.LINE_JOIN_ROUND)
    ctx.set_line_width(width)
    ctx.set_source_rgb(*color)
    ctx.move_to(*points[0])
    for point in points[1:]:
        ctx.line_to(*point)
    ctx.stroke()


def disc(ctx: Context, x: float, y: float, radius: float, color: Color) -> None:
    ctx.set_source_rgb(*color)
    ctx.arc(x, y, radius, 0, 2 * math.pi)
    ctx.fill()


def ellipse(ctx: Context, x: float, y: float, rx: float, ry: float, color: Color) -> None:
    ctx.save()
    ctx.translate(x, y)
    ctx.scale(rx, ry)
    ctx.arc(0, 0, 1, 0, 2 * math.pi)
    ctx.restore()
    ctx.set_source_rgb(*color)
    ctx.fill()


def vertical(color: Color, low: float, high: float, dark: float, light: float) -> Any:
    gradient = cairo.LinearGradient(0, low, 0, high)
    gradient.add_color_stop_rgb(0, *shade(color, dark))
    gradient.add_color_stop_rgb(0.55, *color)
    gradient.add_color_stop_rgb(1, *shade(color, light))
    return gradient


def pixels(surface: cairo.ImageSurface) -> npt.NDArray[np.uint8]:
    surface.flush()
    rows = np.frombuffer(surface.get_data(), np.uint8)
    return rows.reshape(surface.get_height(), surface.get_stride() // 4, 4)
