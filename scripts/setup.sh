#!/usr/bin/env bash
# Installs what is missing to build deltacnn (setup.sh build), to test it too (setup.sh test) and for
# the long tests (setup.sh long) on Debian 12+ or Ubuntu 22.04+. Says what it installs; uses sudo only
# when not root.
set -euo pipefail
cd "$(dirname "$0")/.."

build_packages=(
  g++ cmake ninja-build pkg-config
  libhwy-dev libprotozero-dev                                             # core
  libavformat-dev libavcodec-dev libavdevice-dev libavutil-dev libswscale-dev  # video
  libcairo2-dev fonts-dejavu-core nlohmann-json3-dev libcli11-dev libfmt-dev    # answers, program
)
test_packages=(
  libgtest-dev ffmpeg python3-venv clang-14 clang-format-14
  # A real RTSP server for the camera tests.
  gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
  gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-rtsp python3-gi
)
long_packages=(
  g++-aarch64-linux-gnu qemu-user googletest  # the tests for Arm
  libbenchmark-dev                            # bench/*.cc
)

install_packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' \
      || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "setup: not root and no sudo; please install: ${missing[*]}" >&2; exit 1; }
    sudo=(sudo)
  fi
  echo "setup: installing ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null
}

install_python() {  # into .venv, for the test suites only
  local wanted=(numpy onnx onnxruntime pytest ruff)
  if [ ! -x .venv/bin/python ]; then
    echo "setup: making .venv"
    python3 -m venv .venv
  fi
  if ! .venv/bin/python -c 'import numpy, onnx, onnxruntime, pytest, ruff' 2>/dev/null; then
    echo "setup: installing ${wanted[*]} into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "${wanted[@]}"
  fi
}

case "${1:-}" in
  build) install_packages "${build_packages[@]}" ;;
  test)
    install_packages "${build_packages[@]}" "${test_packages[@]}"
    install_python
    ;;
  long)
    # Ubuntu 22.04 has libFuzzer elsewhere, installed along with Clang.
    [ -e "$(clang-14 -print-resource-dir)/lib/linux/libclang_rt.fuzzer-$(uname -m).a" ] \
      || long_packages+=(libclang-rt-14-dev)
    install_packages "${long_packages[@]}"
    ;;
  *)
    echo "usage: scripts/setup.sh build|test|long" >&2
    exit 2
    ;;
esac
