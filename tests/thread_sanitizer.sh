#!/usr/bin/env bash
# Builds the core with gcc's ThreadSanitizer into the active virtual environment, and runs the tests of
# threads with it: those within a fit, fits in many Python threads, and the threads that read sources
# ahead. Any report fails. It takes some ten minutes, and is not part of .ci/run.
#
#     tests/thread_sanitizer.sh [arguments of pytest, instead of the chosen tests]
set -euo pipefail
cd "$(dirname "$0")/.."

case $(uname -m) in
x86_64 | amd64) isas=${FASTSGD_ISAS:-avx2} ;;
*) isas=${FASTSGD_ISAS:-scalar} ;;
esac
if [ $# -eq 0 ]; then
    set -- tests/test_threads.py tests/test_stream_fit.py tests/test_interrupted_streams.py
    # ThreadSanitizer loses count of the threads of a child that is forked while others run.
    set -- "$@" --deselect 'tests/test_threads.py::test_processes[forks_beside_a_fit]'
fi

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
python -m pip install --quiet "scikit-build-core>=1.0" "cython>=3.1" "cython-cmake>=0.2" cmake ninja
python -m pip install --quiet --no-build-isolation -C build-dir="$build" \
    -C cmake.define.FASTSGD_SANITIZE=thread -C cmake.define.FASTSGD_ISAS="$isas" '.[test]'

# The core alone is instrumented. Of Python, whose lock is made of mutexes that ThreadSanitizer knows,
# nothing is reported; tests/data/tsan.supp says what is left out of other libraries, and why. It
# needs addresses that are not drawn at random (setarch -R).
export LD_PRELOAD="$(gcc -print-file-name=libtsan.so)"
export TSAN_OPTIONS="halt_on_error=0:exitcode=66:die_after_fork=0:history_size=7:suppressions=$PWD/tests/data/tsan.supp"
export OPENBLAS_NUM_THREADS=1
setarch -R python -m pytest -q -p no:cacheprovider --capture=sys "$@"
