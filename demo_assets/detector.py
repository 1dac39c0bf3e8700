"""The detector: a plain convolutional network with YOLOX's output format, and its training loss.

Most of the arithmetic is at strides 4 and 8 and the deep levels are thin, so that a change in the
picture reaches little of the costly part.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (8, 16, 32)
# Longest side of the objects (pixels) each stride is trained on; neighbours overlap.
SIZE_RANGES = ((0.0, 96.0), (48.0, 192.0), (96.0, 1e9))


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.03),
        nn.ReLU(inplace=True),
    )


def separable(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(conv(c_in, c_in, 3, stride, groups=c_in), conv(c_in, c_out, 1))


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def bottleneck(channels: int) -> Residual:
    return Residual(
        nn.Sequential(conv(channels, channels // 2, 1), conv(channels // 2, channels, 3))
    )


class Head(nn.Module):
    """Decoupled: one branch for box and objectness, one for the class."""

    def __init__(self, c_in: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.stem = conv(c_in, width, 1)
        self.box_branch, self.class_branch = separable(width, width), separable(width, width)
        self.box = nn.Conv2d(width, 4, 1)
        self.objectness = nn.Conv2d(width, 1, 1)
        self.classes = nn.Conv2d(width, num_classes, 1)
        nn.init.constant_(self.objectness.bias, -4.6)  # 1 % at the start: most cells are empty
        nn.init.constant_(self.classes.bias, -1.1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(x)
        box = self.box_branch(x)
        return self.box(box), self.objectness(box), self.classes(self.class_branch(x))


class Detector(nn.Module):
    """[B, 3, H, W] RGB / 255 -> [B, N, 5 + classes]: x, y, log w, log h, then probabilities.

    With `logits` set, objectness and classes are left before their sigmoid, as the loss wants them.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stage4 = nn.Sequential(conv(3, 24, 3, 2), conv(24, 48, 3, 2), bottleneck(48))
        self.stage8 = nn.Sequential(conv(48, 80, 3, 2), bottleneck(80), bottleneck(80))
        self.stage16 = nn.Sequential(conv(80, 112, 3, 2), bottleneck(112))
        self.stage32 = nn.Sequential(
            separable(112, 128, 2), Residual(separable(128, 128)), Residual(separable(128, 128))
        )
        self.reduce32, self.reduce16 = conv(128, 64, 1), conv(112 + 64, 64, 1)
        self.head8 = Head(80 + 64, 64, num_classes)
        self.head16 = Head(64, 64, num_classes)
        self.head32 = Head(64, 64, num_classes)
        self.logits = False

    def forward(self, x: Tensor) -> Tensor:
        c8 = self.stage8(self.stage4(x))
        c16 = self.stage16(c8)
        p32 = self.reduce32(self.stage32(c16))
        p16 = self.reduce16(torch.cat([c16, F.interpolate(p32, scale_factor=2.0)], 1))
        p8 = torch.cat([c8, F.interpolate(p16, scale_factor=2.0)], 1)
        levels = []
        for box, objectness, classes in (self.head8(p8), self.head16(p16), self.head32(p32)):
            if not self.logits:
                objectness, classes = objectness.sigmoid(), classes.sigmoid()
            levels.append(torch.cat([box, objectness, classes], 1).flatten(2))
        return torch.cat(levels, 2).permute(0, 2, 1)


def cells(height: int, width: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Grid corner x, y of every output row in cells [N, 2], and its stride [N]."""
    corners, strides = [], []
    for stride in STRIDES:
        h, w = height // stride, width // stride
        ys, xs = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        corners.append(torch.stack([xs, ys], -1).reshape(-1, 2))
        strides.append(torch.full((h * w,), stride))
    return torch.cat(corners).float().to(device), torch.cat(strides).float().to(device)


def decode(raw: Tensor, corner: Tensor, stride: Tensor) -> Tensor:
    """Boxes x0, y0, x1, y1 in pixels from the first four columns."""
    center = (raw[..., :2] + corner) * stride[:, None]
    half = raw[..., 2:4].clamp(max=8).exp() * stride[:, None] / 2
    return torch.cat([center - half, center + half], -1)


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU of boxes, broadcast over leading axes."""
    size = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(0)
    inner = size.prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inner
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    iou = inner / union.clamp(min=1e-6)
    hull_area = hull.prod(-1).clamp(min=1e-6)
    return iou, iou - (hull_area - union) / hull_area


@torch.no_grad()
def assign(
    boxes: Tensor, scores: Tensor, targets: Tensor, corner: Tensor, stride: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Which object each cell answers for, by how well its prediction already fits.

    boxes [B, N, 4] and scores [B, N, classes] are predictions; targets [B, M, 6] hold class, box
    and 1 (learn), 0 (hidden: neither object nor background) or -1 (padding). Returns the object's
    index [B, N], whether the cell has one, and whether it counts in the objectness loss.
    """
    point = (corner + 0.5) * stride[:, None]
    low, high = targets[..., 1:3], targets[..., 3:5]
    offset = point[None, None] - ((low + high) / 2)[:, :, None]
    inside = ((point[None, None] > low[:, :, None]) & (point[None, None] < high[:, :, None])).all(
        -1
    )
    reach = offset.abs().amax(-1) / stride
    longest = (high - low).amax(-1)[..., None]
    limits = torch.tensor(SIZE_RANGES, device=boxes.device)[(stride.log2() - 3).long()]
    fits = (longest >= limits[:, 0]) & (longest < limits[:, 1])
    allowed = fits & (reach < 2.5) & (inside | (reach < 0.75)) & (targets[..., 5:] > 0)
    iou, _ = overlap(boxes[:, None], targets[:, :, None, 1:5])
    kind = targets[..., 0].long()
    score = scores.gather(2, kind[:, None].expand(-1, scores.shape[1], -1)).transpose(1, 2)
    fit = (score.clamp(min=1e-4).sqrt() * iou.clamp(min=1e-3) ** 4) * allowed
    best = fit.topk(9, dim=2)
    chosen = torch.zeros_like(fit).scatter_(2, best.indices, best.values)
    value, index = chosen.max(1)
    hidden = (inside & (targets[..., 5:] == 0)).any(1)
    positive = value > 0
    return index, positive, positive | ~hidden


def loss(output: Tensor, targets: Tensor, corner: Tensor, stride: Tensor) -> Tensor:
    output = output.float()
    boxes = decode(output, corner, stride)
    objectness, classes = output[..., 4], output[..., 5:]
    scores = classes.sigmoid() * objectness.sigmoid()[..., None]
    index, positive, counts = assign(boxes, scores, targets, corner, stride)
    matched = targets.gather(1, index[..., None].expand(-1, -1, 6))
    total = positive.sum().clamp(min=1)
    bce = F.binary_cross_entropy_with_logits
    object_loss = bce(objectness, positive.float(), counts.float(), reduction="sum")
    iou, giou = overlap(boxes[positive], matched[positive][:, 1:5])
    wanted = F.one_hot(matched[positive][:, 0].long(), classes.shape[-1]) * iou.detach()[:, None]
    class_loss = bce(classes[positive], wanted, reduction="sum")
    return (5 * (1 - giou).sum() + object_loss + class_loss) / total
