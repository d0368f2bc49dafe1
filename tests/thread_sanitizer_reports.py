"""What ThreadSanitizer reports of the core, of its log files, for tests/thread_sanitizer.sh.

Fails if there is any. A report is the core's if a function of the core is in one of its stacks.
"""

import re
import sys
from collections import Counter
from pathlib import Path

MARK = re.compile(r"^=+$", re.M)
FRAME = re.compile(r"^ +#\d+ (.+?) (?:\S+ )?\(([^()]+?)\+0x[0-9a-f]+\)$", re.M)


def main(*paths):
    ours, others = [], Counter()
    for path in filter(Path.exists, map(Path, paths)):
        for report in MARK.split(path.read_text()):
            if "WARNING: ThreadSanitizer" not in report:
                continue
            frames = FRAME.findall(report)
            if not frames or any(library.startswith("_core.") for _, library in frames):
                ours.append(report)
            else:
                first = next((pair for pair in frames if "libtsan" not in pair[1]), frames[0])
                others[first] += 1
    for (function, library), count in others.most_common():
        print(f"not ours: {count} times {function} of {library}")
    for report in ours:
        print(report)
    print(f"{len(ours)} reports of the core, {sum(others.values())} of others")
    return 1 if ours else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
