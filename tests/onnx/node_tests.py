#!/usr/bin/env python3
"""Runs ONNX's own per-operator test cases through `deltacnn infer`.

The cases are those of the installed `onnx` package. Every case whose operators are in
src/ops/ops.inc and that is not ruled out by `why_not_applicable` must pass, in up to three forms:
as it is (all tensors are network inputs), with all inputs but the first as constants of the model,
as exporters write them, and, the first case of each operator, in a branch of a function. Floats
must agree to RTOL and ATOL, everything else exactly.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import io
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)
from onnx.backend.test.loader import load_model_tests

ROOT = Path(__file__).resolve().parents[2]
RTOL = 1e-3
ATOL = 1e-6
TIMEOUT_SECONDS = 60
SEVERAL = "(several nodes)"
CROP = b"tf_crop_and_resize"  # a region of interest, which no network for video uses
# Their outputs follow a resized length of input * scale, a fraction here. The specification's words
# (length_resized: "the length of the resized tensor"), PyTorch and onnxruntime, which leaves these
# cases out as well, take the whole number.
FRACTIONAL_LENGTH = {
    "test_resize_downsample_scales_cubic_align_corners",
    "test_resize_downsample_scales_linear_align_corners",
}

ELEMENT_TYPES = {
    TensorProto.FLOAT,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.BOOL,
}
# Conversions also know the types that nothing calculates with.
CONVERTED_TYPES = ELEMENT_TYPES | {TensorProto.FLOAT16, TensorProto.DOUBLE}
SPATIAL = {
    "AveragePool",
    "Conv",
    "ConvTranspose",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GridSample",
    "MaxPool",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, and inputs with the outputs they must give."""

    name: str
    model: ModelProto
    data_sets: Sequence[tuple[Sequence[np.ndarray], Sequence[np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one case: passed, failed or skipped, and why."""

    name: str
    operator: str
    state: str
    reason: str = ""


def listed_operators() -> set[str]:
    """The operators of ops.inc, without the internal ones."""
    text = (ROOT / "src/ops/ops.inc").read_text()
    names = re.findall(r"^(?:EXPANDED_)?OP\((\w+)", text, re.MULTILINE)
    return {name for name in names if onnx.defs.has(name)}


def element_types(model: ModelProto) -> Iterator[int]:
    """Element types of everything that the model declares."""
    for value in [*model.graph.input, *model.graph.output]:
        yield value.type.tensor_type.elem_type
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t.data_type
            if attribute.name == "to" and node.op_type == "Cast":
                yield attribute.i


def all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """The nodes of a graph and of the branches in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from all_nodes(attribute.g)


def is_training(case: Case, node: NodeProto) -> bool:
    """True for the training form of BatchNormalization and Dropout."""
    if any(a.name == "training_mode" and a.i != 0 for a in node.attribute):
        return True
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    names = [value.name for value in case.model.graph.input]
    return node.input[2] in names and bool(case.data_sets[0][0][names.index(node.input[2])])


def has_three_spatial_axes(model: ModelProto, node: NodeProto) -> bool:
    """True if a spatial operator works on volumes."""
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in model.graph.input}
    return node.op_type in SPATIAL and ranks.get(node.input[0], 0) > 4


def why_not_applicable(case: Case, operators: set[str]) -> str:
    """The reason why a case is outside of what deltacnn sets out to do; empty if it is inside."""
    model = case.model
    if any(node.op_type not in operators or node.domain for node in all_nodes(model.graph)):
        return "operator outside the list"
    values: list[ValueInfoProto] = [*model.graph.input, *model.graph.output]
    if not all(value.type.HasField("tensor_type") for value in values):
        return "sequence or optional type"
    converts = all(node.op_type in {"Cast", "CastLike"} for node in model.graph.node)
    known = CONVERTED_TYPES if converts else ELEMENT_TYPES
    others = {TensorProto.DataType.Name(t) for t in element_types(model) if t not in known}
    if others:
        return f"element type {min(others).lower()}"
    if any(
        node.op_type == "Resize" and a.name == "coordinate_transformation_mode" and a.s == CROP
        for node in model.graph.node
        for a in node.attribute
    ):
        return "cropping Resize"
    if case.name in FRACTIONAL_LENGTH:
        return "contradicts the specification"
    if any(a.name == "block_size" and a.i for node in model.graph.node for a in node.attribute):
        return "scales of blocks"
    if any(node.op_type == "ScatterND" for node in model.graph.node):
        return "scattered positions"
    for node in model.graph.node:
        if node.op_type == "Attention" and (any(node.input[4:]) or len(node.output) > 1):
            return "attention that keeps keys or gives its scores"
    if case.name == "test_affine_grid_3d_align_corners_expanded":
        return "branches of different shapes, chosen by the data"
    if any(is_training(case, node) for node in model.graph.node):
        return "training mode"
    if any(has_three_spatial_axes(model, node) for node in model.graph.node):
        return "three spatial axes"
    return ""


def with_constants(model: ModelProto, inputs: Sequence[np.ndarray]) -> ModelProto:
    """The model with all inputs but the first as initializers."""
    result = ModelProto()
    result.CopyFrom(model)
    for value, array in zip(model.graph.input[1:], inputs[1:], strict=True):
        result.graph.input.remove(value)
        result.graph.initializer.append(numpy_helper.from_array(array, value.name))
    return result


def in_function(model: ModelProto) -> ModelProto:
    """The model with its nodes in a branch of a function that the graph calls.

    The other branch, which is not taken, has an operator that does not exist.
    """
    graph = model.graph
    inputs = [value.name for value in graph.input]
    outputs = [value.name for value in graph.output]
    branch = {
        "then_branch": helper.make_graph(graph.node, "taken", [], graph.output),
        "else_branch": helper.make_graph(
            [helper.make_node("NoSuchOperator", [], outputs)], "not_taken", [], graph.output
        ),
    }
    given = [f"given_{name}" for name in outputs]
    body = [
        helper.make_node("Constant", [], ["taken"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["taken"], given, **branch),
    ]
    function = helper.make_function("test", "Case", inputs, given, body, model.opset_import)
    result = ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.append(helper.make_node("Case", inputs, outputs, domain="test"))
    result.functions.append(function)
    return result


def infer(program: Path, model: ModelProto, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of the program; raises RuntimeError with its message if it fails."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        command = [str(program), "infer", str(folder / "model.onnx"), "--out", str(folder / "out")]
        for i, (value, array) in enumerate(zip(model.graph.input, inputs, strict=False)):
            np.save(folder / f"{i}.npy", array)
            command += ["--input", f"{value.name}={folder / f'{i}.npy'}"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"no answer within {TIMEOUT_SECONDS} seconds") from error
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            raise RuntimeError(f"exit {done.returncode}: {lines[-1]}".replace(directory, ""))
        return {
            value.name: np.load(folder / "out" / f"{value.name.replace('/', '_')}.npy")
            for value in model.graph.output
            if value.name
        }


def difference(got: np.ndarray, want: np.ndarray) -> str:
    """How an output differs from the expected one; empty if it does not."""
    if got.dtype != want.dtype:
        return f"type {got.dtype} instead of {want.dtype}"
    if got.shape != want.shape:
        return f"shape {got.shape} instead of {want.shape}"
    if np.issubdtype(want.dtype, np.floating):
        bad = ~np.isclose(got, want, rtol=RTOL, atol=ATOL, equal_nan=True)
    else:
        bad = got != want
    if not bad.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    return f"{bad.sum()} of {bad.size} elements, first at {at}: {got[at]} instead of {want[at]}"


def to_array(value: np.ndarray | TensorProto) -> np.ndarray:
    """A tensor of a case, in whichever form the case keeps it."""
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def run_form(
    program: Path, model: ModelProto, inputs: Sequence[np.ndarray], wanted: Sequence[np.ndarray]
) -> str:
    """What is wrong with the answers to one form of a case; empty if nothing is."""
    try:
        outputs = infer(program, model, inputs)
    except (RuntimeError, OSError) as error:
        return str(error)
    for value, want in zip(model.graph.output, wanted, strict=True):
        wrong = difference(outputs[value.name], to_array(want))
        if wrong:
            return f"output '{value.name}': {wrong}"
    return ""


def operator_of(case: Case) -> str:
    """The operator that a case is about."""
    nodes = case.model.graph.node
    return nodes[0].op_type if len(nodes) == 1 else SEVERAL


def run_case(program: Path, case: Case, operators: set[str], first: bool) -> Outcome:
    """Runs all forms of one case, the first one of its operator or a later one."""
    operator = operator_of(case)
    reason = why_not_applicable(case, operators)
    if reason:
        return Outcome(case.name, operator, "skipped", reason)
    for inputs, wanted in case.data_sets:
        arrays = [to_array(array) for array in inputs]
        forms = {"all inputs": case.model}
        if len(arrays) > 1:
            forms["constants"] = with_constants(case.model, arrays)
        if first:
            forms["function"] = in_function(case.model)
        for form, model in forms.items():
            wrong = run_form(program, model, arrays, wanted)
            if wrong:
                return Outcome(case.name, operator, "failed", f"{form}: {wrong}")
    return Outcome(case.name, operator, "passed")


def load_cases(pattern: str) -> list[Case]:
    """The cases whose names match, in order of name."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    matching = [
        Case(case.name, case.model, case.data_sets)
        for case in cases
        if case.model is not None and case.data_sets is not None and re.search(pattern, case.name)
    ]
    return sorted(matching, key=lambda case: case.name)


def report(outcomes: Sequence[Outcome], operators: set[str]) -> None:
    """Prints failures, reasons for skipping, a table of operators and the totals."""
    for outcome in outcomes:
        if outcome.state == "failed":
            print(f"FAILED {outcome.name}: {outcome.reason}")
    print("\nskipped, by reason:")
    reasons = collections.Counter(o.reason for o in outcomes if o.state == "skipped")
    for reason, count in reasons.most_common():
        print(f"{count:6d}  {reason}")
    print(f"\n{'operator':24s}{'passed':>8s}{'failed':>8s}{'skipped':>8s}")
    table = collections.Counter((o.operator, o.state) for o in outcomes)
    states = ("passed", "failed", "skipped")
    for name in [*sorted(operators), SEVERAL]:
        print(f"{name:24s}" + "".join(f"{table[name, state]:8d}" for state in states))
    totals = collections.Counter(o.state for o in outcomes)
    print("\n" + ", ".join(f"{totals[state]} {state}" for state in states))


def main() -> int:
    """Entry point; 1 if a case failed."""
    parser = argparse.ArgumentParser(description="Runs ONNX's per-operator test cases.")
    parser.add_argument("program", type=Path, help="the built program, build/bin/deltacnn")
    parser.add_argument("--filter", default="", metavar="REGEX", help="run the cases that match")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time (default: 2)")
    arguments = parser.parse_args()
    if not arguments.program.is_file():
        parser.error(f"{arguments.program} is no file; build the project first")
    program = arguments.program.resolve()
    operators = listed_operators()
    cases = load_cases(arguments.filter)
    first = {
        operator_of(case): case.name
        for case in reversed(cases)
        if not why_not_applicable(case, operators)
    }
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        outcomes = list(
            pool.map(
                lambda case: run_case(
                    program, case, operators, first.get(operator_of(case)) == case.name
                ),
                cases,
            )
        )
    report(outcomes, operators)
    return 1 if any(outcome.state == "failed" for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
