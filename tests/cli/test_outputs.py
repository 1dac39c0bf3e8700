"""The files that a command line asks to write: their names, and what they may replace."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import support
from onnx import helper
from support import call

OUTPUTS = [
    "inspect MODEL --json",
    "run MODEL CLIP --save",
    "run MODEL CLIP --jsonl",
    "run MODEL CLIP --encode",
    "verify MODEL CLIP --json",
    "verify MODEL CLIP --html",
    "bench MODEL CLIP --json",
    "bench MODEL --json",
    "tune MODEL CLIP --out",
]


def words(arguments: str, model: Path, clip: Path) -> list[str | Path]:
    """The arguments with the names of files."""
    return [{"MODEL": model, "CLIP": clip}.get(word, word) for word in arguments.split()]


@pytest.fixture
def inputs(detector: Path, clip: Path, tmp_path: Path) -> dict[str, Path]:
    """Copies of what a run reads."""
    files = {name: tmp_path / name for name in ("m.onnx", "m.json", "p.json", "c.mp4")}
    files["m.onnx"].write_bytes(detector.read_bytes())
    files["c.mp4"].write_bytes(clip.read_bytes())
    files["m.json"].write_text('{"decoder": "yolox"}')
    files["p.json"].write_text('{"deltacnn_policy": 1}')
    files["link.mp4"] = tmp_path / "link.mp4"
    files["link.mp4"].symlink_to(files["m.onnx"])
    return files


@pytest.mark.parametrize("arguments", OUTPUTS)
def test_outputs_spare_the_inputs(inputs: dict[str, Path], arguments: str) -> None:
    before = {name: path.read_bytes() for name, path in inputs.items()}
    command = words(arguments, inputs["m.onnx"], inputs["c.mp4"])
    is_video = command[-1] in ("--save", "--encode")
    spared = {"link.mp4"} if is_video else {"m.onnx", "m.json", "link.mp4"}
    if "CLIP" in arguments:
        spared.add("c.mp4")
    if command[0] in ("run", "verify", "bench") and not is_video:
        spared.add("p.json")
        command[1:1] = ["--policy", inputs["p.json"]]
    for name in spared:
        line = call(*command, inputs[name]).error_line(2)
        assert f"{command[-1]} {inputs[name]}: is an input" in line
    assert before == {name: path.read_bytes() for name, path in inputs.items()}


def test_outputs_spare_the_images_of_a_folder(detector: Path, clip: Path, tmp_path: Path) -> None:
    support.ffmpeg("-i", clip, "-frames:v", "2", tmp_path / "%02d.png")
    for images in (tmp_path, tmp_path / "*.png"):
        line = call("run", detector, images, "--jsonl", tmp_path / "02.png").error_line(2)
        assert "is an input" in line


@pytest.mark.parametrize(
    "arguments",
    [
        "run MODEL CLIP --save SAME --jsonl SAME",
        "run MODEL CLIP --save SAME --jsonl OTHER",
        "run MODEL CLIP --encode SAME --jsonl SAME",
        "run MODEL CLIP --encode OTHER --save SAME",
        "verify MODEL CLIP --json SAME --html SAME",
    ],
)
def test_each_output_has_its_own_file(
    detector: Path, clip: Path, tmp_path: Path, arguments: str
) -> None:
    names = {"SAME": tmp_path / "out.mp4", "OTHER": tmp_path / "folder" / ".." / "out.mp4"}
    (tmp_path / "folder").mkdir()
    command = [names.get(str(word), word) for word in words(arguments, detector, clip)]
    assert "are one file" in call(*command).error_line(2)
    assert not names["SAME"].exists()


def test_outputs_may_share_a_device(detector: Path, clip: Path) -> None:
    call("verify", detector, clip, "--json", "/dev/null", "--html", "/dev/null").good()


@pytest.mark.parametrize("option", ["--save", "--encode"])
@pytest.mark.parametrize("name", ["a.webm", "a.gif", "a.png", "a.avi", "a.MKV", "a.mp4.jpg", "-"])
def test_videos_are_mp4(detector: Path, clip: Path, tmp_path: Path, option: str, name: str) -> None:
    path = name if name == "-" else tmp_path / name
    line = call("run", detector, clip, option, path).error_line(2)
    assert f"{option} {path}: " in line
    assert "standard output" in line if name == "-" else "MP4" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mp4", "a.M4V", "a.mov", "a"])
def test_names_of_mp4_files(detector: Path, clip: Path, tmp_path: Path, name: str) -> None:
    call("run", detector, clip, "--frames", 2, "--save", tmp_path / name).good()
    assert support.frame_count(tmp_path / name) == 2


def test_a_page_is_a_file(detector: Path, clip: Path) -> None:
    line = call("verify", detector, clip, "--html", "-").error_line(2)
    assert "--html -: does not go to standard output" in line


@pytest.mark.parametrize("arguments", OUTPUTS)
def test_outputs_are_tried_first(
    detector: Path, clip: Path, tmp_path: Path, arguments: str
) -> None:
    """Before anything is read: the model is none."""
    model = tmp_path / "none.onnx"
    command = words(arguments, model, clip)
    for path, reason in (
        (tmp_path / "missing" / "out.mp4", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        line = call(*command, path).error_line(1)
        assert f"{command[-1]} {path}: cannot be written ({reason})" in line
    old, new = tmp_path / "old.mp4", tmp_path / "new.mp4"
    old.write_text("old")
    for path in (old, new):
        assert "none.onnx" in call(*command, path).error_line(1)
    assert old.read_text() == "old"
    assert not new.exists()


def test_a_pipe_is_not_tried(detector: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    call("inspect", detector, "--json", pipe).good()
    assert os.read(reader, 1 << 16).startswith(b"{")
    os.close(reader)


def test_a_full_disk_is_named(detector: Path) -> None:
    line = call("inspect", detector, "--json", "/dev/full").err
    assert "--json /dev/full: cannot be written (No space left on device)" in line


def test_infer_spares_its_inputs(image_filter: Path, tmp_path: Path) -> None:
    path = tmp_path / "grad.npy"
    np.save(path, np.zeros((1, 3, 8, 8), np.float32))
    before = path.read_bytes()
    line = call("infer", image_filter, "--input", f"x={path}", "--out", tmp_path).error_line(2)
    assert "grad.npy: is an input" in line
    assert path.read_bytes() == before


def test_infer_loses_no_output(tmp_path: Path) -> None:
    nodes = [helper.make_node("Abs", ["x"], ["a/b"]), helper.make_node("Neg", ["x"], ["a_b"])]
    outputs = [support.image("a/b", 4), support.image("a_b", 4)]
    model = support.save(tmp_path / "clash.onnx", nodes, [support.image("x", 4)], outputs)
    np.save(tmp_path / "x.npy", np.ones(4, np.float32))
    out = tmp_path / "out"
    line = call("infer", model, "--input", f"x={tmp_path}/x.npy", "--out", out).error_line(2)
    assert "'a/b'" in line
    assert "'a_b'" in line
    assert list(out.iterdir()) == []
