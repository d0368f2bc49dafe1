"""Which tests run: those marked ``exhaustive`` take long, and are left out unless asked for.

==================================  ==========================================================
``pytest -n 2 --dist loadfile``     all but them; a few minutes on two cores
``pytest -m exhaustive``            them alone, in the form that ``.ci/run`` runs
``FASTSGD_EXHAUSTIVE=1 pytest``     all, and those that have one in a long form: hours
==================================  ==========================================================
"""

import math
import os
import zlib

import pytest

ONE_IN = {
    "test_checkpoints.py::test_a_fit_goes_on_from_each_of_its_checkpoints": 2,
    "test_conversions.py::test_other_forms_are_as_scipy_makes_them": 2,
    "test_lazy.py::test_as_the_twin": 2,
    "test_lazy.py::test_weights_that_oscillate_stop_at_zero": 3,
    "test_network_core.py::test_features_that_are_away_for_long_catch_up": 3,
    "test_search_streams.py::test_a_search_is_single_fits_without_a_fold": 3,
    "test_source_checkpoints.py::test_a_fit_goes_on_from_each_of_its_checkpoints": 2,
    "test_stream_fit.py::test_a_pool_of_all_rows_has_the_bits_of_arrays": 3,
    "test_stream_fit.py::test_small_pools_do_not_depend_on_how_rows_come": 2,
    "test_streamed_rounds.py::test_a_search_has_the_scores_of_shards_in_memory": 4,
    "test_streamed_rounds.py::test_lbfgs_ends_at_the_same_minimum": 3,
    "test_streamed_shards.py::test_one_shard_is_the_local_fit": 3,
    "test_wide.py::test_a_fit": 2,
    "test_wide.py::test_measures_without_a_copy_of_the_weights": 3,
    "test_wide.py::test_the_same_bits_as_with_all_weights_read": 2,
    "test_windows.py::test_the_twin_agrees": 3,
    "test_windows.py::test_windows_with_an_order_are_shuffled_tables": 3,
}
"""Tests of many cases that take long together: one case in so many is not exhaustive, drawn by a
hash of its name, so that no value of a parameter is left out for its place."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    cases = {name: [] for name in ONE_IN}
    for item in items:
        name = f"{item.path.name}::{getattr(item, 'originalname', item.name)}"
        if name in cases:
            cases[name].append(item)
    for name, some in cases.items():
        some.sort(key=lambda item: zlib.crc32(item.name.encode()))
        for item in some[math.ceil(len(some) / ONE_IN[name]) :]:
            item.add_marker("exhaustive")
    if config.option.markexpr or os.environ.get("FASTSGD_EXHAUSTIVE"):
        return
    left_out = [item for item in items if item.get_closest_marker("exhaustive")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]


def pytest_report_header(config):
    if not config.option.markexpr and not os.environ.get("FASTSGD_EXHAUSTIVE"):
        return "tests marked exhaustive are left out: pytest -m exhaustive runs them"
    return None
