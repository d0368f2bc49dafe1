"""What Memcheck reports of the core, of its XML file, for tests/valgrind.sh; fails if there is any.

A report is the core's if a function of the core is in one of its stacks, before any of Python's
interpreter: what the core calls, but not what it imports. So is a report of bytes that nobody set
in what a call gave: valgrind_calls.py writes them.
"""

import itertools
import sys
import xml.etree.ElementTree as ET
from collections import Counter


def stacks_of(error):
    """Functions and their libraries in all stacks of a report, the innermost first."""
    return [
        [(f.findtext("fn", "?"), f.findtext("obj", "?")) for f in stack.iter("frame")]
        for stack in error.iter("stack")
    ]


def is_of_the_core(stack):
    below = itertools.takewhile(lambda frame: not frame[0].startswith("_PyEval_"), stack)
    return any("/fastsgd/_core." in library for _, library in below)


def main(path):
    root = ET.parse(path).getroot()
    ours, others = [], Counter()
    times = {pair.findtext("unique"): int(pair.findtext("count")) for pair in root.iter("pair")}
    for error in root.iter("error"):
        if error.findtext("kind", "").startswith("Leak_"):  # tests/test_leaks.py looks for them
            continue
        stacks = stacks_of(error)
        of_a_result = error.findtext("kind") == "SyscallParam"
        if of_a_result or any(map(is_of_the_core, stacks)):
            ours.append((error, stacks))
        else:
            others[stacks[0][0]] += times.get(error.findtext("unique"), 1)
    for (function, library), count in others.most_common():
        print(f"not ours: {count} times in {function} of {library}")
    for error, stacks in ours:
        print(error.findtext("what") or error.findtext("xwhat/text"))
        for function, library in itertools.chain.from_iterable(stacks):
            print(f"    {function} ({library})")
    print(f"{len(ours)} reports of the core, {sum(others.values())} of others")
    return 1 if ours else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
