#!/usr/bin/env bash
# Memcheck on calls of every kind: reads of what nobody wrote, and accesses beyond what was allocated,
# that come from the core. The core is the one that is installed; it takes some minutes.
#
#     tests/valgrind.sh [names of calls of tests/public_calls.py]
set -euo pipefail
cd "$(dirname "$0")"
report=$(mktemp)
trap 'rm -f "$report"' EXIT
# Valgrind 3.19 knows no AVX-512. What other libraries do is not ours: an error counts if a function of
# the core is in its stack.
FASTSGD_ISA=${FASTSGD_ISA:-avx2} PYTHONMALLOC=malloc OPENBLAS_NUM_THREADS=1 OPENBLAS_CORETYPE=HASWELL \
    NPY_DISABLE_CPU_FEATURES="AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR" \
    valgrind --tool=memcheck --undef-value-errors=yes --leak-check=no --error-limit=no \
    --num-callers=40 --log-file="$report" python valgrind_calls.py "$@"
tail -n 1 "$report"
awk 'BEGIN { RS = "==[0-9]+== \n" } /_core\./ { print; found = 1 } END { exit found }' "$report"
