#!/usr/bin/env bash
# Every C header compiles by itself, without a warning: it includes what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
for header in csrc/*.h csrc/kernel/*.h csrc/kernel/*/*.h csrc/network/*.h; do
    "${CC:-gcc}" -std=c11 -fsyntax-only -fopenmp-simd -Wall -Wextra -Wconversion -Werror \
        -Wno-unused-function -x c "$header" || failed=1
done
exit $failed
