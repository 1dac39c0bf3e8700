"""Typical convolution layers as ONNX models of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# A layer that keeps its shape is repeated, so that laying out input and output anew, which every
# runtime does once, does not hide the layer.
REPEATS = 4


@dataclass(frozen=True)
class Layer:
    """A convolution of a square picture with zeros around it."""

    name: str
    channels: int
    outputs: int
    side: int  # of the input
    kernel: int = 3
    stride: int = 1
    depthwise: bool = False

    @property
    def repeats(self) -> int:
        """How often the model does it."""
        return REPEATS if self.channels == self.outputs and self.stride == 1 else 1


LAYERS = [
    Layer("first 3-32 s2 @640", 3, 32, 640, stride=2),
    Layer("3x3 32 @160", 32, 32, 160),
    Layer("3x3 64 @80", 64, 64, 80),
    Layer("3x3 128 @40", 128, 128, 40),
    Layer("3x3 256 @20", 256, 256, 20),
    Layer("3x3 s2 128-256 @80", 128, 256, 80, stride=2),
    Layer("1x1 64 @80", 64, 64, 80, kernel=1),
    Layer("1x1 256 @40", 256, 256, 40, kernel=1),
    Layer("1x1 512 @20", 512, 512, 20, kernel=1),
    Layer("depthwise 144 @80", 144, 144, 80, depthwise=True),
    Layer("depthwise 384 @20", 384, 384, 20, depthwise=True),
    Layer("depthwise s2 96 @160", 96, 96, 160, stride=2, depthwise=True),
]


def write(layer: Layer, folder: Path) -> Path:
    """Writes the model of a layer, random weights that keep the size of what they multiply."""
    rng = np.random.default_rng(1)
    nodes, weights = [], []
    tip, inputs = "x", 1 if layer.depthwise else layer.channels
    for i in range(layer.repeats):
        shape = (layer.outputs, inputs, layer.kernel, layer.kernel)
        scale = 1 / np.sqrt(inputs * layer.kernel**2)
        for name, values in (
            (f"w{i}", scale * rng.standard_normal(shape)),
            (f"b{i}", 0.1 * rng.standard_normal(layer.outputs)),
        ):
            weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        nodes.append(
            helper.make_node(
                "Conv", [tip, f"w{i}", f"b{i}"], [f"y{i}"],
                kernel_shape=[layer.kernel] * 2, strides=[layer.stride] * 2,
                pads=[layer.kernel // 2] * 4, group=layer.channels if layer.depthwise else 1,
            )
        )  # fmt: skip
        tip = f"y{i}"
    out = layer.side // layer.stride
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info(
            "x", TensorProto.FLOAT, [1, layer.channels, layer.side, layer.side])],
        [helper.make_tensor_value_info(tip, TensorProto.FLOAT, [1, layer.outputs, out, out])],
        weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = folder / f"{layer.name}.onnx"
    onnx.save(model, path)
    return path
