#!/usr/bin/env bash
# Fuzzes the model reader with libFuzzer under the address and undefined behaviour sanitizers:
#   tests/onnx/fuzz.sh [SECONDS]
# Starts from ONNX's own small test models. What it learns stays in build-fuzz/corpus; an input that
# breaks the reader, in build-fuzz.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds="${1:-60}"
longest=4096 # bytes of an input
build=build-fuzz
mkdir -p "$build/corpus" "$build/seeds"

clang++-14 -std=c++20 -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all \
  -fsanitize=fuzzer,address,undefined -Iinclude -Isrc \
  tests/onnx/fuzz_reader.cc src/onnx/*.cc src/graph/graph.cc src/core/tensor.cc \
  -o "$build/fuzz_reader"

.venv/bin/python - "$build/seeds" "$longest" <<'PYTHON'
import sys
from pathlib import Path

from onnx.backend.test.loader import load_model_tests

folder, longest = Path(sys.argv[1]), int(sys.argv[2])
for case in load_model_tests(kind="node"):
    model = case.model.SerializeToString() if case.model else Path(case.model_dir, "model.onnx").read_bytes()
    if len(model) <= longest:
        (folder / case.name).write_bytes(model)
PYTHON

"$build/fuzz_reader" -max_len="$longest" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
  -artifact_prefix="$build/" -print_final_stats=1 "$build/corpus" "$build/seeds"
