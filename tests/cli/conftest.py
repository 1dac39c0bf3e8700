"""Models and clips that many tests use, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
import support


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="session")
def detector(made: Path) -> Path:
    """A tiny detector of YOLOX's layout."""
    return support.make_detector(made / "detector.onnx")


@pytest.fixture(scope="session")
def image_filter(made: Path) -> Path:
    """A model of images without a decoder."""
    return support.make_filter(made / "filter.onnx")


@pytest.fixture(scope="session")
def clip(made: Path) -> Path:
    """Thirty frames, something moves."""
    return support.make_clip(made / "clip.mp4", 30)


@pytest.fixture(scope="session")
def noisy_clip(made: Path) -> Path:
    """Twelve frames in which every block differs a little from the frame before."""
    return support.make_clip(made / "noisy.mkv", 12, noise=6)
