"""Standard output and standard error that are full, closed or left by their readers."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
from pathlib import Path

import numpy as np
import pytest
import support
from support import call


def call_with(redirections: str, *arguments: str | Path | int) -> int:
    """The exit code of the program behind a shell's redirections."""
    program = [str(part) for part in (support.program_path(), *arguments)]
    command = ["bash", "-c", f'"$@" {redirections}; exit "${{PIPESTATUS[0]}}"', "bash", *program]
    return subprocess.run(
        command, capture_output=True, check=False, timeout=support.TIMEOUT_SECONDS
    ).returncode


@pytest.mark.parametrize("redirections", ["2>/dev/full", "2>&-", "2>&1 | head -n 0"])
def test_notes_that_nobody_gets_change_nothing(
    detector: Path, clip: Path, tmp_path: Path, redirections: str
) -> None:
    lines = tmp_path / "out.jsonl"
    assert call_with(redirections, "run", detector, clip, "--jsonl", lines) == 0
    assert len(lines.read_text().splitlines()) == 30
    assert call_with(redirections, "run", tmp_path / "missing.onnx", clip) == 1
    assert call_with(redirections) == 2


def test_closed_streams_are_no_way_into_a_file(detector: Path, clip: Path, tmp_path: Path) -> None:
    lines = tmp_path / "out.jsonl"
    assert call_with("<&- 2>&-", "run", detector, clip, "--jsonl", lines) == 0
    frames = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [frame["frame"] for frame in frames] == list(range(30))


def test_outputs_spare_the_file_behind_standard_input(
    detector: Path, clip: Path, tmp_path: Path
) -> None:
    video = tmp_path / "c.mp4"
    video.write_bytes(clip.read_bytes())
    assert call_with(f"<{video}", "run", detector, "-", "--jsonl", video) == 2
    assert call_with(f"<{video}", "run", detector, "-", "--jsonl", tmp_path / "out.jsonl") == 0
    assert video.read_bytes() == clip.read_bytes()


def test_threads_beyond_the_cores_are_noted(
    detector: Path, clip: Path, image_filter: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 8, 8), np.float32))
    tensor = ["--input", f"x={tmp_path / 'x.npy'}", "--out", tmp_path / "out"]
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # of what is called, too
    try:
        for command in (
            ["verify", detector, clip, "--frames", 2],
            ["infer", image_filter, *tensor],
        ):
            notes = call(*command, "--threads", 3).good().err
            assert (
                notes.count(
                    "--threads 3: more threads than cores are slower; cores for this process: 1"
                )
                == 1
            )
        one = call("verify", detector, clip, "--frames", 2, "--threads", 0, "--json", "-").good()
        assert json.loads(one.out)["threads"] == 1
        assert "slower" not in one.err
    finally:
        os.sched_setaffinity(0, cores)


def on_terminal(*arguments: str | Path | int) -> str:
    """What the program writes to stderr where that is a terminal."""
    ours, its = pty.openpty()
    command = [str(part) for part in (support.program_path(), *arguments)]
    with subprocess.Popen(command, stderr=its, stdout=subprocess.DEVNULL) as job:
        os.close(its)
        text = b""
        with contextlib.suppress(OSError):  # the end
            while part := os.read(ours, 1 << 16):
                text += part
        assert job.wait(timeout=support.TIMEOUT_SECONDS) == 0
    os.close(ours)
    return text.decode()


def test_progress_counts_to_the_last_frame(detector: Path, clip: Path) -> None:
    assert "frame 1/30 " in on_terminal("run", detector, clip)
    assert "frame 1/12 " in on_terminal("run", detector, clip, "--frames", 12)
    assert "frame 1/30 " in on_terminal("run", detector, clip, "--frames", 40)


@pytest.mark.parametrize(
    "arguments", ["inspect MODEL --layers", "--help", "tune MODEL CLIP -o OUT"]
)
def test_results_must_reach_standard_output(
    detector: Path, clip: Path, tmp_path: Path, arguments: str
) -> None:
    out = tmp_path / "policy.json"
    names = {"MODEL": detector, "CLIP": clip, "OUT": out}
    words = [names.get(word, word) for word in arguments.split()]
    assert call_with(">/dev/full", *words) == 1
    assert call_with(">&-", *words) == 1
    assert call_with("| head -n 0", *words) == 0
    assert out.exists() == ("OUT" in arguments)
