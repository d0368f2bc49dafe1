"""Which tests run: those marked ``exhaustive`` take long, and are left out unless asked for.

==================================  ==========================================================
``pytest -n 2 --dist loadfile``     all but them; a few minutes on two cores
``pytest -m exhaustive``            them alone, in the form that ``.ci/run`` runs
``FASTSGD_EXHAUSTIVE=1 pytest``     all, and those that have one in a long form: hours
==================================  ==========================================================
"""

import os


def pytest_collection_modifyitems(config, items):
    if config.option.markexpr or os.environ.get("FASTSGD_EXHAUSTIVE"):
        return
    left_out = [item for item in items if item.get_closest_marker("exhaustive")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_report_header(config):
    if not config.option.markexpr and not os.environ.get("FASTSGD_EXHAUSTIVE"):
        return "tests marked exhaustive are left out: pytest -m exhaustive runs them"
    return None
