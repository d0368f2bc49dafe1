"""Calls of every kind, once each, for tests/valgrind.sh: small, since each step takes 50 times."""

import sys
import warnings

from public_calls import bits_of, calls

warnings.simplefilter("ignore")
for name, call in calls(24, 5, 2).items():
    if name in sys.argv[1:] or len(sys.argv) == 1:
        bits_of(call.make(call.subject()))
        print(name, flush=True)
