"""What verify says besides the agreement: layers, pages, baselines; and the heat map of run."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import support
from support import call


def verify(model: Path, clip: Path, *options: str | Path | int) -> dict:
    """The report of verify."""
    return json.loads(call("verify", model, clip, "--json", "-", *options).good().out)


def test_layers_add_up_to_the_work(detector: Path, clip: Path) -> None:
    report = verify(detector, clip)
    layers = report["layers"]
    for layer in layers:
        assert layer.keys() == {"name", "op", "output", "macs", "computed", "changed"}
        assert 0 <= layer["changed"] <= layer["computed"] <= 1
    macs = sum(layer["macs"] for layer in layers)
    work = sum(layer["macs"] * layer["computed"] for layer in layers)
    assert work / macs == pytest.approx(report["macs_share"])
    assert "busiest layer" in call("verify", detector, clip).good().out


def test_the_page_needs_nothing_else(detector: Path, clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    call("verify", detector, clip, "--html", path).good()
    page = path.read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert page.rstrip().endswith("</html>")
    assert not re.search(r"https?:|<script|<link|url\(", page)
    for text in ("detector.onnx", "clip.mp4", "Over time", "Frames", "Layers", "recall, IoU 0.75"):
        assert text in page
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == page.count("<img ")
    assert len(pictures) % 3 == 0  # dense, incremental, heat map
    assert len(pictures) >= 12
    for picture in pictures:
        content = base64.b64decode(picture, validate=True)
        assert content.startswith(b"\xff\xd8")
        assert content.endswith(b"\xff\xd9")
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 4
    for drawing in drawings:
        ElementTree.fromstring(drawing)


def test_the_page_of_a_model_without_a_decoder(
    image_filter: Path, clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    options = ["--shape", "x=1x3x64x64", "--frames", 3, "--html", path]
    call("verify", image_filter, clip, *options).good()
    page = path.read_text()
    assert "recall" not in page
    assert len(re.findall("<svg", page)) == 3
    nowhere = tmp_path / "missing" / "page.html"
    outcome = call("verify", image_filter, clip, *options[:-1], nowhere)
    assert outcome.code == 1
    assert str(nowhere) in outcome.err.splitlines()[-1]


def test_names_cannot_break_the_page(detector: Path, clip: Path, tmp_path: Path) -> None:
    odd = tmp_path / "<b>&.onnx"
    odd.write_bytes(detector.read_bytes())
    path = tmp_path / "page.html"
    call("verify", odd, clip, "--frames", 2, "--html", path).good()
    assert "&lt;b&gt;&amp;.onnx" in path.read_text()


def test_skipping_frames_repeats_answers(detector: Path, clip: Path) -> None:
    every = verify(detector, clip, "--baseline", "skip:1")
    assert every["policy"] == "skip:1"
    assert every["macs_share"] == 1
    assert every["max_abs_diff"] == 0
    assert every["agreement"]["recall75"] == every["agreement"]["precision75"] == 1
    third = verify(detector, clip, "--baseline", "skip:3")
    assert third["macs_share"] == pytest.approx(9 / 29)  # frames 3, 6, ... of 1 to 29
    assert third["max_abs_diff"] > 0
    assert third["step_ms"]["median"] == 0
    assert third["agreement"]["objects"] == every["agreement"]["objects"]
    # A single frame, held: as long as nothing changes it is right.
    still = verify(detector, clip, "--baseline", "skip:1000", "--frames", 2)
    assert still["macs_share"] == 0


def test_regions_run_where_something_moves(
    detector: Path, clip: Path, noisy_clip: Path, tmp_path: Path
) -> None:
    # Smaller than the smallest region: the whole picture is cut out.
    small = verify(detector, clip, "--baseline", "region")
    assert small["macs_share"] == 1
    assert small["max_abs_diff"] is None
    assert small["agreement"]["recall75"] == small["agreement"]["precision75"] == 1
    assert "layers" not in small
    nothing = verify(detector, noisy_clip, "--baseline", "region", "--tolerance", 255)
    assert nothing["macs_share"] == nothing["input_changed"] == 0
    wide = support.make_clip(tmp_path / "wide.mp4", 6, size="800x480")
    part = verify(detector, wide, "--baseline", "region")
    assert 0 < part["input_changed"] < 1
    assert part["agreement"]["objects"] > 0


@pytest.mark.parametrize("name", ["skip", "skip:0", "skip:x", "skip:2x", "region:3", "nothing"])
def test_unknown_baselines(detector: Path, clip: Path, name: str) -> None:
    assert name in call("verify", detector, clip, "--baseline", name).error_line(2)


def test_regions_want_objects(image_filter: Path, clip: Path) -> None:
    options = ["--shape", "x=1x3x64x64", "--baseline"]
    line = call("verify", image_filter, clip, *options, "region").error_line(2)
    assert "no objects" in line
    call("verify", image_filter, clip, *options, "skip:2", "--html", "/dev/null").good()


def blue(video: Path, frame: int) -> bytes:
    """The blue samples of a frame's upper half; below is the line of text."""
    command = ["ffmpeg", "-v", "error", "-i", str(video), "-vf", f"select=eq(n\\,{frame})"]
    command += ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gbrp", "-"]
    planes = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    return planes[96 * 80 : 96 * 80 + 96 * 40]


def test_the_heat_map_shows_where_the_network_worked(
    image_filter: Path, clip: Path, tmp_path: Path
) -> None:
    def run(name: str, *options: str | int) -> Path:
        saved = tmp_path / name
        shape = ["--shape", "x=1x3x80x96", "--frames", 3, "--save", saved]
        call("run", image_filter, clip, *shape, *options).good()
        return saved

    plain = run("plain.mp4")
    still = run("still.mp4", "--tolerance", 255, "--heatmap")
    moving = run("moving.mp4", "--policy", "exact", "--heatmap")

    def hot(video: Path, frame: int) -> float:
        """Share of the pixels that lost much of their blue."""
        pairs = list(zip(blue(plain, frame), blue(video, frame), strict=True))
        bright = [a - b for a, b in pairs if a > 120]
        return sum(loss > 30 for loss in bright) / len(bright)

    assert hot(still, 0) > 0.8  # the first frame is dense
    assert hot(still, 2) < 0.02
    assert 0.05 < hot(moving, 2) < 0.8
