"""An ONNX graph as an eager PyTorch module, for graphs of fixed shapes.

onnx2torch, the ready-made way, needs torchvision, of which there may be no CPU build. What a user's
own module runs is the same: one call of torch.nn.functional a node, channels last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor

Value = Tensor | None
Function = Callable[..., Any]


class Unsupported(Exception):
    """An operator or a form of it that this module does not know."""


def ints(value: Tensor) -> list[int]:
    """The elements of a constant."""
    return [int(element) for element in value.reshape(-1).tolist()]


def split_pads(attributes: dict[str, Any], x: Tensor, kernel: list[int]) -> tuple[list[int], bool]:
    """The pads of a window in the order of F.pad, and whether they are the same on both sides."""
    spatial = len(kernel)
    pads = attributes.get("pads", [0] * (2 * spatial))
    strides = attributes.get("strides", [1] * spatial)
    dilations = attributes.get("dilations", [1] * spatial)
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME"):
        pads = [0] * (2 * spatial)
        for i in range(spatial):
            size, step = x.shape[2 + i], strides[i]
            reach = (kernel[i] - 1) * dilations[i] + 1
            total = max((-(-size // step) - 1) * step + reach - size, 0)
            small = total // 2
            pads[i] = small if auto == "SAME_UPPER" else total - small
            pads[spatial + i] = total - pads[i]
    pairs = [(pads[i], pads[spatial + i]) for i in reversed(range(spatial))]
    return [pad for pair in pairs for pad in pair], all(a == b for a, b in pairs)


def padded(x: Tensor, pads: list[int], value: float) -> Tensor:
    """F.pad, unless there is nothing to do."""
    return F.pad(x, pads, value=value) if any(pads) else x


def conv(attributes: dict[str, Any], x: Tensor, w: Tensor, b: Value = None) -> Function:
    """Convolutions of one and two dimensions."""
    pads, even = split_pads(attributes, x, list(w.shape[2:]))
    spatial = w.dim() - 2
    weight = w.contiguous(memory_format=torch.channels_last) if spatial == 2 else w
    function = {1: F.conv1d, 2: F.conv2d}[spatial]
    options = {
        "stride": attributes.get("strides", [1] * spatial),
        "dilation": attributes.get("dilations", [1] * spatial),
        "groups": attributes.get("group", 1),
    }
    if even:
        options["padding"] = pads[::2][::-1]
        return lambda x, *_: function(x, weight, b, **options)
    return lambda x, *_: function(F.pad(x, pads), weight, b, **options)


def conv_transpose(attributes: dict[str, Any], x: Tensor, w: Tensor, b: Value = None) -> Function:
    """Transposed convolutions with the same pads on both sides."""
    pads, even = split_pads(attributes, x, list(w.shape[2:]))
    if not even or "output_shape" in attributes or "auto_pad" in attributes:
        raise Unsupported("ConvTranspose with uneven pads")
    options = {
        "stride": attributes.get("strides", [1, 1]),
        "padding": pads[::2][::-1],
        "output_padding": attributes.get("output_padding", [0, 0]),
        "dilation": attributes.get("dilations", [1, 1]),
        "groups": attributes.get("group", 1),
    }
    return lambda x, *_: F.conv_transpose2d(x, w, b, **options)


def pool(function: Function, fill: float) -> Function:
    """MaxPool and AveragePool of two dimensions."""

    def build(attributes: dict[str, Any], x: Tensor) -> Function:
        kernel = attributes["kernel_shape"]
        pads, even = split_pads(attributes, x, kernel)
        options = {
            "kernel_size": kernel,
            "stride": attributes.get("strides", [1, 1]),
            "ceil_mode": bool(attributes.get("ceil_mode", 0)),
        }
        if function is F.avg_pool2d:
            options["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
            if not even and not options["count_include_pad"]:
                raise Unsupported("AveragePool with uneven pads")
        else:
            options["dilation"] = attributes.get("dilations", [1, 1])
        if even and all(2 * pad <= size for pad, size in zip(pads[::2][::-1], kernel, strict=True)):
            options["padding"] = pads[::2][::-1]
            return lambda x: function(x, **options)
        return lambda x: function(padded(x, pads, fill), **options)

    return build


def resize(attributes: dict[str, Any], x: Tensor, *rest: Value) -> Function:
    """Resize and Upsample of two dimensions as far as F.interpolate does the same."""
    sizes = rest[2] if len(rest) > 2 else None
    scales = rest[1] if len(rest) > 1 else rest[0] if rest else None
    if sizes is not None and sizes.numel():
        target = {"size": ints(sizes)[2:]}
    else:
        factors = attributes.get("scales") or (scales.tolist() if scales is not None else [])
        target = {"size": [int(n * f) for n, f in zip(x.shape[2:], factors[2:], strict=True)]}
    mode = attributes.get("mode", b"nearest").decode()
    if mode == "nearest":
        return lambda x, *_: F.interpolate(x, **target, mode="nearest")
    corners = attributes.get("coordinate_transformation_mode", b"half_pixel") == b"align_corners"
    form = {"linear": "bilinear", "cubic": "bicubic"}[mode]
    return lambda x, *_: F.interpolate(x, **target, mode=form, align_corners=corners)


def slices(attributes: dict[str, Any], x: Tensor, *rest: Value) -> Function:
    """Slice with constant bounds and positive steps."""
    if rest:
        starts, ends = ints(rest[0]), ints(rest[1])
        axes = ints(rest[2]) if len(rest) > 2 and rest[2] is not None else range(len(starts))
        steps = ints(rest[3]) if len(rest) > 3 and rest[3] is not None else [1] * len(starts)
    else:
        starts, ends = attributes["starts"], attributes["ends"]
        axes = attributes.get("axes", range(len(starts)))
        steps = [1] * len(starts)
    if min(steps) < 1:
        raise Unsupported("Slice with a negative step")
    index = [slice(None)] * x.dim()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[axis] = slice(start, end, step)
    return lambda x, *_: x[tuple(index)]


def pad(attributes: dict[str, Any], x: Tensor, *rest: Value) -> Function:
    """Pad of any axes."""
    pads = ints(rest[0]) if rest else attributes["pads"]
    value = float(rest[1]) if len(rest) > 1 and rest[1] is not None else attributes.get("value", 0)
    rank = x.dim()
    pairs = [(pads[i], pads[rank + i]) for i in reversed(range(rank))]
    mode = attributes.get("mode", b"constant").decode()
    if mode == "constant":
        flat = [n for pair in pairs for n in pair]
        return lambda x, *_: F.pad(x, flat, value=value)
    flat = [n for pair in pairs[: rank - 2] for n in pair]
    form = {"reflect": "reflect", "edge": "replicate"}[mode]
    return lambda x, *_: F.pad(x, flat, mode=form)


def reduce(function: Function) -> Function:
    """Reductions over constant axes."""

    def build(attributes: dict[str, Any], x: Tensor, axes: Value = None) -> Function:
        chosen = ints(axes) if axes is not None else attributes.get("axes", list(range(x.dim())))
        keep = bool(attributes.get("keepdims", 1))
        return lambda x, *_: function(x, dim=chosen, keepdim=keep)

    return build


def reshape(attributes: dict[str, Any], x: Tensor, shape: Tensor) -> Function:
    """Reshape; 0 keeps a dimension."""
    wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(ints(shape))]
    return lambda x, *_: x.reshape(wanted)


def flatten(attributes: dict[str, Any], x: Tensor) -> Function:
    """Two dimensions."""
    axis = attributes.get("axis", 1) % (x.dim() + 1)
    rows = int(np.prod(x.shape[:axis]))
    return lambda x: x.reshape(rows, -1)


def axes_of(attributes: dict[str, Any], axes: Value) -> list[int]:
    """The axes of Squeeze and Unsqueeze."""
    return ints(axes) if axes is not None else attributes["axes"]


def unsqueeze(attributes: dict[str, Any], x: Tensor, axes: Value = None) -> Function:
    """Inserts dimensions of 1."""
    chosen = axes_of(attributes, axes)
    shape = list(x.shape)
    for axis in sorted(axis % (x.dim() + len(chosen)) for axis in chosen):
        shape.insert(axis, 1)
    return lambda x, *_: x.reshape(shape)


def squeeze(attributes: dict[str, Any], x: Tensor, axes: Value = None) -> Function:
    """Drops dimensions of 1."""
    chosen = tuple(axes_of(attributes, axes))
    return lambda x, *_: x.squeeze(chosen)


def split(attributes: dict[str, Any], x: Tensor, sizes: Value = None) -> Function:
    """Several outputs."""
    axis = attributes.get("axis", 0)
    lengths = ints(sizes) if sizes is not None else attributes.get("split")
    if lengths is None:
        lengths = x.shape[axis] // attributes["outputs"]
    return lambda x, *_: torch.split(x, lengths, axis)


def gather(attributes: dict[str, Any], x: Tensor, index: Tensor) -> Function:
    """Gather with constant indices."""
    axis = attributes.get("axis", 0)
    if index.dim() == 0:
        return lambda x, _: x.select(axis, int(index))
    flat = index.reshape(-1) % x.shape[axis]
    shape = [*x.shape[:axis], *index.shape, *x.shape[axis % x.dim() + 1 :]]
    return lambda x, _: x.index_select(axis, flat).reshape(shape)


def depth_to_space(attributes: dict[str, Any], x: Tensor) -> Function:
    """Pixel shuffle."""
    block = attributes["blocksize"]
    if attributes.get("mode", b"DCR") == b"CRD":
        return lambda x: F.pixel_shuffle(x, block)
    n, c, h, w = x.shape
    kept = c // block**2

    def run(x: Tensor) -> Tensor:
        blocks = x.reshape(n, block, block, kept, h, w).permute(0, 3, 4, 1, 5, 2)
        return blocks.reshape(n, kept, h * block, w * block)

    return run


def clip(attributes: dict[str, Any], x: Tensor, low: Value = None, high: Value = None) -> Function:
    """Clip between constants."""
    least = float(low) if low is not None else attributes.get("min")
    most = float(high) if high is not None else attributes.get("max")
    return lambda x, *_: x.clamp(least, most)


def softmax(attributes: dict[str, Any], x: Tensor) -> Function:
    """Softmax; before opset 13 over all axes from `axis` on."""
    if attributes["opset"] >= 13:
        axis = attributes.get("axis", -1)
        return lambda x: x.softmax(axis)
    axis = attributes.get("axis", 1) % x.dim()
    shape, rows = x.shape, int(np.prod(x.shape[:axis]))
    return lambda x: x.reshape(rows, -1).softmax(1).reshape(shape)


def gemm(attributes: dict[str, Any], a: Tensor, b: Tensor, c: Value = None) -> Function:
    """A fully connected layer."""
    factors = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    if attributes.get("transA") or factors != (1.0, 1.0):
        raise Unsupported("Gemm with transA, alpha or beta")
    weight = b if attributes.get("transB") else b.t().contiguous()
    return lambda a, *_: F.linear(a, weight, c)


def batch_norm(attributes: dict[str, Any], x: Tensor, *rest: Tensor) -> Function:
    """Inference only."""
    scale, bias, mean, var = rest
    epsilon = attributes.get("epsilon", 1e-5)
    return lambda x, *_: F.batch_norm(x, mean, var, scale, bias, eps=epsilon)


def cast(attributes: dict[str, Any], x: Tensor) -> Function:
    """To another element type."""
    kind = torch.from_numpy(np.empty(0, helper.tensor_dtype_to_np_dtype(attributes["to"]))).dtype
    return lambda x: x.to(kind)


def plain(function: Function) -> Function:
    """An operator without attributes."""
    return lambda attributes, *values: function


def divide(a: Tensor, b: Tensor) -> Tensor:
    """Integers stay integers."""
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


BUILDERS: dict[str, Function] = {
    "Add": plain(torch.add),
    "AveragePool": pool(F.avg_pool2d, 0.0),
    "BatchNormalization": batch_norm,
    "Cast": cast,
    "Clip": clip,
    "Concat": lambda a, *_: lambda *values: torch.cat(values, a["axis"]),
    "Constant": lambda a: lambda: torch.from_numpy(numpy_helper.to_array(a["value"]).copy()),
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "DepthToSpace": depth_to_space,
    "Div": plain(divide),
    "Dropout": plain(lambda x, *_: x),
    "Exp": plain(torch.exp),
    "Flatten": flatten,
    "Gather": gather,
    "Gemm": gemm,
    "GlobalAveragePool": plain(lambda x: x.mean((2, 3), keepdim=True)),
    "HardSigmoid": lambda a, _: (
        lambda x: (x * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1)
    ),
    "HardSwish": plain(F.hardswish),
    "Identity": plain(lambda x: x),
    "LeakyRelu": lambda a, _: lambda x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "MatMul": plain(torch.matmul),
    "MaxPool": pool(F.max_pool2d, float("-inf")),
    "Mul": plain(torch.mul),
    "Pad": pad,
    "Pow": plain(torch.pow),
    "ReduceMean": reduce(torch.mean),
    "ReduceSum": reduce(torch.sum),
    "Relu": plain(F.relu),
    "Reshape": reshape,
    "Resize": resize,
    "Shape": plain(lambda x: torch.tensor(x.shape)),
    "Sigmoid": plain(torch.sigmoid),
    "Slice": slices,
    "Softmax": softmax,
    "Split": split,
    "Sqrt": plain(torch.sqrt),
    "Squeeze": squeeze,
    "Sub": plain(torch.sub),
    "Tanh": plain(torch.tanh),
    "Transpose": lambda a, _: lambda x: x.permute(a["perm"]),
    "Unsqueeze": unsqueeze,
    "Upsample": resize,
}


class GraphModule(torch.nn.Module):
    """Runs a graph node by node. Whatever does not depend on the pixels is computed once."""

    def __init__(self, model: onnx.ModelProto, inputs: dict[str, Tensor]) -> None:
        super().__init__()
        opset = max(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
        constants: dict[str, Value] = {"": None}
        for item in model.graph.initializer:
            constants[item.name] = torch.from_numpy(numpy_helper.to_array(item).copy())
        values = constants | inputs
        self.steps: list[tuple[Function, list[str], list[str]]] = []
        for node in model.graph.node:
            if node.op_type not in BUILDERS:
                raise Unsupported(f"operator {node.op_type}")
            attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
            attributes |= {"opset": opset, "outputs": len(node.output)}
            operands = [values[name] for name in node.input]
            function = BUILDERS[node.op_type](attributes, *operands)
            results = function(*operands)
            named = dict(zip(node.output, results if node.op_type == "Split" else [results],
                             strict=False))  # fmt: skip
            values |= named
            if node.op_type == "Shape" or all(name in constants for name in node.input):
                constants |= named
            else:
                self.steps.append((function, list(node.input), list(node.output)))
        self.constants = constants
        self.output_names = [item.name for item in model.graph.output]

    def forward(self, inputs: dict[str, Tensor]) -> list[Tensor]:
        """The outputs in the graph's order."""
        values = self.constants | inputs
        for function, names, outputs in self.steps:
            results = function(*(values[name] for name in names))
            if len(outputs) == 1:
                values[outputs[0]] = results[0] if isinstance(results, tuple) else results
            else:
                values.update(zip(outputs, results, strict=False))
        return [values[name] for name in self.output_names]
