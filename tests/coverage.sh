#!/usr/bin/env bash
# Which branches the tests take: of C, whose core is built with gcc's --coverage for one instruction set
# into the active virtual environment, and of Python. Prints a table of files and the percentage.
#
#     tests/coverage.sh c [arguments of pytest, instead of the chosen tests]
#     tests/coverage.sh python [the same]
#
# Nothing is inlined, so that a branch of the C sources counts once for float and double and all numbers
# of lanes together, and not for each copy that the compiler makes of a function.
# FASTSGD_ISAS names the instruction set; FASTSGD_COVERAGE a folder that keeps the build and the report.
set -euo pipefail
cd "$(dirname "$0")/.."
what=$1
shift
if [ -n "${FASTSGD_COVERAGE:-}" ]; then
    folder=$FASTSGD_COVERAGE
    mkdir -p "$folder"
else
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
fi
export OPENBLAS_NUM_THREADS=1

of_c() {
    case $(uname -m) in
    x86_64 | amd64) isas=${FASTSGD_ISAS:-avx2} ;;
    *) isas=${FASTSGD_ISAS:-scalar} ;;
    esac
    if [ $# -eq 0 ]; then
        set -- tests/test_core.py tests/test_corrupt_csr.py tests/test_door.py tests/test_oracle.py \
            tests/test_edges.py tests/test_losses.py tests/test_store.py tests/test_lazy.py \
            tests/test_network_core.py tests/test_network.py tests/test_optimizers.py tests/test_plain.py \
            tests/test_split_lanes.py tests/test_threads.py tests/test_windows.py tests/test_sampling.py \
            tests/test_weights.py tests/test_wide.py tests/test_bits.py tests/test_extremes.py \
            tests/test_sizes.py tests/test_compiled_loss.py tests/test_minimize.py \
            tests/test_divergence.py tests/test_changed_data.py tests/test_memory.py \
            'tests/test_allocations.py::test_an_allocation_fails[core-150]'
    fi
    python -m pip install --quiet "scikit-build-core>=1.0" "cython>=3.1" "cython-cmake>=0.2" cmake ninja gcovr
    python -m pip install --quiet --no-build-isolation -C build-dir="$folder/build" \
        -C cmake.define.CMAKE_C_FLAGS_RELEASE="-O1 --coverage -fprofile-update=atomic -fno-inline -DFASTSGD_SANITIZED" \
        -C cmake.define.FASTSGD_ISAS="$isas" '.[test]'
    find "$folder/build" -name '*.gcda' -delete
    python -m pytest -q -p no:cacheprovider "$@"
    gcovr --root . --object-directory "$folder/build" --filter csrc/ --exclude-unreachable-branches \
        --gcov-ignore-parse-errors=negative_hits.warn --merge-mode-functions=merge-use-line-min \
        --txt-metric branch --txt - --json "$folder/c.json" "$folder/build"
}

of_python() {
    if [ $# -eq 0 ]; then # all but browsers, clusters, pages, processes that are killed, and what takes time
        mapfile -t slow < <(printf -- '--ignore=tests/test_%s.py\n' allocations bench bits browser changed_data \
            contributing dask dask_faults dask_files dask_models dask_search disturbed ecosystem endurance \
            examples explore_page fuzz interrupt interrupt_moments leaks links memory package pages site \
            stream_processes times)
        # A tracer refers to the arrays of that test, which NumPy then does not resize.
        set -- tests "${slow[@]}" --deselect tests/test_repeat.py::test_rows_may_be_resized_after_a_step
    fi
    python -m pip install --quiet 'coverage>=7.6' '.[test]'
    coverage run --data-file="$folder/python" --branch --source=fastsgd -m pytest -q -p no:cacheprovider "$@"
    coverage json --data-file="$folder/python" -q -o "$folder/python.json"
    coverage report --data-file="$folder/python" --skip-covered --show-missing
}

"of_$what" "$@"
