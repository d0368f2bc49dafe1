"""Calls of every kind, once each, for tests/valgrind.sh: small, since each step takes 50 times.

The bytes of what a call gave are written to nowhere: Memcheck says whether all of them were set.
"""

import os
import sys
import warnings

from public_calls import bits_of, calls


def bytes_of(bits):
    """All bytes in what ``bits_of`` gave."""
    if isinstance(bits, tuple):
        return b"".join(map(bytes_of, bits))
    return bits if isinstance(bits, bytes) else b""


def main(*names):
    warnings.simplefilter("ignore")
    with open(os.devnull, "wb", buffering=0) as nowhere:
        for name, call in calls(24, 5, 2).items():
            if name in names or not names:
                nowhere.write(bytes_of(bits_of(call.make(call.subject()))))
                print(name, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
