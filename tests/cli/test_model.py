"""inspect and infer: models and tensors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import support
from onnx import TensorProto, helper
from support import call


def test_inspect_describes_a_model(detector: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.json"
    printed = call("inspect", detector, "--json", out).good().out
    report = json.loads(out.read_text())
    assert report["inputs"] == [{"name": "images", "dtype": "float32", "shape": [1, 3, 64, 64]}]
    assert report["outputs"] == [{"name": "output", "dtype": "float32", "shape": [1, 84, 7]}]
    assert report["operators"]["Conv"] == 8
    # Convolutions of 3x3 and stride 2, and the three heads.
    macs = 32**2 * 8 * 27 + sum(s**2 * 8 * 72 for s in (16, 8, 4, 2)) + 84 * 7 * 8
    assert report["macs"] == macs
    weights = 8 * 27 + 4 * 8 * 72 + 3 * 7 * 8
    assert weights <= report["parameters"] <= weights + 8  # and the shapes' integers
    assert report["weights_bytes"] >= 4 * weights
    assert report["state_bytes"] > 0
    assert report["preset"] == "yolox"
    assert report["isa"]
    assert report["unsupported"] == []
    for text in ("images", "float32", "Conv 8", "yolox"):
        assert text in printed


def test_inspect_lists_layers(detector: Path) -> None:
    report = json.loads(call("inspect", detector, "--layers", "--json", "-").good().out)
    assert sum(layer["macs"] for layer in report["layers"]) == report["macs"]
    assert {"name", "op", "output", "pixels", "macs"} <= report["layers"][0].keys()
    assert "Conv" in call("inspect", detector, "--layers").good().out


def test_inspect_takes_shapes(image_filter: Path) -> None:
    printed = call("inspect", image_filter, "--shape", "x=1x3x24x40", "--json", "-").good().out
    assert json.loads(printed)["outputs"][0]["shape"] == [1, 1, 24, 40]


def test_inspect_replaces_shapes(detector: Path) -> None:
    wide = call("inspect", detector, "--shape", "images=1x3x64x128", "--json", "-").good().out
    report = json.loads(wide)
    assert report["inputs"][0]["shape"] == [1, 3, 64, 128]
    assert report["outputs"][0]["shape"][1] == 8 * 16 + 4 * 8 + 2 * 4
    message = call("inspect", detector, "--shape", "images=3x64x64").error_line(2)
    assert "[1,3,64,64]" in message
    outcome = call("inspect", detector, "--shape", "images=1x4x64x64")
    outcome.error_line(1)
    assert "another shape may fit" in outcome.out


def test_inspect_names_everything_unsupported(tmp_path: Path) -> None:
    model = support.make_unsupported(tmp_path / "odd.onnx")
    out = tmp_path / "odd.json"
    outcome = call("inspect", model, "--json", out)
    assert "2 of its nodes" in outcome.error_line(2)
    for text in ("first", "Frobnicate", "second", "Defrobnicate"):
        assert text in outcome.out
    listed = json.loads(out.read_text())["unsupported"]
    assert [entry["node"] for entry in listed] == ["first", "second"]
    assert all(entry["reason"] for entry in listed)
    message = call("infer", model, "--out", tmp_path).error_line(2)
    assert "first" in message
    assert "second" in message


def filtered(model: Path, picture: np.ndarray) -> np.ndarray:
    """What make_filter's network must give, by NumPy."""
    kernel = onnx.numpy_helper.to_array(onnx.load(model).graph.initializer[0])
    padded = np.pad(picture.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = picture.shape[2:]
    out = np.zeros((1, 1, height, width))
    for y in range(3):
        for x in range(3):
            part = padded[0, :, y : y + height, x : x + width]
            out[0, 0] += np.tensordot(kernel[0, :, y, x].astype(np.float64), part, axes=1)
    return out


@pytest.mark.parametrize("order", ["C", "F"])
def test_infer_gives_every_output(image_filter: Path, tmp_path: Path, order: str) -> None:
    picture = np.random.default_rng(3).standard_normal((1, 3, 19, 23)).astype(np.float32)
    np.save(tmp_path / "x.npy", np.asarray(picture, order=order))
    out = tmp_path / "new" / "folder"
    call("infer", image_filter, "--input", f"x={tmp_path / 'x.npy'}", "--out", out).good()
    assert sorted(path.name for path in out.iterdir()) == ["grad.npy", "net_out.npy"]
    expected = filtered(image_filter, picture)
    np.testing.assert_allclose(np.load(out / "grad.npy"), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(np.load(out / "net_out.npy"), np.abs(np.load(out / "grad.npy")))


def test_values_stand_in_for_inputs(tmp_path: Path, clip: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Cast", ["size"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["mean", "floats"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["out"]),
    ]
    inputs = [
        support.image("picture", "n", 3, 32, 32),
        helper.make_tensor_value_info("size", TensorProto.INT64, ["n", 1]),
        support.image("offset", 1),
    ]
    outputs = [support.image("out", "n", 1, 32, 32)]
    graph = helper.make_graph(nodes, "scale", inputs, outputs)
    model = tmp_path / "scale.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), model)

    assert "--value" in call("run", model, clip).error_line(2)
    values = ["--value", "size=3", "--value", "offset=-0.5"]
    call("run", model, clip, *values, "--frames", 3, "--jsonl", "-").good()
    picture = np.random.default_rng(3).random((1, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", picture)
    call("infer", model, "--input", f"picture={tmp_path}/x.npy", *values, "--out", tmp_path).good()
    expected = 3 * picture.mean(axis=1, keepdims=True) - 0.5
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5, atol=1e-5)

    assert "needs 1" in call("inspect", model, "--value", "size=3,4").error_line(2)
    assert "int64" in call("inspect", model, "--value", "size=1.5").error_line(2)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_infer_reads_every_version(tmp_path: Path, version: tuple[int, int]) -> None:
    model = support.make_sum(tmp_path / "sum.onnx")
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    b = np.array([[10, 20, 30], [40, 50, -60]], dtype=np.int64)
    for name, values in (("a", a), ("b", b)):
        with (tmp_path / f"{name}.npy").open("wb") as file:
            np.lib.format.write_array(file, values, version=version)
    inputs = [f"{name}={tmp_path / name}.npy" for name in ("a", "b")]
    for spelled in (["--input", *inputs], ["--input", inputs[0], "--input", inputs[1]]):
        call("infer", model, *spelled, "--out", tmp_path, "--threads", 2).good()
        np.testing.assert_array_equal(np.load(tmp_path / "sum.npy"), a + b)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1, column 1"),
        ("yolox", "line 1, column 1"),
        ('{"conf": 0.5,\n "iou" 0.5}', "line 2, column "),
        ('{"conf": 0.5,\n "iou": 0.5', "line 2, column "),
        ('{"names": ["caf\xe9"]}', "line 1, column "),
    ],
)
def test_bad_json_beside_a_model(
    detector: Path, clip: Path, tmp_path: Path, text: str, place: str
) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(detector.read_bytes())
    (tmp_path / "m.json").write_bytes(text.encode("latin-1"))
    line = call("run", model, clip).error_line(2)
    assert f"{tmp_path / 'm.json'}, {place}" in line
    assert ": not JSON; correct it" in line
    (tmp_path / "m.json").write_text("[1, 2]")
    assert "not a JSON object" in call("run", model, clip).error_line(2)


def test_names_are_given_once(detector: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 64, 64), np.float32))
    for option, values in (
        ("--input", 2 * [f"images={tmp_path / 'x.npy'}"]),
        ("--shape", ["images=1x3x64x64", "images=1x3x32x32"]),
        ("--value", ["images=1", "images=2"]),
    ):
        options = [word for value in values for word in (option, value)]
        line = call("infer", detector, *options, "--out", tmp_path / "out").error_line(2)
        assert f"{option} images: is given twice" in line


def test_infer_refuses_inputs_that_do_not_fit(tmp_path: Path) -> None:
    model = support.make_sum(tmp_path / "sum.onnx")
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.float32))
    np.save(tmp_path / "double.npy", np.zeros((2, 3), np.float64))
    np.save(tmp_path / "long.npy", np.zeros((2, 4), np.float32))

    def infer(*inputs: str) -> str:
        options = [word for text in inputs for word in ("--input", text)]
        return call("infer", model, *options, "--out", tmp_path / "out").error_line(2)

    a = f"a={tmp_path}/a.npy"
    assert "'b'" in infer(a)
    assert "'c'" in infer(a, f"c={tmp_path}/a.npy")
    assert "float64" in infer(f"a={tmp_path}/double.npy", f"b={tmp_path}/a.npy")
    assert "[2,4]" in infer(f"a={tmp_path}/long.npy", f"b={tmp_path}/a.npy")
    assert "NAME=VALUE" in infer("a.npy")
    assert not (tmp_path / "out").exists()


def header(text: str) -> bytes:
    """The start of a .npy file with this header."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 4, 4), }"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", 1),
        (b"hello", 1),
        (b"\x93NUMPY", 1),
        (b"\x93NUMPY\x09\x00" + bytes(90), 1),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(90), 1),
        (header(GOOD)[:40], 1),
        (header(GOOD), 1),
        (header(GOOD) + bytes(4 * 48 - 1), 1),
        (header(GOOD.replace("(1, 3, 4, 4)", "(-1, 3)")), 1),
        (header(GOOD.replace("(1, 3, 4, 4)", f"({2**62}, 4)")), 1),
        (header(GOOD.replace("(1, 3, 4, 4)", f"({2**62}, 4, 0)")), 1),
        (header(GOOD.replace("(1, 3, 4, 4)", f"({2**70},)")), 1),
        (header(GOOD.replace("(1, 3, 4, 4)", "(" + "1," * 1000 + ")")) + bytes(4), 1),
        (header(GOOD.replace("'shape'", "'shop'")) + bytes(4 * 48), 1),
        (header("{'descr': '<f4'}") + bytes(4 * 48), 1),
        (header("{" * 500), 1),
        (header(GOOD.replace("<f4", ">f4")) + bytes(4 * 48), 2),
        (header(GOOD.replace("<f4", "|O")) + bytes(4 * 48), 2),
    ],
)
def test_infer_refuses_bad_tensor_files(
    image_filter: Path, tmp_path: Path, content: bytes, code: int
) -> None:
    path = tmp_path / "bad.npy"
    path.write_bytes(content)
    outcome = call("infer", image_filter, "--input", f"x={path}", "--out", tmp_path)
    assert "bad.npy" in outcome.error_line(code)


def test_infer_needs_a_folder_it_can_write(image_filter: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 8, 8), np.float32))
    outcome = call("infer", image_filter, "--input", f"x={tmp_path}/x.npy", "--out", "/proc/none")
    assert "/proc/none" in outcome.error_line(1)
    outcome = call("infer", image_filter, "--input", f"x={tmp_path}", "--out", tmp_path)
    outcome.error_line(1)
