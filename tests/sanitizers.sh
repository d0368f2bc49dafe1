#!/usr/bin/env bash
# Builds the core with AddressSanitizer and UndefinedBehaviorSanitizer into the active virtual environment,
# and runs the tests of the core, of bad input and of threads with it. Any report fails.
#
#     tests/sanitizers.sh [arguments of pytest, instead of the chosen tests]
#     tests/sanitizers.sh all        all tests but those of other programs, of time and of memory
#     tests/sanitizers.sh fuzz [arguments of tests/fuzz/run.py]     the fuzzer's inputs instead of tests
#
# CC names the compiler: gcc, or clang, whose sanitizers look for more (Debian: clang-14 and
# libclang-rt-14-dev). Inputs are made by chance; with clang and atheris those are kept and changed that
# reach new branches of C or of Python. FASTSGD_SANITIZERS names the sanitizers. Where it is empty the
# fuzzer looks for branches alone, with three times as many inputs a second.
# FASTSGD_ISAS names the instruction sets that are compiled; by default scalar and, on x86-64, avx2, or
# avx512 every other day where the processor has it.
set -euo pipefail
cd "$(dirname "$0")/.."

case $(uname -m) in
x86_64 | amd64)
    vectors=avx2
    days=$(($(date +%s) / 86400))
    if [ $((days % 2)) -eq 1 ] && grep -q avx512f /proc/cpuinfo 2>/dev/null; then
        vectors=avx512
    fi
    isas=${FASTSGD_ISAS:-scalar,$vectors}
    ;;
*) isas=${FASTSGD_ISAS:-scalar} ;;
esac
echo "instruction sets: $isas"
# The AddressSanitizer of gcc before 14 does not free the locks of its allocator in a child: one that is
# forked while another thread allocates hangs now and then, in the allocator.
undone=(--deselect 'tests/test_threads.py::test_processes[forks_beside_a_fit]')
if [ $# -eq 0 ]; then
    set -- tests/test_core.py tests/test_corrupt_csr.py tests/test_door.py tests/test_bad_input.py \
        tests/test_threads.py tests/test_changed_data.py tests/test_windows.py \
        tests/test_losses.py tests/test_store.py tests/test_lazy.py \
        tests/test_network_core.py "${undone[@]}"
fi

if [ "$1" = all ]; then
    # Left out: what measures memory or time, and what starts other programs, browsers and clusters; the
    # shim of test_allocations.py has to be loaded before the sanitizer.
    mapfile -t others < <(printf -- '--ignore=tests/test_%s.py\n' allocations bench command_line contributing dask \
        dask_faults dask_files dask_models dask_search ecosystem endurance examples explore explore_network \
        explore_page fuzz interrupt interrupt_moments leaks links memory mutation package pages site \
        stream_processes times)
    set -- tests "${others[@]}" "${undone[@]}"
fi

export CC=${CC:-gcc}
sanitizers=${FASTSGD_SANITIZERS-address,undefined,float-cast-overflow}
engine=chance
case $CC in
*clang*)
    libraries=$($CC -print-file-name="libclang_rt.asan-$(uname -m).so")
    if [ "$1" = fuzz ] && beside=$(python -c 'import atheris; print(atheris.path())'); then
        libraries=$beside/$([[ $sanitizers == *address* ]] && echo asan || echo ubsan)_with_fuzzer.so
        sanitizers=${sanitizers:+$sanitizers,}fuzzer-no-link
        engine=atheris
    fi
    ;;
*) libraries="$($CC -print-file-name=libasan.so) $($CC -print-file-name=libubsan.so)" ;;
esac
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
python -m pip install --quiet "scikit-build-core>=1.0" "cython>=3.1" "cython-cmake>=0.2" cmake ninja
python -m pip install --quiet --no-build-isolation -C build-dir="$build" \
    -C cmake.define.FASTSGD_SANITIZE=$sanitizers -C cmake.define.FASTSGD_ISAS="$isas" '.[test]'

# pytest's default capture hides what UBSan writes, and some tests close the error stream of a process
# that they fork: halt_on_error ends the process at a report, so that its test fails. A mutated pickle
# may ask for more memory than there is (allocator_may_return_null), and one test crashes a process on
# purpose, which must end by its signal (handle_segv=0). Leaks are CPython's own: none are looked for.
export LD_PRELOAD=$libraries
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:handle_segv=0
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export PYTHONMALLOC=malloc OPENBLAS_NUM_THREADS=1
if [ "$1" = fuzz ]; then
    # An array of gigabytes is refused, as the limit of the fuzzer refuses it elsewhere.
    export ASAN_OPTIONS=$ASAN_OPTIONS:max_allocation_size_mb=8192
    python tests/fuzz/run.py --engine $engine "${@:2}"
    exit
fi
python -m pytest -q -p no:cacheprovider --capture=sys "$@"
