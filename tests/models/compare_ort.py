"""Compares `deltacnn infer` with onnxruntime on real models and real frames.

    python tests/models/compare_ort.py build/bin/deltacnn [--model NAME]...

Every fp32 model of the data folder (DELTACNN_DATA, or ../shared/data beside the checkout) is fed
two frames of real clips, prepared as its authors did. Every element of every output must satisfy
|ours - theirs| <= 1e-4 + 1e-4 * |theirs|, the bar.

Some models amplify rounding so much that onnxruntime itself is that far from exact arithmetic.
Where an element is over the bar, the model is therefore evaluated in float64 too, and passes if our
worst error against that is at most half as large again as onnxruntime's. The table shows both.

Models that round to 8 bits in every layer turn a last bit into a whole step here and there, and
onnxruntime's own optimisations do. There our mean deviation from it without them may be twice that
of it with them; the table shows both as shares of the largest output.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Preparation:
    """How a model wants its pixels: value = (pixel - mean) / std, in channel order `order`."""

    clips: tuple[str, str]
    order: str = "rgb"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    nhwc: bool = False


IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
STREET = ("vtest_480x360.mp4", "street_market_pinto2.mp4")
ROAD = ("dashcam_solidWhiteRight.mp4", "davis_car-shadow.mkv")
FACES = ("webcam_asl_A.mkv", "one-by-one-person-detection.mp4")
INDOOR = ("bottle-detection.mp4", "drone_watch_handheld.mp4")

# How much larger than onnxruntime's our error may be: the worst against float64, and the mean of
# quantised models, which is made of few accidents.
MARGIN = 1.5
QUANTISED_MARGIN = 2.0

QUANTISED: dict[str, Preparation] = {
    "deeplabv3_mnv2_pascal_513_uint8_qdq": Preparation(STREET, mean=(127.5,), std=(127.5,)),
    "mobilenetv2_1.0_224_int8_qdq": Preparation(INDOOR, mean=(127.5,), std=(127.5,)),
    "posenet_mnv1_075_353x481_int8_qdq": Preparation(FACES, mean=(127.5,), std=(127.5,)),
}

MODELS: dict[str, Preparation] = {
    "espcn_x3_180x320": Preparation(STREET, "gray", std=(255.0,)),
    "fastestdet_352": Preparation(STREET, "bgr", std=(255.0,)),
    "nanodet_m_416": Preparation(STREET, "bgr", mean=IMAGENET_MEAN[::-1], std=IMAGENET_STD[::-1]),
    "openseeface_lm0_std": Preparation(FACES, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "posenet_mnv1_075_353x481_float": Preparation(FACES, mean=(127.5,), std=(127.5,)),
    "resnet50v2_c4_384": Preparation(INDOOR, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "retinaface_mbnet0.25": Preparation(FACES, "bgr", mean=(104.0, 117.0, 123.0)),
    "road_segmentation_adas_0001": Preparation(ROAD, "bgr", nhwc=True),
    "squeezenet1.1_224_fp32": Preparation(INDOOR, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "style_candy_nc16_256": Preparation(ROAD),
    "ultraface_rfb_320": Preparation(FACES, mean=(127.0,), std=(128.0,)),
    "yolov5n_640": Preparation(STREET, std=(255.0,)),
    "yolox_nano_416": Preparation(ROAD, "bgr"),
    "yunet_n_640": Preparation(FACES, "bgr"),
}


@dataclass
class Comparison:
    """The worst element of all outputs, as a multiple of the bar, and how many are over it."""

    worst: float = 0.0
    over: int = 0

    def add(self, got: Array, want: Array) -> None:
        """Takes in one output."""
        if got.shape != want.shape:
            raise ValueError(f"shape {got.shape} instead of {want.shape}")
        if got.size == 0:
            return
        a = got.astype(np.float64)
        b = want.astype(np.float64)
        ratio = np.where(a == b, 0.0, np.abs(a - b) / (TOLERANCE + TOLERANCE * np.abs(b)))
        ratio = np.where(np.isnan(a) & np.isnan(b), 0.0, ratio)
        ratio = np.nan_to_num(ratio, nan=np.inf)
        self.worst = max(self.worst, float(ratio.max()))
        self.over += int((ratio > 1).sum())


def data_folder() -> Path | None:
    """Where models and clips lie, if they do."""
    candidates = [Path(p) for p in [os.environ.get("DELTACNN_DATA", "")] if p]
    candidates.append(ROOT.parent / "shared" / "data")
    return next((p for p in candidates if (p / "models").is_dir()), None)


def static_shape(model: onnx.ModelProto) -> list[int]:
    """The shape of the first input; unknown sizes as deltacnn fills them in."""
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    defaults = [1, 3, 320, 320]
    return [d if d > 0 else defaults[i] for i, d in enumerate(dims)]


def decode(clip: Path, width: int, height: int, gray: bool) -> npt.NDArray[np.uint8]:
    """A frame two seconds into the clip (or the first one of a shorter clip), scaled."""
    channels = 1 if gray else 3
    for start in ("2", "0"):
        command = ["ffmpeg", "-v", "error", "-ss", start, "-i", str(clip), "-frames:v", "1"]
        command += ["-vf", f"scale={width}:{height}", "-pix_fmt", "gray" if gray else "rgb24"]
        raw = subprocess.run([*command, "-f", "rawvideo", "-"], capture_output=True, check=True)
        if raw.stdout:
            break
    return np.frombuffer(raw.stdout, np.uint8).reshape(height, width, channels)


def prepare(clip: Path, preparation: Preparation, shape: list[int]) -> Array:
    """The input tensor that the model's authors would have made of the frame."""
    height, width = (shape[1], shape[2]) if preparation.nhwc else (shape[2], shape[3])
    image = decode(clip, width, height, preparation.order == "gray").astype(np.float64)
    if preparation.order == "bgr":
        image = image[..., ::-1]
    image = (image - np.array(preparation.mean)) / np.array(preparation.std)
    if not preparation.nhwc:
        image = image.transpose(2, 0, 1)
    return np.ascontiguousarray(image[None], np.float32)


def run_ours(program: Path, model: Path, name: str, tensor: Array) -> dict[str, Array]:
    """Outputs of `deltacnn infer`, by name."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "input.npy"
        np.save(source, tensor)
        out = Path(folder) / "out"
        command = [str(program), "infer", str(model), "--input", f"{name}={source}"]
        done = subprocess.run(
            [*command, "--out", str(out)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return {path.stem: np.load(path) for path in out.glob("*.npy")}


def run_truth(model: onnx.ModelProto, name: str, tensor: Array) -> list[Array]:
    """The model in float64, by the reference implementation of the onnx package."""
    from onnx.reference import ReferenceEvaluator

    wide = onnx.ModelProto()
    wide.CopyFrom(model)

    def widen(proto: onnx.TensorProto) -> None:
        if proto.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(proto).astype(np.float64)
            proto.CopyFrom(onnx.numpy_helper.from_array(array, proto.name))

    for proto in wide.graph.initializer:
        widen(proto)
    for node in wide.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                widen(attribute.t)
    evaluator = ReferenceEvaluator(wide)
    return list(evaluator.run(None, {name: tensor.astype(np.float64)}))


@dataclass
class Report:
    """How far we are from onnxruntime, and both from float64 where that was needed."""

    theirs: Comparison
    ours_from_truth: Comparison
    theirs_from_truth: Comparison

    def passed(self) -> bool:
        """See the top of this file."""
        allowed = MARGIN * self.theirs_from_truth.worst
        return self.theirs.over == 0 or self.ours_from_truth.worst <= allowed

    def row(self) -> str:
        """The columns of the table behind the model's name."""
        text = f"{self.theirs.worst:11.3f} {self.theirs.over:8}"
        if self.theirs.over > 0:
            text += f" {self.ours_from_truth.worst:14.3f} {self.theirs_from_truth.worst:14.3f}"
        return text


def compare(program: Path, data: Path, model_path: Path, preparation: Preparation) -> Report:
    """Both programs on two frames."""
    model = onnx.load(model_path)
    shape = static_shape(model)
    session = ort.InferenceSession(str(model_path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    names = [o.name.replace("/", "_") for o in session.get_outputs()]
    report = Report(Comparison(), Comparison(), Comparison())
    runs: list[tuple[Array, list[Array], list[Array]]] = []
    for clip in preparation.clips:
        tensor = prepare(data / "videos" / clip, preparation, shape)
        outputs = run_ours(program, model_path, name, tensor)
        runs.append((tensor, [outputs[n] for n in names], session.run(None, {name: tensor})))
    for _, ours, theirs in runs:
        for got, want in zip(ours, theirs, strict=True):
            report.theirs.add(got, want)
    if report.theirs.over > 0:
        for tensor, ours, theirs in runs:
            for got, want, exact in zip(ours, theirs, run_truth(model, name, tensor), strict=True):
                report.ours_from_truth.add(got, exact)
                report.theirs_from_truth.add(want, exact)
    return report


@dataclass
class QuantisedReport:
    """Mean deviations from onnxruntime without optimisations, as shares of the largest output."""

    ours: float = 0.0
    theirs: float = 0.0

    def passed(self) -> bool:
        """See the top of this file."""
        return self.ours <= QUANTISED_MARGIN * self.theirs

    def row(self) -> str:
        """The columns of the table behind the model's name."""
        return f"{'quantised':>20} {self.ours:14.4%} {self.theirs:14.4%}"


def compare_quantised(
    program: Path, data: Path, model_path: Path, preparation: Preparation
) -> QuantisedReport:
    """All three on two frames."""
    shape = static_shape(onnx.load(model_path))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers = ["CPUExecutionProvider"]
    plain = ort.InferenceSession(str(model_path), options, providers=providers)
    optimised = ort.InferenceSession(str(model_path), providers=providers)
    name = plain.get_inputs()[0].name
    report = QuantisedReport()
    for clip in preparation.clips:
        tensor = prepare(data / "videos" / clip, preparation, shape)
        ours = run_ours(program, model_path, name, tensor)
        outputs = zip(plain.get_outputs(), plain.run(None, {name: tensor}),
                      optimised.run(None, {name: tensor}), strict=True)  # fmt: skip
        for output, exact, theirs in outputs:
            largest = float(np.abs(exact).max())
            got = ours[output.name.replace("/", "_")]
            report.ours += float(np.abs(got - exact).mean()) / largest
            report.theirs += float(np.abs(theirs - exact).mean()) / largest
    return report


def main() -> int:
    """Prints a table; fails if a model is over the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("--model", action="append", help="only this one (may be repeated)")
    arguments = parser.parse_args()
    ort.set_default_logger_severity(3)
    data = data_folder()
    if data is None:
        print("no data folder (set DELTACNN_DATA); 0 passed, 0 failed, 0 skipped")
        return 0
    passed = failed = skipped = 0
    print(f"{'model':34} {'worst / bar':>11} {'over':>8} {'ours / truth':>14} {'ort / truth':>14}")
    for path in sorted((data / "models").glob("*.onnx")):
        if arguments.model and path.stem not in arguments.model:
            continue
        if path.stem not in MODELS and path.stem not in QUANTISED:
            skipped += 1
            print(f"{path.stem:34} skipped (no preparation known)")
            continue
        report: Report | QuantisedReport
        try:
            if path.stem in MODELS:
                report = compare(arguments.program, data, path, MODELS[path.stem])
            else:
                report = compare_quantised(arguments.program, data, path, QUANTISED[path.stem])
        except (RuntimeError, ValueError, KeyError, subprocess.CalledProcessError) as error:
            failed += 1
            print(f"{path.stem:34} FAILED: {error}")
            continue
        passed += report.passed()
        failed += not report.passed()
        print(f"{path.stem:34} {report.row()}{'' if report.passed() else '  FAILED'}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
