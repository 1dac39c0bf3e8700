"""Tiny models and clips, and a way to call the program."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 300
SIDE = 64  # of the tiny detector's input
STRIDES = (8, 16, 32)
DETECTOR_CHANNELS = 7  # box, objectness, two classes


def program_path() -> Path:
    """The program under test."""
    return Path(os.environ.get("DELTACNN_PROGRAM", ROOT / "build" / "bin" / "deltacnn"))


def data_folder() -> Path:
    """Real models and clips; need not exist."""
    return Path(os.environ.get("DELTACNN_DATA", ROOT.parent / "shared" / "data"))


@dataclass(frozen=True)
class Outcome:
    """What a call of the program left."""

    code: int
    out: str
    err: str

    def error_line(self, code: int) -> str:
        """The message of a call that must have failed: exactly one line, and nothing printed."""
        assert self.code == code, f"exit {self.code}, wanted {code}: {self.err}"
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("deltacnn: "), lines[0]
        return lines[0]

    def good(self) -> Outcome:
        """Itself, after a check that the call succeeded."""
        assert self.code == 0, f"exit {self.code}: {self.err}"
        return self


def call(*arguments: str | Path | int, stdin: bytes = b"") -> Outcome:
    """Runs the program to its end."""
    result = subprocess.run(
        [str(part) for part in (program_path(), *arguments)],
        input=stdin,
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return Outcome(
        result.returncode,
        result.stdout.decode(errors="replace"),
        result.stderr.decode(errors="replace"),
    )


def constant(name: str, values: np.ndarray) -> onnx.TensorProto:
    """An initializer."""
    return numpy_helper.from_array(values, name)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
) -> Path:
    """Writes a model."""
    graph = helper.make_graph(list(nodes), "tiny", list(inputs), list(outputs), list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def image(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    """A float32 input or output."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random weights that keep the size of what they multiply."""
    scale = 1 / np.sqrt(np.prod(shape[1:]))
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def make_detector(path: Path) -> Path:
    """A network of YOLOX's layout with random weights, which finds things all over the picture."""
    rng = np.random.default_rng(1)
    nodes = []
    initializers = [constant("flat", np.array([1, DETECTOR_CHANNELS, -1]))]
    tip, channels = "images", 3
    heads = []
    for stride in (2, 4, *STRIDES):
        initializers.append(constant(f"w{stride}", weights(rng, 8, channels, 3, 3)))
        nodes.append(
            helper.make_node(
                "Conv", [tip, f"w{stride}"], [f"c{stride}"], strides=[2, 2], pads=[1, 1, 1, 1]
            )
        )
        nodes.append(helper.make_node("LeakyRelu", [f"c{stride}"], [f"r{stride}"], alpha=0.1))
        tip, channels = f"r{stride}", 8
        if stride not in STRIDES:
            continue
        head = 0.02 * weights(rng, DETECTOR_CHANNELS, 8, 1, 1)
        initializers.append(constant(f"h{stride}", head))
        nodes.append(helper.make_node("Conv", [tip, f"h{stride}"], [f"y{stride}"]))
        nodes.append(helper.make_node("Reshape", [f"y{stride}", "flat"], [f"f{stride}"]))
        heads.append(f"f{stride}")
    cells = sum((SIDE // stride) ** 2 for stride in STRIDES)
    nodes += [
        helper.make_node("Concat", heads, ["all"], axis=2),
        helper.make_node("Split", ["all", "parts"], ["box", "scores"], axis=1),
        helper.make_node("Sigmoid", ["scores"], ["probabilities"]),
        helper.make_node("Concat", ["box", "probabilities"], ["joined"], axis=1),
        helper.make_node("Transpose", ["joined"], ["output"], perm=[0, 2, 1]),
    ]
    initializers.append(constant("parts", np.array([4, DETECTOR_CHANNELS - 4])))
    return save(
        path,
        nodes,
        [image("images", 1, 3, SIDE, SIDE)],
        [image("output", 1, cells, DETECTOR_CHANNELS)],
        initializers,
    )


def make_filter(path: Path) -> Path:
    """A convolution of an image of any size; no decoder knows its outputs."""
    rng = np.random.default_rng(2)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["grad"], pads=[1, 1, 1, 1]),
        helper.make_node("Abs", ["grad"], ["net/out"]),
    ]
    return save(
        path,
        nodes,
        [image("x", 1, 3, "height", "width")],
        [image("grad", 1, 1, "height", "width"), image("net/out", 1, 1, "height", "width")],
        [constant("w", weights(rng, 1, 3, 3, 3))],
    )


def make_sum(path: Path) -> Path:
    """Two inputs, one of them of integers."""
    nodes = [
        helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["a", "c"], ["sum"]),
    ]
    integers = helper.make_tensor_value_info("b", TensorProto.INT64, [2, 3])
    return save(path, nodes, [image("a", 2, 3), integers], [image("sum", 2, 3)])


def make_unsupported(path: Path) -> Path:
    """Two nodes that no engine knows."""
    nodes = [
        helper.make_node("Frobnicate", ["x"], ["y"], name="first"),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("Defrobnicate", ["z"], ["w"], name="second"),
    ]
    return save(path, nodes, [image("x", 1, 3, 8, 8)], [image("w", 1, 3, 8, 8)])


def ffmpeg(*arguments: str | Path | int) -> None:
    """Runs FFmpeg's program."""
    command = ["ffmpeg", "-v", "error", "-y", *(str(part) for part in arguments)]
    subprocess.run(command, check=True, timeout=TIMEOUT_SECONDS)


def scene(size: str, noise: int = 0, behind: str = "") -> list[str]:
    """FFmpeg's input: a square crosses a still picture, perhaps with noise or a filter behind."""
    filters = f"testsrc2=s={size}:r=10,select='eq(n,0)',loop=-1:1,setpts=N/10/TB[still];"
    filters += "color=white:s=12x12:r=10[square];"
    filters += "[still][square]overlay=x='mod(5*n,w)':y='mod(3*n,h)'"
    if noise:
        filters += f",noise=alls={noise}:allf=t:all_seed=7"
    if behind:
        filters += f",{behind}"
    return ["-f", "lavfi", "-i", filters]


def make_clip(path: Path, frames: int, size: str = "96x80", noise: int = 0) -> Path:
    """A clip in H.264, or whatever the file's name asks for."""
    ffmpeg(*scene(size, noise), "-frames:v", str(frames), "-pix_fmt", "yuv420p", path)
    return path


def frame_count(path: Path) -> int:
    """Frames that FFmpeg can decode; an error in the file fails the test."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0"]
    command += ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert result.stderr == "", result.stderr
    return int(result.stdout)
