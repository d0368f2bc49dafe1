#!/usr/bin/env bash
# Builds the core with gcc's ThreadSanitizer into the active virtual environment, and runs the tests of
# threads with it: those within a fit, fits in many Python threads, and the threads that read sources
# ahead. A report of the core fails. It takes some three minutes, and is not part of .ci/run.
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

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python -m pip install --quiet "scikit-build-core>=1.0" "cython>=3.1" "cython-cmake>=0.2" cmake ninja
python -m pip install --quiet --no-build-isolation -C build-dir="$work/build" \
    -C cmake.define.FASTSGD_SANITIZE=thread -C cmake.define.FASTSGD_ISAS="$isas" '.[test]'

# The core alone is instrumented. Of Python, whose lock is made of mutexes that ThreadSanitizer knows,
# nothing is reported. What Arrow's threads do is reported, since what orders them is not instrumented:
# thread_sanitizer_reports.py tells reports with a frame of the core from the others. Nothing is
# suppressed, so that none of the core is hidden behind one of Arrow. ThreadSanitizer needs addresses
# that are not drawn at random (setarch -R).
sanitized() {
    LD_PRELOAD="$(gcc -print-file-name=libtsan.so)" OPENBLAS_NUM_THREADS=1 \
        TSAN_OPTIONS="halt_on_error=0:exitcode=0:die_after_fork=0:history_size=7:log_path=$work/$1" \
        setarch -R python "${@:2}"
}

# First it must find what is there: rows that another thread overwrites while a fit reads them.
sanitized control tests/thread_sanitizer_control.py
if python tests/thread_sanitizer_reports.py "$work"/control* >/dev/null; then
    echo "ThreadSanitizer does not see what the core reads" >&2
    exit 1
fi
sanitized report -m pytest -q -p no:cacheprovider --capture=sys "$@"
python tests/thread_sanitizer_reports.py "$work"/report*
