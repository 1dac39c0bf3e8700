#!/usr/bin/env bash
# Installs a build into a temporary place and uses it from outside: find_package and pkg-config.
set -euo pipefail
root="$(cd "$(dirname "$0")/../.." && pwd)"
build="$1"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/prefix" >/dev/null

mkdir "$work/consumer"
cat >"$work/consumer/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.20)
project(consumer LANGUAGES CXX)
find_package(deltacnn REQUIRED)
add_executable(step ${ROOT}/examples/step.cc)
target_compile_features(step PRIVATE cxx_std_20)
target_link_libraries(step PRIVATE deltacnn::deltacnn)
CMAKE
cmake -G Ninja -S "$work/consumer" -B "$work/consumer/build" -DROOT="$root" \
  -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/consumer/build" >/dev/null
"$work/consumer/build/step" "$root/demo_assets/detector.onnx"

export PKG_CONFIG_PATH="$work/prefix/lib/pkgconfig:$(echo "$work"/prefix/lib/*/pkgconfig)"
# shellcheck disable=SC2046  # the flags are words
c++ -std=c++20 "$root/examples/step.cc" $(pkg-config --cflags --libs --static deltacnn) -o "$work/step"
"$work/step" "$root/demo_assets/detector.onnx"
"$work/prefix/bin/deltacnn" inspect "$root/demo_assets/detector.onnx" >/dev/null
