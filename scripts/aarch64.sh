#!/usr/bin/env bash
# Builds the core and its tests for 64-bit Arm in build-aarch64, for ctest to run under qemu:
#   scripts/aarch64.sh && ctest --test-dir build-aarch64
# Needs no Arm packages: Highway's headers are the same for all machines, and without its run-time
# dispatch (NEON is all that is compiled) nothing of its library is used; GoogleTest and protozero
# are built from, or are, sources.
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
build="$root/build-aarch64"
prefix="$build/prefix"
toolchain="$root/cmake/aarch64.cmake"
scripts/setup.sh long

mkdir -p "$prefix/include" "$prefix/lib/pkgconfig"
for headers in hwy protozero; do ln -sfn "/usr/include/$headers" "$prefix/include/$headers"; done
# TOOLCHAIN_MISS_SYS_AUXV_H: Highway's switch for "this machine cannot be asked what it can".
cat >"$prefix/lib/pkgconfig/libhwy.pc" <<PC
Name: libhwy
Description: Highway, headers only
Version: $(pkg-config --modversion libhwy)
Cflags: -I$prefix/include -DTOOLCHAIN_MISS_SYS_AUXV_H
PC
if [ ! -e "$prefix/lib/libgtest.a" ]; then
  cmake -G Ninja -S /usr/src/googletest -B "$build/googletest" --toolchain "$toolchain" \
    -DCMAKE_BUILD_TYPE=Release -DBUILD_GMOCK=OFF -DCMAKE_INSTALL_LIBDIR=lib \
    -DCMAKE_INSTALL_PREFIX="$prefix"
  cmake --build "$build/googletest"
  cmake --install "$build/googletest"
fi

PKG_CONFIG_LIBDIR="$prefix/lib/pkgconfig" cmake -G Ninja -S . -B "$build" --toolchain "$toolchain" \
  -DGTest_DIR="$prefix/lib/cmake/GTest" -DDELTACNN_VIDEO=OFF -DDELTACNN_TESTS=ON "$@"
cmake --build "$build"
