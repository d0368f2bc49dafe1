#!/usr/bin/env bash
# The long form of everything in docs/reliability.md, step by step: days on two cores.
#
#     tests/long.sh FOLDER [STEP...]     all steps, or those that are named
#
# FOLDER keeps the log of each step, and its virtual environment. A step that has passed is not run
# again, so the same command goes on after an interruption. Debian's valgrind, clang-14,
# libclang-rt-14-dev, chromium and chromium-driver have to be installed.
set -euo pipefail
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."
steps=(tests fuzz sanitized_fuzz sanitizers sanitizers_of_clang threads valgrind branches_c branches_python
    mutants_c mutants_python)
[ $# -gt 0 ] || set -- "${steps[@]}"

install() { pip install --quiet '.[test]' "$@"; }

tests() {
    install
    FASTSGD_EXHAUSTIVE=1 pytest -n 2 --dist loadfile
}
guided() { # the fuzzer, with a core that tells it of its branches
    install atheris
    CC=clang-14 tests/sanitizers.sh fuzz --jobs 2 --corpus "$folder/corpus" --findings "$here/findings" "$@"
}
fuzz() { # an hour of each target
    FASTSGD_SANITIZERS='' guided --seconds 23400
}
sanitized_fuzz() { # what it found, and a little more
    guided --seconds 23400 --executions 10000
}
sanitizers() { tests/sanitizers.sh all; }
sanitizers_of_clang() { CC=clang-14 tests/sanitizers.sh all; }
threads() { tests/thread_sanitizer.sh; }
valgrind() {
    install
    tests/valgrind.sh
}
branches_c() { FASTSGD_COVERAGE="$here/coverage" tests/coverage.sh c; }
branches_python() { FASTSGD_COVERAGE="$here/coverage" tests/coverage.sh python; }
mutants_c() {
    install libclang scikit-build-core cython cython-cmake ninja cmake
    python tests/mutation/run.py c --count 500 --report "$here/report.jsonl" --build "$here/build"
}
mutants_python() {
    install
    python tests/mutation/run.py python --count 500 --report "$here/report.jsonl" --build "$here/build"
}

failed=()
for step; do
    case " ${steps[*]} " in
    *" $step "*) ;;
    *) echo "no step $step: there are ${steps[*]}" >&2 && exit 2 ;;
    esac
    here=$folder/$step
    mkdir -p "$here"
    if [ -e "$here/passed" ]; then
        echo "$step: passed before"
        continue
    fi
    echo "$step: $here/log"
    [ -e "$here/venv" ] || python3 -m venv "$here/venv"
    set +e # has no effect in a subshell whose status is tested at once
    (
        set -euo pipefail
        export VIRTUAL_ENV=$here/venv PATH=$here/venv/bin:$PATH
        pip install --quiet --upgrade pip
        "$step"
        touch "$here/passed"
    ) >"$here/log" 2>&1
    status=$?
    set -e
    [ $status -eq 0 ] || { tail -n 3 "$here/log" && failed+=("$step"); }
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2 && exit 1; }
