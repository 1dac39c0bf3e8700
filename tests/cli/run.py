#!/usr/bin/env python3
"""Tests the program; the last line is 'N passed, N failed, N skipped'."""

from __future__ import annotations

import argparse
import collections
import os
import sys
from pathlib import Path

import pytest


class Counter:
    """A pytest plugin that counts outcomes."""

    def __init__(self) -> None:
        self.outcomes: collections.Counter[str] = collections.Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts a test once, and an error in its set-up or tear-down as a failure."""
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.outcome] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Counts a file that cannot be imported as a failure."""
        if report.failed:
            self.outcomes["failed"] += 1


def main() -> int:
    """Entry point; 1 if a test failed."""
    parser = argparse.ArgumentParser(description="Tests the program.")
    parser.add_argument("program", type=Path, help="the built program, build/bin/deltacnn")
    arguments, rest = parser.parse_known_args()
    if not arguments.program.is_file():
        parser.error(f"{arguments.program} is no file; build the project first")
    os.environ["DELTACNN_PROGRAM"] = str(arguments.program.resolve())
    counter = Counter()
    folder = Path(__file__).resolve().parent
    code = pytest.main(
        ["-q", "-rs", "--no-header", "-p", "no:cacheprovider", str(folder), *rest],
        plugins=[counter],
    )
    counts = counter.outcomes
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 0 if code == pytest.ExitCode.OK else 1


if __name__ == "__main__":
    sys.exit(main())
