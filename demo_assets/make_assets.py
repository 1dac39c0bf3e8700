#!/usr/bin/env python3
"""Makes the demo's clip and detector from nothing: `make_assets.py all`, or one step at a time."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from compose import CLASS_NAMES, ground_scale

HERE = Path(__file__).resolve().parent
BANK_SEED, UNSEEN_SEED, TRAIN_SEED, CLIP_SEED = 1000, 2000, 3, 47
CRF = 22


def build_bank(path: Path, seed: int, backgrounds: int, sprites: int) -> None:
    """Draws a bank of streets and, for each class, `sprites` random individuals."""
    import numpy as np
    from actors import draw_sprite, make_actor
    from bank import Bank, random_ground_y
    from scene import make_background

    rng = np.random.default_rng(seed)
    by_class = []
    for kind in range(len(CLASS_NAMES)):
        group = []
        for _ in range(sprites):
            scale = ground_scale(random_ground_y(kind, rng)) * float(rng.uniform(0.88, 1.15))
            sprite = draw_sprite(
                make_actor(kind, rng),
                kind,
                scale,
                distance=float(rng.uniform(0, 10)),
                still=bool(rng.random() < 0.35),
                facing=int(rng.choice([-1, 1])),
                dx=float(rng.random()),
                dy=float(rng.random()),
            )
            group.append((sprite, scale))
        by_class.append(group)
    Bank([make_background(rng) for _ in range(backgrounds)], by_class).save(path)


def report(what: str, figures: dict[str, float]) -> None:
    print(f"{what}: " + ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=["bank", "train", "clip", "export", "check", "all"])
    parser.add_argument(
        "--work",
        type=Path,
        default=HERE.parent / "out" / "demo_assets",
        help="folder for what is not kept: sprite banks, weights, truth",
    )
    parser.add_argument("--steps", type=int, default=6000, help="training batches")
    parser.add_argument("--batch", type=int, default=64, help="pictures a batch")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw pictures")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    bank, weights = args.work / "bank.npz", args.work / "weights.pt"

    def wanted(step: str) -> bool:
        return args.step in (step, "all")

    if wanted("bank"):
        build_bank(bank, BANK_SEED, backgrounds=72, sprites=900)
    if wanted("train"):
        from train import train

        train(
            bank, weights, seed=TRAIN_SEED, steps=args.steps, batch=args.batch, workers=args.workers
        )
    if wanted("export"):
        from train import export

        export(weights, HERE / "detector.onnx", HERE / "detector.json")
    if wanted("clip"):
        from clip import render

        changed = render(HERE / "street.mp4", args.work / "truth.json", CLIP_SEED, CRF)
        size = (HERE / "street.mp4").stat().st_size
        print(f"street.mp4: {size} bytes, {100 * changed:.1f} % of the pixels change a frame")
    if wanted("check"):
        from clip import read_frames
        from train import measure, measure_unseen

        unseen = args.work / "unseen.npz"
        build_bank(unseen, UNSEEN_SEED, backgrounds=16, sprites=200)
        report("unseen streets", measure_unseen(unseen, HERE / "detector.onnx", 400))
        truth = json.loads((args.work / "truth.json").read_text())
        report("clip", measure(read_frames(HERE / "street.mp4"), truth, HERE / "detector.onnx"))


if __name__ == "__main__":
    main()
