"""Policy files, and tune, which writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import support
from support import call

POLICY_NUMBERS = {"tolerance", "reach", "cutoff", "strong", "background", "refresh"}
POLICY_KEYS = {"deltacnn_policy", "model", "target", "measured"} | POLICY_NUMBERS


def verify(model: Path, clip: Path, *options: str | Path | int) -> dict:
    """The report of verify."""
    return json.loads(call("verify", model, clip, "--json", "-", *options).good().out)


def test_a_policy_file_says_what_options_say(
    detector: Path, noisy_clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.json"
    numbers = {"tolerance": 3.5, "reach": 2, "cutoff": 0.07, "strong": 0.1, "refresh": 9}
    numbers["background"] = 1.5
    path.write_text(json.dumps({"deltacnn_policy": 1, **numbers, "model": "other.onnx"}))
    options = [text for key, value in numbers.items() for text in (f"--{key}", str(value))]
    from_file = verify(detector, noisy_clip, "--policy", path)
    from_options = verify(detector, noisy_clip, *options)
    assert from_file["policy"] == str(path)
    for key in ("tolerance", "macs_share", "input_changed", "max_abs_diff", "agreement"):
        assert from_file[key] == from_options[key]
    assert from_file["macs_share"] != verify(detector, noisy_clip)["macs_share"]
    overridden = verify(detector, noisy_clip, "--policy", path, "--tolerance", 255)
    assert overridden["macs_share"] == 0
    for command in ("run", "bench", "verify"):
        options = ["--seconds", "0.01"] if command == "bench" else ["--frames", "2"]
        outcome = call(command, detector, noisy_clip, "--policy", path, *options).good()
        assert "tuned for other.onnx" in outcome.err


def test_reports_hold_the_numbers_in_force(detector: Path, clip: Path) -> None:
    options = ["--cutoff", 0.07, "--reach", 2, "--json", "-"]
    for command in (["verify", "--frames", 2], ["bench", "--seconds", 0.01]):
        report = json.loads(call(command[0], detector, clip, *command[1:], *options).good().out)
        assert report["policy"] == "balanced"
        numbers = report["policy_numbers"]
        assert numbers.keys() == POLICY_NUMBERS
        assert numbers["cutoff"] == 0.07
        assert numbers["reach"] == 2
        assert numbers["tolerance"] == 5
    baseline = verify(detector, clip, "--baseline", "skip:2", "--frames", 2)
    assert baseline["policy_numbers"] is None


def test_what_a_policy_file_leaves_out_gives_nothing_up(
    detector: Path, noisy_clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "nothing.json"
    path.write_text('{"deltacnn_policy": 1}')
    assert verify(detector, noisy_clip, "--policy", path)["max_abs_diff"] == 0


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "nor a file"),
        ("Once upon a time", "no policy file: not JSON at line 1, column 1"),
        ("[1, 2]", "no policy file"),
        ('{"deltacnn_policy": 1,\n  "reach": 1,\n}', "line 3, column 1"),
        ('{"reach": 1}', "no policy file"),
        ('{"deltacnn_policy": 2}', "deltacnn_policy"),
        ('{"deltacnn_policy": 1, "speed": 9}', "speed"),
        ('{"deltacnn_policy": 1, "reach": 1.5}', "reach"),
        ('{"deltacnn_policy": 1, "reach": "far"}', "reach"),
        ('{"deltacnn_policy": 1, "reach": -2}', "reach"),
        ('{"deltacnn_policy": 1, "reach": 1e30}', "reach"),
        ('{"deltacnn_policy": 1, "cutoff": 2}', "cutoff"),
        ('{"deltacnn_policy": 1, "cutoff": null}', "cutoff"),
        ('{"deltacnn_policy": 1, "tolerance": true}', "tolerance"),
        ('{"deltacnn_policy": 1, "refresh": 0}', "refresh"),
        ('{"deltacnn_policy": 1, "refresh": 99999999999}', "refresh"),
        ('{"deltacnn_policy": 1, "model": 7}', "model"),
        ('{"deltacnn_policy": 1, "target": "high"}', "target"),
        ('{"deltacnn_policy": 1, "measured": []}', "measured"),
        ('{"deltacnn_policy": 1, "\\n": 1}', "unknown"),
    ],
)
def test_bad_policy_files(
    detector: Path, clip: Path, tmp_path: Path, text: str, named: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    line = call("run", detector, clip, "--policy", path).error_line(2)
    assert str(path) in line
    assert named in line


def test_tune_reaches_its_target(detector: Path, clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    outcome = call("tune", detector, clip, "--target", 0.9, "-o", path).good()
    assert "picked" in outcome.out
    policy = json.loads(path.read_text())
    assert policy.keys() == POLICY_KEYS
    assert policy["model"] == "detector.onnx"
    assert policy["target"] == 0.9
    measured = policy["measured"]
    assert measured["agreement"] >= 0.9
    assert 0 < measured["frames"] < 30
    assert 0 < measured["macs_share"] < 1
    report = verify(detector, clip, "--policy", path)
    assert min(report["agreement"]["recall50"], report["agreement"]["precision50"]) >= 0.9
    exact = verify(detector, clip, "--policy", "exact")
    assert report["macs_share"] < exact["macs_share"]


def test_tune_does_not_depend_on_threads(detector: Path, clip: Path) -> None:
    def tuned(threads: int) -> str:
        return call("tune", detector, clip, "--threads", threads, "-o", "-").good().out

    assert tuned(1) == tuned(2)
    assert json.loads(tuned(1)).keys() == POLICY_KEYS


def test_tune_without_a_decoder_judges_the_outputs(
    image_filter: Path, noisy_clip: Path, tmp_path: Path
) -> None:
    shape = ["--shape", "x=1x3x64x64"]
    works = []
    for target in (1, 0.99, 0.7):
        path = tmp_path / "policy.json"
        outcome = call("tune", image_filter, noisy_clip, *shape, "--target", target, "-o", path)
        assert "no decoder" in outcome.good().err
        measured = json.loads(path.read_text())["measured"]
        assert measured["deviation"] <= 1 - target + 1e-6
        works.append(measured["macs_share"])
        report = verify(image_filter, noisy_clip, *shape, "--policy", path)
        assert target < 1 or report["max_abs_diff"] == 0
    assert works[0] > works[2]


def test_tune_says_when_there_is_little_to_judge_by(
    detector: Path, clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "policy.json"
    outcome = call("tune", detector, clip, "--frames", 8, "-o", path).good()
    assert "objects in 8 frames" in outcome.err
    assert "deviation" in json.loads(path.read_text())["measured"]
    assert "too few" in call("tune", detector, clip, "--frames", 7, "-o", path).error_line(2)
    assert "--skip" in call("tune", detector, clip, "--skip", 30, "-o", path).error_line(2)


def test_tune_spares_its_inputs(detector: Path, clip: Path) -> None:
    before = clip.read_bytes()
    assert "input" in call("tune", detector, clip, "-o", clip).error_line(2)
    assert clip.read_bytes() == before


def test_tune_on_a_real_clip(tmp_path: Path) -> None:
    data = support.data_folder()
    if not data.is_dir():
        pytest.skip(f"no real models and clips in {data}; DELTACNN_DATA names another folder")
    model = data / "models" / "ultraface_rfb_320.onnx"
    video = data / "videos" / "webcam_asl_A.mkv"
    path = tmp_path / "policy.json"
    call("tune", model, video, "--frames", 60, "--target", 0.95, "-o", path).good()
    report = verify(model, video, "--frames", 60, "--policy", path)
    assert min(report["agreement"]["recall50"], report["agreement"]["precision50"]) >= 0.95
    assert report["macs_share"] < 0.8
