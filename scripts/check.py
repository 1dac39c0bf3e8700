"""Builds deltacnn, runs every test suite and adds up what passed, failed and was skipped."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
PROGRAM = BUILD / "bin" / "deltacnn"
PYTHON = sys.executable
COUNT = re.compile(r"(\d+) passed, (\d+) failed, (\d+) skipped")


@dataclass
class Totals:
    """Counts over all suites, and the names of those that did not pass."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    bad: list[str] = field(default_factory=list)

    def add(self, name: str, passed: int, failed: int, skipped: int, seconds: float) -> None:
        """Counts one suite."""
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        if failed:
            self.bad.append(name)
        print(
            f"== {name}: {passed} passed, {failed} failed, {skipped} skipped ({seconds:.0f} s)",
            flush=True,
        )


def run(command: list[str | Path], **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a command from the root; its output is captured."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=os.environ | env,
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def build(directory: Path, *options: str) -> None:
    """Configures and builds; a failure ends the whole check."""
    print(f"== building {directory.relative_to(ROOT)}", flush=True)
    for command in (
        ["cmake", "-G", "Ninja", "-S", ROOT, "-B", directory, "-DDELTACNN_TESTS=ON", *options],
        ["cmake", "--build", directory],
    ):
        result = run(command)
        if result.returncode != 0:
            print(result.stdout[-8000:])
            print("0 passed, 1 failed, 0 skipped")
            sys.exit(1)


def ctest(totals: Totals, name: str, directory: Path, **env: str) -> None:
    """Runs the C++ tests of a build."""
    report = directory / "tests.xml"
    report.unlink(missing_ok=True)
    start = time.monotonic()
    jobs = str(os.cpu_count() or 1)
    result = run(
        ["ctest", "--test-dir", directory, "-j", jobs, "--timeout", "1200",
         "--output-on-failure", "--output-junit", report],
        **env,
    )  # fmt: skip
    if not report.exists():
        print(result.stdout[-8000:])
        totals.add(name, 0, 1, 0, time.monotonic() - start)
        return
    suite = ElementTree.parse(report).getroot()
    tests, failed = int(suite.get("tests", 0)), int(suite.get("failures", 0))
    skipped = int(suite.get("skipped", 0)) + int(suite.get("disabled", 0))
    for case in suite.iter("testcase"):
        status = case.get("status")
        if status == "fail":
            output = case.findtext("system-out") or ""
            print(f"FAILED {case.get('name')}\n{output[-3000:]}")
        elif status == "notrun":
            output = case.findtext("system-out") or ""
            reason = next((line for line in output.splitlines() if "skip" in line.lower()), "")
            print(f"skipped {case.get('name')}: {reason.strip()[:160]}")
    totals.add(name, tests - failed - skipped, failed, skipped, time.monotonic() - start)


def script(totals: Totals, name: str, command: list[str | Path], **env: str) -> None:
    """Runs a suite whose last line is 'N passed, N failed, N skipped'."""
    start = time.monotonic()
    result = run(command, **env)
    counts = COUNT.findall(result.stdout)
    if not counts:
        print(result.stdout[-4000:])
        totals.add(name, 0, 1, 0, time.monotonic() - start)
        return
    passed, failed, skipped = map(int, counts[-1])
    if result.returncode != 0 and failed == 0:
        failed = 1
    if failed:
        print(result.stdout[-6000:])
    else:
        print("\n".join(result.stdout.splitlines()[-12:-1]))
    totals.add(name, passed, failed, skipped, time.monotonic() - start)


def command_passes(totals: Totals, name: str, command: list[str | Path], **env: str) -> None:
    """Counts a command that must exit with 0 as one test."""
    start = time.monotonic()
    result = run(command, **env)
    if result.returncode != 0:
        print(result.stdout[-4000:])
    ok = result.returncode == 0
    totals.add(name, int(ok), int(not ok), 0, time.monotonic() - start)


def sources(*suffixes: str) -> list[str]:
    """Tracked files with these endings."""
    listed = run(["git", "ls-files", *(f"*{suffix}" for suffix in suffixes)]).stdout.split()
    return [name for name in listed if (ROOT / name).exists()]


def fast(totals: Totals) -> None:
    """What every change must pass."""
    build(BUILD)
    ctest(totals, "C++ tests", BUILD)
    script(totals, "ONNX node tests", [PYTHON, "tests/onnx/node_tests.py", PROGRAM])
    script(totals, "models against ONNX Runtime", [PYTHON, "tests/models/compare_ort.py", PROGRAM])
    script(totals, "program", [PYTHON, "tests/cli/run.py", PROGRAM])
    command_passes(totals, "installed package", ["tests/package/check.sh", BUILD])
    command_passes(totals, "page of operators", [PYTHON, "scripts/list_operators.py", "--check"])
    command_passes(totals, "ruff", [PYTHON, "-m", "ruff", "check", "."])
    command_passes(
        totals, "clang-format", ["clang-format-14", "--dry-run", "-Werror", *sources(".h", ".cc")]
    )


def long(totals: Totals) -> None:
    """Sanitizers, the other compiler, fuzzing, longer property tests, the other processor."""
    sanitized = ROOT / "build-asan"
    build(
        sanitized,
        "-DDELTACNN_SANITIZE=address,undefined",
        "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
    )
    ctest(
        totals,
        "C++ tests, address and undefined",
        sanitized,
        ASAN_OPTIONS="allocator_may_return_null=1",
    )
    script(
        totals,
        "program, address and undefined",
        [PYTHON, "tests/cli/run.py", sanitized / "bin" / "deltacnn"],
        # The font cache of Fontconfig lives until the process ends.
        LSAN_OPTIONS=f"print_suppressions=0:suppressions={ROOT / 'tests' / 'leaks.supp'}",
    )
    threads = ROOT / "build-tsan"
    build(
        threads,
        "-DDELTACNN_SANITIZE=thread",
        "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
        "-DDELTACNN_VIDEO=OFF",
    )
    ctest(totals, "C++ tests, thread", threads)
    clang = ROOT / "build-clang"
    build(clang, "-DCMAKE_CXX_COMPILER=clang++-14", "-DDELTACNN_BENCH=ON")
    ctest(totals, "C++ tests, Clang 14", clang, DELTACNN_FUZZ_SECONDS="300")
    assets = ROOT / "demo_assets"
    command_passes(
        totals,
        "20,000 frames",
        [PYTHON, "bench/long_run.py", PROGRAM, assets / "detector.onnx", assets / "street.mp4"],
    )
    command_passes(totals, "fuzzing the ONNX reader", ["tests/onnx/fuzz.sh", "300"])
    command_passes(totals, "building for aarch64", ["scripts/aarch64.sh"])
    arm = ROOT / "build-aarch64"
    ctest(totals, "C++ tests, aarch64 under qemu", arm, DELTACNN_FUZZ_SECONDS="10")


def main() -> int:
    """Runs the suites that the mode names."""
    totals = Totals()
    fast(totals)
    if sys.argv[1:] == ["all"]:
        long(totals)
    if totals.bad:
        print("not passed: " + ", ".join(totals.bad))
    print(f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped")
    return 1 if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main())
