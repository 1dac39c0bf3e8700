"""What goes wrong ends in one line and the right exit code."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import support
from onnx import TensorProto, helper
from support import call


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "fly",
        "--fly",
        "inspect",
        "inspect MODEL --fly",
        "inspect MODEL --shape x",
        "inspect MODEL --shape x=1xyx3",
        "inspect MODEL --shape x=1x0x8x8",
        "inspect MODEL --shape nobody=1x3x8x8",
        "inspect MODEL --value images",
        "inspect MODEL --value images=a",
        "inspect MODEL --value images=1,2,",
        "inspect MODEL --value images=1,2",
        "inspect MODEL --value nobody=1",
        "inspect MODEL --isa Z80",
        "infer MODEL",
        "infer MODEL --out FOLDER",
        "infer MODEL --out FOLDER --input images",
        "run MODEL",
        "run MODEL CLIP --policy slow",
        "run MODEL CLIP --policy CLIP",
        "run MODEL CLIP --policy exact --tolerance 1",
        "run MODEL CLIP --tolerance 300",
        "run MODEL CLIP --tolerance many",
        "run MODEL CLIP --threads -1",
        "run MODEL CLIP --threads 1000000",
        "run MODEL CLIP --conf 2",
        "run MODEL CLIP --iou -1",
        "run MODEL CLIP --frames 0",
        "run MODEL CLIP --budget 0",
        "run MODEL CLIP --budget -3",
        "run MODEL CLIP --policy exact --strong 0.2",
        "run MODEL CLIP --policy exact --background 2",
        "run MODEL CLIP --background 0.5",
        "run MODEL CLIP --preset nobody",
        "run MODEL CLIP --preset nanodet",
        "run MODEL CLIP --heatmap",
        "run MODEL CLIP --save CLIP",
        "run MODEL CLIP --jsonl CLIP",
        "run MODEL CLIP --encode CLIP",
        "run MODEL CLIP --encode FOLDER --save FOLDER",
        "run MODEL CLIP --encode FOLDER --encoder nobody",
        "run MODEL CLIP --encode FOLDER --encoder mpeg4",
        "run MODEL CLIP --encode FOLDER --encode-crf 0",
        "run MODEL CLIP --encoder libx264",
        "run MODEL CLIP --encode-crf 30",
        "verify MODEL CLIP --skip -1",
        "verify MODEL CLIP --baseline skip:2 --policy fast",
        "verify MODEL CLIP --baseline region --cutoff 0.1",
        "verify MODEL CLIP --skip 1000 --fly",
        "bench MODEL --active 0.5,x",
        "bench MODEL --active 1.5",
        "bench MODEL --seconds 0",
        "bench MODEL --spread wide",
        "bench MODEL CLIP --spread none",
        "tune MODEL CLIP",
        "tune MODEL CLIP --target 2 -o FOLDER",
        "tune MODEL -o FOLDER",
    ],
)
def test_wrong_usage(detector: Path, clip: Path, tmp_path: Path, arguments: str) -> None:
    names = {"MODEL": detector, "CLIP": clip, "FOLDER": tmp_path / "out"}
    before = clip.read_bytes()
    outcome = call(*(names.get(word, word) for word in arguments.split()))
    outcome.error_line(2)
    assert outcome.out == ""
    assert clip.read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        "inspect MODEL --json",
        "inspect MODEL --isa",
        "inspect",
        "infer MODEL --out",
        "run MODEL CLIP --save",
        "run MODEL CLIP --jsonl",
        "run MODEL CLIP --encode",
        "run MODEL CLIP --preset",
        "run MODEL CLIP --policy",
        "run MODEL CLIP --size",
        "verify MODEL CLIP --json",
        "verify MODEL CLIP --html",
        "verify MODEL CLIP --baseline",
        "bench MODEL",
        "bench MODEL --json",
        "tune MODEL CLIP -o",
    ],
)
def test_empty_values(detector: Path, clip: Path, arguments: str) -> None:
    names = {"MODEL": detector, "CLIP": clip}
    line = call(*(names.get(word, word) for word in arguments.split()), "").error_line(2)
    assert "the value is empty" in line


@pytest.mark.parametrize("value", ["nan", "-NaN", "nan(1)", "inf", "-inf"])
@pytest.mark.parametrize(
    "arguments",
    [
        "run MODEL CLIP --tolerance",
        "run MODEL CLIP --cutoff",
        "run MODEL CLIP --strong",
        "run MODEL CLIP --background",
        "run MODEL CLIP --reach",
        "run MODEL CLIP --conf",
        "run MODEL CLIP --iou",
        "run MODEL CLIP --fps",
        "run MODEL CLIP --budget",
        "verify MODEL CLIP --conf",
        "bench MODEL --active",
        "bench MODEL --seconds",
        "tune MODEL CLIP -o - --target",
        "tune MODEL CLIP -o - --conf",
    ],
)
def test_options_want_finite_numbers(
    detector: Path, clip: Path, arguments: str, value: str
) -> None:
    names = {"MODEL": detector, "CLIP": clip}
    command = [names.get(word, word) for word in arguments.split()]
    line = call(*command[:-1], f"{command[-1]}={value}").error_line(2)
    assert command[-1] in line
    assert value in line


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("run m.onnx clip.mp4 --video out.mp4", "no option --video; see 'deltacnn run --help'"),
        ("run m.onnx clip.mp4 other.mp4", "one argument too many: other.mp4"),
        ("walk m.onnx", "no subcommand walk; see 'deltacnn --help'"),
        ("--fly", "no option --fly; see 'deltacnn --help'"),
    ],
)
def test_what_is_unknown_is_named(arguments: str, problem: str) -> None:
    assert problem in call(*arguments.split()).error_line(2)


def test_help_and_version() -> None:
    assert "verify" in call("--help").good().out
    assert "--policy" in call("run", "--help").good().out
    assert call("--version").good().out.strip()


def test_models_with_several_inputs_take_no_video(clip: Path, tmp_path: Path) -> None:
    model = support.make_sum(tmp_path / "sum.onnx")
    assert "2 inputs" in call("run", model, clip).error_line(2)


def test_inputs_that_are_no_picture(clip: Path, tmp_path: Path) -> None:
    def model(kind: int, batch: int) -> Path:
        picture = helper.make_tensor_value_info("x", kind, [batch, 3, 8, 8])
        result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3, 8, 8])
        cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
        return support.save(tmp_path / f"{kind}.onnx", [cast], [picture], [result])

    batch = model(TensorProto.FLOAT, 8)
    assert "; try --shape x=1x3x8x8" in call("run", batch, clip).error_line(2)
    call("run", batch, clip, "--shape", "x=1x3x8x8", "--frames", 2).good()
    levels = call("run", model(TensorProto.UINT8, 1), clip).error_line(2)
    assert "uint8" in levels
    assert "export" in levels


@pytest.fixture
def bad_files(detector: Path, clip: Path, tmp_path: Path) -> dict[str, Path]:
    """Files that are neither a model nor a video."""
    files = {name: tmp_path / name for name in ("empty", "text", "binary", "cut", "missing")}
    files["empty"].write_bytes(b"")
    files["text"].write_text("This is not what you are looking for.\n" * 50)
    files["binary"].write_bytes(random.Random(1).randbytes(5000))
    files["folder"] = tmp_path / "folder"
    files["folder"].mkdir()
    return files


@pytest.mark.parametrize("kind", ["empty", "text", "binary", "folder", "missing"])
def test_bad_models_and_videos(
    detector: Path, clip: Path, bad_files: dict[str, Path], kind: str
) -> None:
    bad = bad_files[kind]
    for command in (["inspect", bad], ["run", bad, clip], ["verify", bad, clip], ["bench", bad]):
        assert str(bad) in call(*command).error_line(1)
    assert str(bad) in call("infer", bad, "--out", bad.parent / "out").error_line(1)
    for command in ("run", "verify", "bench"):
        assert str(bad) in call(command, detector, bad).error_line(1)


def test_unreachable_camera(detector: Path) -> None:
    assert "127.0.0.1" in call("run", detector, "rtsp://127.0.0.1:1/stream").error_line(1)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_truncated_videos(
    detector: Path, clip: Path, tmp_path: Path, container: str, share: float
) -> None:
    whole = tmp_path / f"whole.{container}"
    support.ffmpeg("-i", clip, "-c", "copy", whole)
    cut = tmp_path / f"cut.{container}"
    content = whole.read_bytes()
    cut.write_bytes(content[: int(share * len(content))])
    outcome = call("run", detector, cut)
    if outcome.code == 0:  # the frames that are there
        assert " frames in " in outcome.err
    else:  # none: an MP4's table of contents comes last
        assert outcome.code in (1, 2)
        assert f"cut.{container}" in outcome.error_line(outcome.code)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_truncated_models(detector: Path, tmp_path: Path, share: float) -> None:
    content = detector.read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(content[: int(share * len(content))])
    assert "cut.onnx" in call("inspect", cut).error_line(1)


def test_flipped_bits_never_crash(detector: Path, clip: Path, tmp_path: Path) -> None:
    """A damaged model is refused in one line, or runs because it is still a model."""
    content = detector.read_bytes()
    # Weights take most of the file; what surrounds them is where damage matters.
    places = [i for i in range(len(content)) if i < 40 or i > len(content) - 1500]
    rng = random.Random(5)
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.sample(places, 3):
            damaged[place] ^= 1 << rng.randrange(8)
        path = tmp_path / "flipped.onnx"
        path.write_bytes(damaged)
        outcome = call("run", path, clip, "--frames", 2)
        assert outcome.code in (0, 1, 2), f"exit {outcome.code} for {damaged.hex()}"
        if outcome.code != 0:
            outcome.error_line(outcome.code)


def test_results_that_cannot_be_written(detector: Path, clip: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "missing" / "out"
    for option in ("--save", "--jsonl"):
        assert str(nowhere) in call("run", detector, clip, option, nowhere).error_line(1)
    assert str(tmp_path) in call("run", detector, clip, "--save", tmp_path).error_line(1)
    full = call("run", detector, clip, "--jsonl", "/dev/full")
    assert full.code == 1
    assert full.err.splitlines()[-1].startswith("deltacnn: --jsonl /dev/full")
    for command in (["inspect", detector], ["verify", detector, clip, "--frames", 2]):
        outcome = call(*command, "--json", nowhere)
        assert outcome.code == 1
        assert str(nowhere) in outcome.err.splitlines()[-1]
