"""Spells an ONNX graph so that pnnx can turn it into ncnn's, with the same results."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference


def attribute(node: onnx.NodeProto, name: str, default: list[int]) -> list[int]:
    """A list of integers."""
    found = [item for item in node.attribute if item.name == name]
    return list(found[0].ints) if found else default


def replace_attribute(node: onnx.NodeProto, name: str, value: list[int]) -> None:
    """Sets a list of integers."""
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def constants_of(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Initializers and the outputs of Constant nodes."""
    values = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return values


def pads_with_zeros(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> bool:
    """Whether a node is a Pad whose new elements are 0."""
    if node.op_type != "Pad":
        return False
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    value = attributes.get("value", 0.0)
    if len(node.input) > 2 and node.input[2]:
        value = constants[node.input[2]].item()
    return attributes.get("mode", b"constant") == b"constant" and value == 0


def fold_pads(model: onnx.ModelProto) -> None:
    """Moves zeros around a picture into the convolutions that read it."""
    graph = model.graph
    constants = constants_of(graph)
    kept = []
    for node in graph.node:
        readers = [reader for reader in graph.node if node.output[0] in reader.input]
        if not pads_with_zeros(node, constants) or any(r.op_type != "Conv" for r in readers):
            kept.append(node)
            continue
        if len(node.input) > 1:
            pads = constants[node.input[1]].tolist()
        else:
            pads = attribute(node, "pads", [])
        if len(pads) != 8 or any(pads[:2] + pads[4:6]):
            kept.append(node)
            continue
        for reader in readers:
            old = attribute(reader, "pads", [0, 0, 0, 0])
            new = [a + b for a, b in zip(old, pads[2:4] + pads[6:8], strict=True)]
            replace_attribute(reader, "pads", new)
            reader.input[0] = node.input[0]
    del graph.node[:]
    graph.node.extend(kept)


def replace_strided_slices(model: onnx.ModelProto) -> None:
    """Every second row or column is a convolution with a single 1."""
    graph = model.graph
    inferred = shape_inference.infer_shapes(model).graph
    channels = {
        item.name: item.type.tensor_type.shape.dim[1].dim_value
        for item in [*inferred.value_info, *inferred.input]
        if len(item.type.tensor_type.shape.dim) == 4
    }
    constants = constants_of(graph)
    for node in graph.node:
        if node.op_type != "Slice" or len(node.input) < 5 or node.input[1] not in constants:
            continue
        start, _, axis, step = (constants[name].tolist() for name in node.input[1:5])
        if step != [2] or axis[0] not in (2, 3) or start[0] not in (0, 1):
            continue
        count = channels[node.input[0]]
        size = [2, 1] if axis == [2] else [1, 2]
        weight = np.zeros((count, 1, 2), np.float32)
        weight[:, :, start[0]] = 1
        name = f"{node.output[0]}/weight"
        graph.initializer.append(numpy_helper.from_array(weight.reshape(count, 1, *size), name))
        node.CopyFrom(
            helper.make_node(
                "Conv", [node.input[0], name], node.output, group=count,
                kernel_shape=size, strides=size,
            )
        )  # fmt: skip


def spelled_for_pnnx(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without strided slices and without pads in front of convolutions."""
    spelled = onnx.ModelProto()
    spelled.CopyFrom(model)
    fold_pads(spelled)
    replace_strided_slices(spelled)
    return spelled
