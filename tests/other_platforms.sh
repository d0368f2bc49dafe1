#!/usr/bin/env bash
# The C of the core compiles for macOS, Windows and musl without a warning, under the options that CMakeLists.txt
# has for each instruction set. The clang of PyPI's ziglang translates it into LLVM's language; nothing is linked or run.
#
#     tests/other_platforms.sh [targets of zig]
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- aarch64-macos x86_64-macos x86_64-windows-gnu x86_64-linux-musl

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
python -m pip install --quiet ziglang cmake ninja cython "cython-cmake>=0.2"
modules=$(python -c 'import cython_cmake; print(*cython_cmake.__path__)')/cmake

for target in "$@"; do
    compiler="$build/cc-$target"
    cat >"$compiler" <<END
#!/bin/sh
exec "$(command -v python)" -I -m ziglang cc -target $target "\$@"
END
    chmod +x "$compiler"
    # CMake is told of Linux, since it would look for a Python of the target, and which compiler it is, since zig
    # would make the libraries of the target to link a test.
    cmake -G Ninja -S . -B "$build/$target" -DSKBUILD_PROJECT_NAME=fastsgd -DCMAKE_MODULE_PATH="$modules" \
        -DCMAKE_C_COMPILER="$compiler" -DCMAKE_C_COMPILER_ID=Clang -DCMAKE_C_COMPILER_VERSION=20 \
        -DCMAKE_C_COMPILER_ID_RUN=ON -DCMAKE_C_COMPILER_FORCED=ON -DCMAKE_C_STANDARD_COMPUTED_DEFAULT=17 \
        -DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON \
        -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR="${target%%-*}" \
        -DCMAKE_C_FLAGS_RELEASE="-emit-llvm -Xclang -disable-llvm-passes" -DFASTSGD_WERROR=ON >"$build/log"
    ninja -C "$build/$target" -t targets all | sed -n 's/\(.*csrc.*\.o\): .*/\1/p' >"$build/objects"
    xargs ninja --quiet -C "$build/$target" <"$build/objects"
    echo "$target: $(wc -l <"$build/objects") files"
done
