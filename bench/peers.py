"""The dense runtimes that deltacnn is compared with, all made to compute in float32."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
import pnnx
import torch
from ncnn_graph import spelled_for_pnnx
from torch_graph import GraphModule

# An output counts as right if it differs from ONNX Runtime's by at most this, and this share of its
# largest element.
ABSOLUTE, RELATIVE = 1e-4, 1e-3
FEWEST_RUNS = 3
CONVERSION_SECONDS = 120


class NotMeasured(Exception):
    """Why a runtime does not take part with a model."""


class Peer:
    """A model, loaded; `run` is what is timed."""

    name: str
    version: str

    def feed(self, image: np.ndarray) -> None:
        """Writes an image to where the runtime reads its input."""
        raise NotImplementedError

    def run(self) -> Any:
        """One dense run on the input."""
        raise NotImplementedError

    def outputs(self) -> list[np.ndarray]:
        """The model's outputs in its order."""
        raise NotImplementedError


class OnnxRuntime(Peer):
    """The CPU provider with all optimisations, which are the default."""

    name, version = "ONNX Runtime", ort.__version__

    def __init__(self, model: onnx.ModelProto, image: np.ndarray, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.image = image.copy()
        self.inputs = {model.graph.input[0].name: self.image}

    def feed(self, image: np.ndarray) -> None:
        np.copyto(self.image, image)

    def run(self) -> list[np.ndarray]:
        return self.session.run(None, self.inputs)

    def outputs(self) -> list[np.ndarray]:
        return self.run()


class OpenVino(Peer):
    """The CPU plugin, which by itself would choose bfloat16 where the machine has it."""

    name, version = "OpenVINO", ov.__version__.split("-")[0]

    def __init__(self, model: onnx.ModelProto, image: np.ndarray, threads: int) -> None:
        core = ov.Core()
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # whoever starts the comparison decides on cores
        }
        compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", options)
        self.request = compiled.create_infer_request()
        self.image = image.copy()
        self.request.set_input_tensor(ov.Tensor(self.image, shared_memory=True))
        self.count = len(compiled.outputs)

    def feed(self, image: np.ndarray) -> None:
        np.copyto(self.image, image)

    def run(self) -> None:
        self.request.infer()

    def outputs(self) -> list[np.ndarray]:
        self.run()
        return [self.request.get_output_tensor(i).data for i in range(self.count)]


class Ncnn(Peer):
    """Converted with pnnx, weights in float32; fp16 and bf16 off, everything else as it comes."""

    name, version = "ncnn", ncnn.__version__

    def __init__(self, model: onnx.ModelProto, image: np.ndarray, threads: int) -> None:
        self.net = ncnn.Net()
        self.net.opt.num_threads = threads
        self.net.opt.use_vulkan_compute = False
        for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic",
                       "bf16_packed", "bf16_storage"):  # fmt: skip
            setattr(self.net.opt, f"use_{option}", False)
        with tempfile.TemporaryDirectory() as folder:
            onnx.save(spelled_for_pnnx(model), Path(folder) / "model.onnx")
            shape = str(list(image.shape)).replace(" ", "")
            subprocess.run(
                [pnnx.EXEC_PATH, "model.onnx", f"inputshape={shape}f32", "fp16=0"],
                cwd=folder, capture_output=True, check=False, timeout=CONVERSION_SECONDS,
            )  # fmt: skip
            parameters, weights = Path(folder) / "model.ncnn.param", Path(folder) / "model.ncnn.bin"
            if not weights.exists():
                raise NotMeasured("pnnx cannot convert the model")
            if self.net.load_param(str(parameters)) or self.net.load_model(str(weights)):
                raise NotMeasured("pnnx leaves an operator that ncnn does not know")
        self.image = ncnn.Mat(image[0]).clone()
        self.shapes = [
            [dim.dim_value for dim in item.type.tensor_type.shape.dim]
            for item in model.graph.output
        ]

    def feed(self, image: np.ndarray) -> None:
        np.copyto(np.asarray(self.image), image[0])

    def run(self) -> list[ncnn.Mat]:
        extractor = self.net.create_extractor()
        extractor.input("in0", self.image)
        results = [extractor.extract(f"out{i}") for i in range(len(self.shapes))]
        if any(code for code, _ in results):
            raise NotMeasured("ncnn cannot run the converted model")
        return [mat for _, mat in results]

    def outputs(self) -> list[np.ndarray]:
        return [np.array(mat) for mat in self.run()]


class PyTorch(Peer):
    """Eager calls, channels last: what most users run."""

    name, version = "PyTorch", torch.__version__.split("+")[0]

    def __init__(self, model: onnx.ModelProto, image: np.ndarray, threads: int) -> None:
        torch.set_num_threads(threads)
        tensor = torch.from_numpy(image.copy())
        if image.shape[1] < image.shape[-1]:  # else the model itself takes rows of pixels
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        self.tensor = tensor
        self.inputs = {model.graph.input[0].name: tensor}
        with torch.inference_mode():
            self.module = GraphModule(model, self.inputs)

    def feed(self, image: np.ndarray) -> None:
        self.tensor.copy_(torch.from_numpy(image))

    def run(self) -> list[torch.Tensor]:
        with torch.inference_mode():
            return self.module(self.inputs)

    def outputs(self) -> list[np.ndarray]:
        return [tensor.numpy() for tensor in self.run()]


REFERENCE = OnnxRuntime
PEERS: list[type[Peer]] = [OnnxRuntime, OpenVino, Ncnn, PyTorch]


def load(path: Path) -> tuple[onnx.ModelProto, np.ndarray]:
    """A model of one input, its unknown dimensions those that deltacnn would choose; an image."""
    model = onnx.load(path)
    constants = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in constants]
    if len(inputs) != 1:
        raise NotMeasured(f"has {len(inputs)} inputs")
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    shape = inputs[0].type.tensor_type.shape
    for dim, size in zip(shape.dim, (1, 3, 320, 320), strict=False):
        if dim.dim_value <= 0:
            dim.dim_value = size
    sizes = [dim.dim_value for dim in shape.dim]
    return model, noise(sizes, 1)


def noise(shape: Sequence[int], seed: int) -> np.ndarray:
    """An image of nothing."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def difference(outputs: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """The largest difference from a reference, in units of what is allowed."""
    worst = 0.0
    if len(outputs) != len(wanted):
        raise NotMeasured(f"gives {len(outputs)} outputs instead of {len(wanted)}")
    for output, reference in zip(outputs, wanted, strict=True):
        if output.size != reference.size:
            raise NotMeasured(f"gives shape {output.shape} instead of {reference.shape}")
        allowed = ABSOLUTE + RELATIVE * float(np.abs(reference).max(initial=0))
        gap = np.abs(output.reshape(-1) - reference.reshape(-1))
        worst = max(worst, float(gap.max(initial=0)) / allowed)
        if not np.isfinite(output).all():
            raise NotMeasured("gives infinities")
    return worst


def one_line(message: str) -> str:
    """The first line of a message, shortened."""
    return next(iter(message.strip().splitlines()), "no message")[:120]


def make_peers(
    path: Path, threads: int, kinds: Sequence[type[Peer]] = PEERS
) -> tuple[list[Peer], dict[str, str]]:
    """The runtimes that give the right answer, and why others do not take part."""
    model, image = load(path)
    wanted = REFERENCE(model, image, threads).outputs()
    peers, missing = [], {}
    for kind in kinds:
        try:
            peer = kind(model, image, threads)
            worst = difference(peer.outputs(), wanted)
            if worst > 1:
                raise NotMeasured(f"differs from {REFERENCE.name}: {worst:.3g} times the tolerance")
            peers.append(peer)
        except Exception as error:  # whatever it is, it takes no part
            missing[kind.name] = one_line(str(error))
    return peers, missing


def waited() -> float:
    """Seconds for which this thread was ready to run but had no core."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def time_peer(
    peer: Peer,
    image: np.ndarray,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Median milliseconds of a run on an image that has just been written, as a camera's has."""
    images = [image, noise(image.shape, 2)]
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples) < FEWEST_RUNS + 1:
        peer.feed(images[len(samples) % 2])
        start = clock()
        peer.run()
        samples.append(1e3 * (clock() - start))
    return statistics.median(samples[1:])
