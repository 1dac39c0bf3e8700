"""run, verify and bench: clips in, answers and reports out."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
import support
from support import call

FRAME_KEYS = {"frame", "pts", "objects", "work"}
WORK_KEYS = {"macs_share", "changed", "step_ms", "dense"}
VERIFY_KEYS = {
    "frames", "policy", "threads", "isa", "model", "video", "max_abs_diff", "max_rel_diff",
    "macs_share", "input_changed", "agreement", "dense_ms", "step_ms", "decode_ms",
    "preprocess_ms", "hundreds", "state_bytes",
}  # fmt: skip
AGREEMENT_KEYS = {"objects", "recall50", "precision50", "recall75", "precision75"}


def answers(text: str) -> list[dict]:
    """The frames of JSON lines, without the times, which differ from run to run."""
    frames = [json.loads(line) for line in text.splitlines()]
    for frame in frames:
        del frame["work"]["step_ms"]
    return frames


def test_run_writes_json_lines(detector: Path, clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    outcome = call("run", detector, clip, "--jsonl", path, "--conf", 0.2).good()
    assert outcome.out == ""
    assert "30 frames" in outcome.err
    frames = [json.loads(line) for line in path.read_text().splitlines()]
    assert [frame["frame"] for frame in frames] == list(range(30))
    assert [frame["work"]["dense"] for frame in frames] == [True] + 29 * [False]
    assert frames[10]["pts"] == pytest.approx(1.0)
    for frame in frames:
        assert frame.keys() >= FRAME_KEYS
        assert frame["work"].keys() == WORK_KEYS
        assert frame["objects"]
        for item in frame["objects"]:
            assert item.keys() >= {"class", "label", "score", "xyxy"}
            x1, y1, x2, y2 = item["xyxy"]
            assert 0 <= x1 <= x2 <= 96
            assert 0 <= y1 <= y2 <= 80
            assert item["score"] >= 0.2
    assert 0 < frames[5]["work"]["changed"] < 0.5
    assert frames[5]["work"]["macs_share"] < 1


def test_run_does_not_depend_on_threads(detector: Path, clip: Path) -> None:
    def lines(*options: str | int) -> list[dict]:
        return answers(call("run", detector, clip, "--jsonl", "-", *options).good().out)

    one = lines()
    assert lines("--threads", 2) == one
    assert lines("--policy", "exact") == lines("--policy", "exact", "--threads", 0)


@pytest.mark.parametrize("options", [[], ["--heatmap", "--threads", "2"]])
def test_run_saves_a_video(detector: Path, clip: Path, tmp_path: Path, options: list[str]) -> None:
    path = tmp_path / "out.mp4"
    call("run", detector, clip, "--save", path, "--frames", 12, *options).good()
    assert support.frame_count(path) == 12


def test_run_draws_on_the_picture(image_filter: Path, clip: Path, tmp_path: Path) -> None:
    """Without a decoder only the line of text at the bottom differs from the clip."""
    saved = tmp_path / "out.mp4"
    call("run", image_filter, "--shape", "x=1x3x64x64", clip, "--save", saved, "--frames", 3).good()
    pictures = []
    for path in (clip, saved):
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-vf", "select=eq(n\\,2)"]
        command += ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
        pictures.append(subprocess.run(command, capture_output=True, check=True).stdout)
    original, drawn = pictures
    assert len(original) == len(drawn) == 96 * 80
    top = 96 * 40
    error = sum(abs(a - b) for a, b in zip(original[:top], drawn[:top], strict=True)) / top
    assert error < 6


@pytest.fixture(scope="session")
def can_encode(made: Path, image_filter: Path, clip: Path) -> None:
    """Skips where FFmpeg has no H.264 encoder that works."""
    options = ["--shape", "x=1x3x48x64", "--frames", 1]
    outcome = call("run", image_filter, clip, *options, "--encode", made / "probe.mp4")
    if outcome.code == 2:
        pytest.skip(outcome.err)


@pytest.mark.usefixtures("can_encode")
def test_run_records_what_it_sees(detector: Path, noisy_clip: Path, tmp_path: Path) -> None:
    """The recording, played, gives the same answers; its noise is gone."""
    recording = tmp_path / "rec.mp4"
    options = ["--jsonl", "-", "--tolerance", 1]
    outcome = call("run", detector, noisy_clip, *options, "--encode", recording).good()
    assert "recording in" in outcome.err
    frames = answers(outcome.out)
    assert support.frame_count(recording) == len(frames) == 12
    played = answers(call("run", detector, recording, *options).good().out)
    assert played == frames
    noisy = answers(call("run", detector, noisy_clip, *options).good().out)
    changed = [sum(frame["work"]["changed"] for frame in run) for run in (frames, noisy)]
    assert changed[0] < changed[1]
    small = tmp_path / "small.mp4"
    call("run", detector, noisy_clip, "--encode", small, "--encode-crf", 45).good()
    assert small.stat().st_size < recording.stat().st_size


@pytest.mark.usefixtures("can_encode")
def test_recordings_take_images_and_new_sizes(detector: Path, clip: Path, tmp_path: Path) -> None:
    """Odd sizes too; boxes lie in the picture as it came."""
    folder = tmp_path / "images"
    folder.mkdir()
    support.ffmpeg("-i", clip, "-frames:v", "3", folder / "a%02d.png")
    support.ffmpeg("-i", clip, "-vf", "scale=75:51", "-frames:v", "3", folder / "b%02d.png")
    recording = tmp_path / "rec.mp4"
    out = call("run", detector, folder, "--encode", recording, "--jsonl", "-").good().out
    frames = answers(out)
    assert [frame["work"]["dense"] for frame in frames] == [True, False, False] * 2
    names = [Path(frame["file"]).name for frame in frames]
    assert names == ["a01.png", "a02.png", "a03.png", "b01.png", "b02.png", "b03.png"]
    for item in frames[5]["objects"]:
        assert item["xyxy"][2] <= 75
        assert item["xyxy"][3] <= 51
    assert support.frame_count(recording) == 6
    out = call("run", detector, recording, "--jsonl", "-").good().out
    assert [frame["work"]["dense"] for frame in answers(out)] == [True, False, False] * 2


@pytest.mark.usefixtures("can_encode")
def test_recordings_stop_with_the_run(detector: Path, clip: Path, tmp_path: Path) -> None:
    recording = tmp_path / "rec.mp4"
    call("run", detector, clip, "--encode", recording, "--frames", 7).good()
    assert support.frame_count(recording) >= 7  # an encoder that holds frames back reads ahead
    nowhere = tmp_path / "missing" / "rec.mp4"
    assert str(nowhere) in call("run", detector, clip, "--encode", nowhere).error_line(1)


def test_run_without_a_sink_measures(image_filter: Path, clip: Path) -> None:
    outcome = call("run", image_filter, clip, "--shape", "x=1x3x48x64", "--frames", 5).good()
    assert outcome.out == ""
    for text in ("--save", "--jsonl", "5 frames", "policy balanced"):
        assert text in outcome.err


def test_run_takes_images_and_standard_input(detector: Path, clip: Path, tmp_path: Path) -> None:
    support.ffmpeg("-i", clip, "-frames:v", "4", tmp_path / "%02d.png")
    (tmp_path / "03.png").write_bytes(b"bad")
    outcome = call("run", detector, tmp_path, "--jsonl", "-").good()
    names = [Path(frame["file"]).name for frame in answers(outcome.out)]
    assert names == ["01.png", "02.png", "04.png"]
    assert "1 damaged packets or pictures were skipped; the first: " in outcome.err
    assert f"'{tmp_path}/03.png'" in outcome.err
    out = call("run", detector, "-", "--jsonl", "-", stdin=clip.read_bytes()).good().out
    assert len(answers(out)) == 30
    assert "file" not in answers(out)[0]


def test_run_takes_raw_video(detector: Path, clip: Path, tmp_path: Path) -> None:
    raw = tmp_path / "clip.raw"
    support.ffmpeg("-i", clip, "-f", "rawvideo", "-pix_fmt", "yuv420p", raw)
    options = ["--raw", "yuv420p", "--size", "96x80", "--fps", 10, "--jsonl", "-"]
    expected = answers(call("run", detector, clip, "--jsonl", "-").good().out)
    assert answers(call("run", detector, raw, *options).good().out) == expected
    out = call("run", detector, "-", *options, stdin=raw.read_bytes()).good().out
    assert answers(out) == expected


def test_verify_bench_and_tune_take_raw_video(detector: Path, clip: Path, tmp_path: Path) -> None:
    raw = tmp_path / "clip.raw"
    support.ffmpeg("-i", clip, "-f", "rawvideo", "-pix_fmt", "yuv420p", raw)
    options = ["--raw", "yuv420p", "--size", "96x80"]
    reports = [
        json.loads(call("verify", detector, video, *more, "--json", "-").good().out)
        for video, more in ((clip, []), (raw, options))
    ]
    assert reports[0]["hundreds"] == reports[1]["hundreds"]
    out = call("bench", detector, raw, *options, "--seconds", 0.05, "--json", "-").good().out
    assert json.loads(out)["rows"][0]["steps"] > 0
    assert call("tune", detector, raw, *options, "-o", tmp_path / "policy.json").good()
    assert "96x" in call("verify", detector, raw, "--raw", "yuv420p", "--size", "96x").err


@pytest.mark.parametrize("size", ["96", "96x", "0x80", "96x80x3", "axb"])
def test_run_refuses_what_is_no_size(detector: Path, clip: Path, size: str) -> None:
    outcome = call("run", detector, clip, "--raw", "yuv420p", "--size", size)
    assert outcome.code == 2
    assert size in outcome.err


def test_a_lost_stream_is_told_and_comes_back(detector: Path, clip: Path, tmp_path: Path) -> None:
    stream = tmp_path / "clip.ts"
    support.ffmpeg("-i", clip, "-c", "copy", stream)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(stream.read_bytes())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        outcome = call("run", detector, address, "--frames", 40, "--jsonl", "-").good()
        thread.join(timeout=support.TIMEOUT_SECONDS)
    assert len(answers(outcome.out)) == 40
    events = [line for line in outcome.err.splitlines() if address in line]
    assert events == [
        f"lost '{address}': the server ended it; trying again",
        f"'{address}' is back",
    ]


def test_damage_starts_afresh(detector: Path, clip: Path, tmp_path: Path) -> None:
    """What follows a picture that cannot be decoded is not built on what was held before it."""
    support.ffmpeg("-i", clip, "-frames:v", "6", tmp_path / "a%02d.png")
    (tmp_path / "a03.png").write_bytes(b"bad")
    frames = answers(call("run", detector, tmp_path, "--jsonl", "-").good().out)
    assert [frame["work"]["dense"] for frame in frames] == [True, False, True, False, False]


def test_a_change_of_size_starts_afresh(detector: Path, clip: Path, tmp_path: Path) -> None:
    support.ffmpeg("-i", clip, "-frames:v", "3", tmp_path / "a%02d.png")
    support.ffmpeg("-i", clip, "-vf", "scale=128:96", "-frames:v", "3", tmp_path / "b%02d.png")
    frames = answers(call("run", detector, tmp_path, "--jsonl", "-").good().out)
    assert [frame["work"]["dense"] for frame in frames] == [True, False, False] * 2
    report = json.loads(
        call("verify", detector, tmp_path, "--policy", "exact", "--json", "-").good().out
    )
    assert report["max_abs_diff"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_whole_files(
    detector: Path, tmp_path: Path, number: signal.Signals
) -> None:
    saved, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    endless = ["ffmpeg", "-v", "quiet", "-re", *support.scene("96x80"), "-f", "matroska", "-"]
    run = [support.program_path(), "run", detector, "-", "--save", saved, "--jsonl", lines]
    with subprocess.Popen(endless, stdout=subprocess.PIPE) as camera:
        with subprocess.Popen(run, stdin=camera.stdout, stderr=subprocess.PIPE, text=True) as job:
            deadline = time.monotonic() + support.TIMEOUT_SECONDS
            while not (lines.exists() and lines.read_text().count("\n") >= 8):
                assert job.poll() is None, job.stderr and job.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            job.send_signal(number)
            _, err = job.communicate(timeout=support.TIMEOUT_SECONDS)
        camera.kill()
    assert job.returncode == 0, err
    assert "interrupted" in err
    text = lines.read_text()
    assert text.endswith("\n")
    frames = answers(text)
    assert len(frames) >= 8
    assert support.frame_count(saved) == len(frames)


def test_run_ends_when_nobody_reads(detector: Path, clip: Path, tmp_path: Path) -> None:
    saved = tmp_path / "out.mp4"
    run = [support.program_path(), "run", detector, clip, "--jsonl", "-", "--save", saved]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert job.stderr is not None
        json.loads(job.stdout.readline())
        job.stdout.close()
        err = job.stderr.read()
        assert job.wait(timeout=support.TIMEOUT_SECONDS) == 0, err
    assert 1 <= support.frame_count(saved) <= 30


@pytest.mark.parametrize("threads", [1, 2])
def test_exact_is_exact(
    detector: Path, clip: Path, noisy_clip: Path, tmp_path: Path, threads: int
) -> None:
    for video, frames in ((clip, 30), (noisy_clip, 12)):
        path = tmp_path / "report.json"
        outcome = call(
            "verify", detector, video, "--policy", "exact", "--threads", threads, "--json", path
        ).good()
        assert "nothing" in outcome.err
        assert "max_abs_diff" in outcome.out
        report = json.loads(path.read_text())
        assert report.keys() >= VERIFY_KEYS
        assert report["frames"] == frames
        assert report["policy"] == "exact"
        assert report["threads"] == threads
        assert report["max_abs_diff"] == 0
        assert report["max_rel_diff"] == 0
        agreement = report["agreement"]
        assert agreement.keys() >= AGREEMENT_KEYS
        assert all(agreement[key] == 1 for key in AGREEMENT_KEYS - {"objects"})
        assert set(report["dense_ms"]) == set(report["step_ms"]) == {"median", "p95"}
        assert report["decode_ms"]["median"] > 0
        assert report["preprocess_ms"]["median"] > 0
        assert report["state_bytes"] > 0


def test_verify_sees_what_a_policy_gives_up(detector: Path, noisy_clip: Path) -> None:
    def verify(*options: str | int) -> dict:
        return json.loads(call("verify", detector, noisy_clip, "--json", "-", *options).good().out)

    exact = verify("--policy", "exact")
    balanced = verify()
    assert balanced["policy"] == "balanced"
    assert exact["input_changed"] > 0.3
    assert balanced["input_changed"] < exact["input_changed"]
    assert balanced["macs_share"] < exact["macs_share"]
    assert 0 < balanced["max_rel_diff"] < 1
    assert balanced["max_abs_diff"] > 0
    still = verify("--tolerance", 255)
    assert still["input_changed"] == still["macs_share"] == 0
    assert still["max_abs_diff"] > 0


def test_nothing_drifts(detector: Path, tmp_path: Path) -> None:
    """Changing light, 600 frames: the last hundred are as near to dense runs as the first."""
    clip = tmp_path / "light.mkv"
    light = "eq=brightness='0.05*sin(2*PI*n/150)':eval=frame"
    support.ffmpeg(*support.scene("96x80", behind=light), "-frames:v", 600, clip)
    out = call("verify", detector, clip, "--json", "-").good().out
    hundreds = json.loads(out)["hundreds"]
    assert [part["frames"] for part in hundreds] == 6 * [100]
    assert all(part["missed"] <= part["objects"] for part in hundreds)
    first, last = hundreds[0]["mean_rel_diff"], hundreds[-1]["mean_rel_diff"]
    assert 0 < last <= 1.25 * first


def test_verify_takes_a_part_of_the_clip(image_filter: Path, clip: Path) -> None:
    options = ["--shape", "x=1x3x64x64", "--json", "-"]
    out = call("verify", image_filter, clip, "--skip", 25, *options).good().out
    report = json.loads(out)
    assert report["frames"] == 5
    assert report["agreement"] is None
    out = call("verify", image_filter, clip, "--frames", 3, *options).good().out
    assert json.loads(out)["frames"] == 3
    assert "--skip" in call("verify", image_filter, clip, "--skip", 30).err


def test_bench_times_synthetic_changes(detector: Path, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    options = ["--seconds", 0.05, "--active", "1,0.25,0", "--json", path]
    assert "speedup" in call("bench", detector, *options, "--policy", "exact").good().out
    report = json.loads(path.read_text())
    assert report.keys() >= {"rows", "macs", "state_bytes", "weights_bytes", "isa", "threads"}
    assert [row["active"] for row in report["rows"]] == [1, 0.25, 0]
    full, quarter, none = report["rows"]
    for row in report["rows"]:
        assert row.keys() >= {"active", "dense_ms", "step_ms", "speedup"}
        assert row["dense_ms"] > 0
        assert row["speedup"] == pytest.approx(row["dense_ms"] / row["step_ms"])
    assert full["macs_share"] == 1
    assert 0.25 <= quarter["macs_share"] < 1
    assert none["macs_share"] == 0


def test_bench_on_a_video_says_that_it_ignores_shares(detector: Path, clip: Path) -> None:
    outcome = call("bench", detector, clip, "--seconds", 0.05, "--active", 0.5).good()
    assert "--active" in outcome.err
    assert "--active" not in call("bench", detector, clip, "--seconds", 0.05).good().err


def test_bench_without_spread_updates_the_same_share_everywhere(
    detector: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bench.json"
    options = ["--seconds", 0.05, "--active", "1,0.25,0.0001,0", "--json", path]
    call("bench", detector, "--spread", "none", *options).good()
    report = json.loads(path.read_text())
    assert report["spread"] == "none"
    assert report["peak_bytes"] > 2 * report["state_bytes"]
    full, quarter, least, none = report["rows"]
    assert full["input_changed"] == full["macs_share"] == 1
    # Of the coarsest layers with work worth counting: those of stride 32 have too little.
    cell = (support.STRIDES[-2] / support.SIDE) ** 2
    assert quarter["input_changed"] == 0.25
    assert quarter["macs_share"] == pytest.approx(0.25, rel=0.05)
    assert least["input_changed"] == pytest.approx(cell)
    assert cell <= least["macs_share"] < 1.5 * cell
    assert none["input_changed"] == none["macs_share"] == 0


def test_bench_times_a_clip(detector: Path, clip: Path) -> None:
    out = call("bench", detector, clip, "--seconds", 0.1, "--json", "-").good().out
    (row,) = json.loads(out)["rows"]
    assert 0 < row["active"] < 0.5
    assert row["macs_share"] < 1


@pytest.mark.parametrize("video", ["vtest_480x360.mp4", "webcam_asl_A.mkv"])
@pytest.mark.parametrize("model", ["fastestdet_352", "ultraface_rfb_320"])
def test_exact_is_exact_on_real_clips(model: str, video: str) -> None:
    data = support.data_folder()
    if not data.is_dir():
        pytest.skip(f"no real models and clips in {data}; DELTACNN_DATA names another folder")
    arguments = [data / "models" / f"{model}.onnx", data / "videos" / video]
    options = ["--policy", "exact", "--frames", 12, "--threads", 2, "--json", "-"]
    report = json.loads(call("verify", *arguments, *options).good().out)
    assert report["max_abs_diff"] == 0
    assert 0 < report["macs_share"] < 1
