"""Training pictures made of random streets and sprites, training, export and measurement."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from bank import Bank
from compose import CLASS_NAMES, HEIGHT, WIDTH
from detector import STRIDES, Detector, cells, decode, loss
from torch import Tensor

MAX_OBJECTS = 24
HIDDEN_BELOW = 0.3  # visible share under which an object is neither wanted nor punished


class Pictures(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Picture `i` depends on the seed and on `i` alone."""

    def __init__(self, bank: Bank, seed: int, count: int) -> None:
        self.bank, self.seed, self.count = bank, seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.seed, index])
        frame, labels = self.bank.picture(rng)
        targets = torch.full((MAX_OBJECTS, 6), -1.0)
        targets[:, 0] = 0
        for row, label in enumerate(labels[:MAX_OBJECTS]):
            learn = float(label.seen >= HIDDEN_BELOW)
            targets[row] = torch.tensor([float(label.kind), *map(float, label.box), learn])
        if rng.random() < 0.5:
            frame = frame[:, ::-1]
            targets[:, [1, 3]] = WIDTH - targets[:, [3, 1]]
        return torch.from_numpy(np.ascontiguousarray(frame)), targets


def _dct(device: torch.device) -> Tensor:
    k, n = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    basis = torch.cos(torch.pi * (2 * n + 1) * k / 16) * 0.5
    basis[0] /= 2**0.5
    return basis.to(device)


def degrade(frames: Tensor, rng: torch.Generator) -> Tensor:
    """[B, H, W, 3] bytes -> [B, 3, H, W] in 0..1 with a camera's and a video codec's faults."""
    device, batch = frames.device, frames.shape[0]

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        values = torch.rand((batch, channels, 1, 1), generator=rng, device=device)
        return values * (high - low) + low

    x = frames.permute(0, 3, 1, 2).float() / 255
    x = x.clamp(min=1e-4) ** uniform(0.8, 1.25)
    x = (x - 0.5) * uniform(0.8, 1.2) + 0.5 + uniform(-0.1, 0.1)
    x = x * uniform(0.93, 1.07, 3)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, soft, uniform(-0.25, 0.7))
    noise = torch.randn((batch, 1, *x.shape[2:]), generator=rng, device=device)
    x = x + noise * uniform(0, 0.016)
    weights = torch.tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
    to_yuv = weights.to(device)
    yuv = torch.einsum("ij,bjhw->bihw", to_yuv, x)
    chroma = F.interpolate(F.avg_pool2d(yuv[:, 1:], 2), scale_factor=2.0, mode="bilinear")
    yuv = torch.cat([yuv[:, :1], chroma], 1)
    b, c, h, w = yuv.shape
    blocks = yuv.reshape(b, c, h // 8, 8, w // 8, 8)
    dct = _dct(device)
    coded = torch.einsum("ki,bcyixj,lj->bcykxl", dct, blocks, dct)
    rise = (torch.arange(8.0)[:, None] + torch.arange(8.0)[None]).to(device)
    step = uniform(0.001, 0.11)[..., None, None] * (0.4 + 0.15 * rise[None, None, None, :, None])
    coded = (coded / step).round() * step
    yuv = torch.einsum("ki,bcykxl,lj->bcyixj", dct, coded, dct).reshape(b, c, h, w)
    x = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_yuv), yuv)
    return (x.clamp(0, 1) * 255).round() / 255


def train(bank_path: Path, out: Path, *, seed: int, steps: int, batch: int, workers: int) -> None:
    """Trains on `steps` batches and writes the averaged weights to `out`."""
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Detector(len(CLASS_NAMES)).to(device)
    model.logits = True
    average = copy.deepcopy(model).eval()
    corner, stride = cells(HEIGHT, WIDTH, device)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    peak = 2e-3 * (batch / 32) ** 0.5
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.03}, {"params": plain, "weight_decay": 0.0}], lr=peak
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, steps, pct_start=0.05)
    pictures = Pictures(Bank.load(bank_path), seed, steps * batch)
    loader = torch.utils.data.DataLoader(
        pictures, batch, num_workers=workers, drop_last=True, pin_memory=device.type == "cuda"
    )
    rng = torch.Generator(device).manual_seed(seed)
    start, running = time.time(), 0.0
    for step, (frames, targets) in enumerate(loader, 1):
        frames, targets = frames.to(device, non_blocking=True), targets.to(device)
        images = degrade(frames, rng).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            output = model(images)
        value = loss(output, targets, corner, stride)
        optimizer.zero_grad()
        torch.autograd.backward(value)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            keep = min(0.999, step / (step + 50))
            latest = model.state_dict()
            for name, mean in average.state_dict().items():
                now = latest[name]
                if mean.is_floating_point():
                    mean.lerp_(now, 1 - keep)
                else:
                    mean.copy_(now)
        running += float(value.detach())
        if step % 100 == 0:
            print(
                f"step {step}/{steps}: loss {running / 100:.3f}, {time.time() - start:.0f} s",
                flush=True,
            )
            running = 0.0
    torch.save(average.state_dict(), out)


def export(weights: Path, onnx_path: Path, json_path: Path) -> None:
    """Writes the network with its batch normalisation folded, and how to feed and read it."""
    import onnx

    model = Detector(len(CLASS_NAMES)).eval()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    torch.onnx.export(
        model,
        (torch.zeros(1, 3, HEIGHT, WIDTH),),
        str(onnx_path),
        input_names=["images"],
        output_names=["output"],
        opset_version=17,
        dynamo=False,
    )
    proto = onnx.load(str(onnx_path))
    names = "{" + ", ".join(f"{i}: '{name}'" for i, name in enumerate(CLASS_NAMES)) + "}"
    onnx.helper.set_model_props(proto, {"names": names})
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, str(onnx_path))
    settings = {
        "decoder": "yolox",
        "names": CLASS_NAMES,
        "input": {
            "color": "rgb",
            "mean": [0, 0, 0],
            "std": [255, 255, 255],
            "resize": "letterbox",
            "pad_value": 114,
        },
        "strides": list(STRIDES),
        "conf": 0.4,
        "iou": 0.5,
    }
    json_path.write_text(json.dumps(settings, indent=2) + "\n")


Detections = npt.NDArray[np.float32]  # rows: x0, y0, x1, y1, score, class


def detections(output: Tensor, conf: float = 0.4, iou: float = 0.5) -> Detections:
    """Boxes of one picture, [N, 5 + classes] decoded, after suppression within each class."""
    corner, stride = cells(HEIGHT, WIDTH)
    boxes = decode(output, corner, stride)
    score, kind = (output[:, 4:5] * output[:, 5:]).max(1)
    rows = torch.cat([boxes, score[:, None], kind[:, None].float()], 1)[score >= conf].numpy()
    rows = rows[np.argsort(-rows[:, 4])]
    kept: list[npt.NDArray[np.float32]] = []
    for row in rows:
        if all(row[5] != other[5] or box_iou(row, other) <= iou for other in kept):
            kept.append(row)
    return np.array(kept, np.float32).reshape(-1, 6)


def box_iou(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    a, b = np.asarray(a, float), np.asarray(b, float)
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    inner = max(w, 0.0) * max(h, 0.0)
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


def measure(
    frames: npt.NDArray[np.uint8], truth: list[list[list[float]]], model: Path, threads: int = 1
) -> dict[str, float]:
    """Precision and recall at IoU 0.5 of the exported network; hidden objects count for nothing."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    found = wanted = false = 0
    ious: list[float] = []
    for frame, rows in zip(frames, truth, strict=True):
        image = frame.transpose(2, 0, 1)[None].astype(np.float32) / 255
        output = torch.from_numpy(session.run(None, {"images": image})[0][0])
        open_rows = list(range(len(rows)))
        for detection in detections(output):
            best, best_iou = -1, 0.5
            for index in open_rows:
                iou = box_iou(rows[index][1:5], detection)
                if rows[index][0] == detection[5] and iou >= best_iou:
                    best, best_iou = index, iou
            if best < 0:
                false += 1
            else:
                open_rows.remove(best)
                if rows[best][5] >= HIDDEN_BELOW:
                    found += 1
                    ious.append(best_iou)
        wanted += sum(int(row[5] >= HIDDEN_BELOW) for row in rows)
    return {
        "frames": len(truth),
        "objects": wanted,
        "recall": found / max(wanted, 1),
        "precision": found / max(found + false, 1),
        "mean_iou": float(np.mean(ious)),
    }


def measure_unseen(bank_path: Path, model: Path, count: int) -> dict[str, float]:
    """The same on random streets and sprites that training never saw, without degradation."""
    bank = Bank.load(bank_path)
    pairs = [bank.picture(np.random.default_rng([1, i])) for i in range(count)]
    truth = [
        [[float(t.kind), *map(float, t.box), float(t.seen)] for t in labels] for _, labels in pairs
    ]
    return measure(np.stack([frame for frame, _ in pairs]), truth, model)
