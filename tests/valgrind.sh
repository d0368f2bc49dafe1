#!/usr/bin/env bash
# Memcheck on calls of every kind: reads of what nobody wrote, and accesses beyond what was allocated,
# that come from the core. The core is the one that is installed; it takes some minutes.
#
#     tests/valgrind.sh [names of calls of tests/public_calls.py]
set -euo pipefail
cd "$(dirname "$0")"
report=$(mktemp)
trap 'rm -f "$report"' EXIT

# Valgrind 3.19 knows no AVX-512.
memcheck() {
    FASTSGD_ISA=${FASTSGD_ISA:-avx2} PYTHONMALLOC=malloc OPENBLAS_NUM_THREADS=1 OPENBLAS_CORETYPE=HASWELL \
        NPY_DISABLE_CPU_FEATURES="AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR" \
        valgrind --tool=memcheck --undef-value-errors=yes --leak-check=no --error-limit=no --num-callers=60 \
        --xml=yes --xml-file="$report" python "$@"
}

# What other libraries do is not ours: valgrind_reports.py tells the reports that have a function of the
# core in their stack from the others, and fails if there is one. First it must find what is there: a
# run on rows that nobody wrote.
memcheck valgrind_control.py
if python valgrind_reports.py "$report" >/dev/null; then
    echo "Memcheck does not see what the core reads" >&2
    exit 1
fi
memcheck valgrind_calls.py "$@"
python valgrind_reports.py "$report"
