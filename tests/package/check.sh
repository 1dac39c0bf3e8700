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
set(CMAKE_CXX_STANDARD 20)
add_executable(step ${ROOT}/examples/step.cc)
target_link_libraries(step PRIVATE deltacnn::deltacnn)
add_executable(video ${ROOT}/examples/video.cc)
target_link_libraries(video PRIVATE deltacnn::deltacnn_vision)
CMAKE
cmake -G Ninja -S "$work/consumer" -B "$work/consumer/build" -DROOT="$root" \
  -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/consumer/build" >/dev/null
"$work/consumer/build/step" "$root/demo_assets/detector.onnx"
video() { "$1" "$root/demo_assets/detector.onnx" "$root/demo_assets/street.mp4"; }
video "$work/consumer/build/video" >"$work/answers.txt"
grep -q '^frame 299,' "$work/answers.txt"  # the last one
grep -q '^  [a-z]* 0\.' "$work/answers.txt"  # an object

export PKG_CONFIG_PATH="$work/prefix/lib/pkgconfig:$(echo "$work"/prefix/lib/*/pkgconfig)"
# shellcheck disable=SC2046  # the flags are words
c++ -std=c++20 "$root/examples/step.cc" $(pkg-config --cflags --libs --static deltacnn) -o "$work/step"
"$work/step" "$root/demo_assets/detector.onnx"
# shellcheck disable=SC2046
c++ -std=c++20 "$root/examples/video.cc" $(pkg-config --cflags --libs deltacnn_vision) -o "$work/video"
video "$work/video" | cmp - "$work/answers.txt"
"$work/prefix/bin/deltacnn" inspect "$root/demo_assets/detector.onnx" >/dev/null
