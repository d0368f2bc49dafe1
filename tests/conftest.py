"""Which tests run: those marked ``exhaustive`` take long, and are left out unless asked for.

==================================  ==========================================================
``pytest -n 2 --dist loadfile``     all but them; a few minutes on two cores
``pytest -m exhaustive``            them alone, in the form that ``.ci/run`` runs
``FASTSGD_EXHAUSTIVE=1 pytest``     all, and those that have one in a long form: hours
==================================  ==========================================================
"""

import math
import os
import signal
import zlib

import numpy as np
import pytest

ONE_IN = {
    "test_annealing.py::test_a_default_fit_ends_near_the_minimum_or_says_so": 3,
    "test_bad_input.py::test_corrupt_matrix_is_a_value_error": 4,
    "test_bench.py::test_a_pipe_gets_no_progress_bar_and_exit_status_0": 0,
    "test_cache.py::test_a_writer_that_is_killed_leaves_nothing_that_is_believed": 0,
    "test_cache.py::test_files_that_are_altered_are_refused_or_say_the_same": 2,
    "test_cache.py::test_manifests_that_are_forged_never_crash": 2,
    "test_cache.py::test_rows_come_back_however_they_were_cut": 3,
    "test_certificate.py::test_vanishes_at_the_minimum_and_bounds_away_from_it": 3,
    "test_changed_data.py::test_a_changed_structure_is_a_value_error": 8,
    "test_changed_data.py::test_dense_data_cannot_be_resized": 3,
    "test_checkpoints.py::test_a_fit_goes_on_from_each_of_its_checkpoints": 2,
    "test_checkpoints.py::test_fits_that_are_killed_again_and_again": 0,
    "test_command_line.py::test_a_reader_that_has_gone_is_no_traceback": 0,
    "test_command_line.py::test_errors_of_data_are_one_sentence_and_status_1": 2,
    "test_command_line.py::test_help_explains_itself_and_its_examples_run": 4,
    "test_command_line.py::test_mistakes_of_usage_are_status_2": 2,
    "test_command_line.py::test_the_guide_runs": 0,
    "test_command_line.py::test_without_a_checkpoint_the_model_as_it_stands_is_kept": 0,
    "test_compaction.py::test_no_number_shows_which_lanes_are_left_out": 3,
    "test_conversions.py::test_other_forms_are_as_scipy_makes_them": 4,
    "test_core.py::test_rows_of_weight_zero_between_others": 3,
    "test_corrupt_csr.py::test_corrupt_matrix_is_a_value_error": 3,
    "test_dask.py::test_bits_do_not_depend_on_the_tasks_of_a_round": 3,
    "test_dask.py::test_bits_do_not_depend_on_workers": 3,
    "test_dask_faults.py::test_a_worker_comes": 0,
    "test_dask_faults.py::test_most_workers_or_all_are_killed": 3,
    "test_dask_files.py::test_a_file_is_several_shards": 3,
    "test_dask_files.py::test_a_search_of_files": 2,
    "test_dask_files.py::test_a_worker_is_killed": 2,
    "test_dask_files.py::test_writers_are_killed_once_all_is_written": 2,
    "test_dask_models.py::test_finish_has_the_same_bits_on_any_workers": 3,
    "test_dask_search.py::test_bits_do_not_depend_on_workers": 3,
    "test_disturbed.py::test_calls_beside_others": 4,
    "test_edges.py::test_any_size_of_any_number_is_the_twins": 8,
    "test_explore.py::test_every_choice_is_a_run_of_its_own": 4,
    "test_explore.py::test_light_and_dark": 0,
    "test_explore.py::test_paths_are_those_of_the_solver_bit_for_bit": 3,
    "test_explore.py::test_play_pauses_ends_and_begins_again": 0,
    "test_explore.py::test_speeds": 0,
    "test_explore.py::test_within_a_notebooks_frame": 0,
    "test_explore.py::test_zoom_and_pan": 0,
    "test_explore_network.py::test_a_phone_needs_no_sideways_scrolling": 0,
    "test_explore_network.py::test_a_run_that_diverges_says_so": 0,
    "test_explore_network.py::test_every_choice_is_a_run_of_its_own": 4,
    "test_explore_network.py::test_it_opens_at_once_and_asks_for_nothing": 0,
    "test_explore_network.py::test_keys_play_and_zoom": 0,
    "test_explore_network.py::test_light_and_dark": 0,
    "test_explore_network.py::test_other_networks_are_drawn_too": 3,
    "test_explore_network.py::test_runs_have_the_bits_of_the_core": 2,
    "test_explore_network.py::test_the_regions_are_those_of_the_run": 3,
    "test_explore_network.py::test_the_rows_of_every_next_batch_are_ringed": 3,
    "test_explore_page.py::test_logarithmic_axes_have_ticks_within_their_range": 5,
    "test_explore_page.py::test_losses_of_runs_that_do_not_diverge_are_within_the_axes": 3,
    "test_interrupt.py::test_keyboard_interrupt_arrives_in_time_and_leaves_a_model": 2,
    "test_interrupt.py::test_keyboard_interrupt_arrives_in_time_everywhere": 6,
    "test_interrupt_moments.py::test_interrupts_in_functions": 5,
    "test_lazy.py::test_as_the_twin": 4,
    "test_lazy.py::test_decay_too_strong_for_coordinates": 10,
    "test_lazy.py::test_dense_rows_and_csr_in_turns": 3,
    "test_lazy.py::test_momentum_under_l1": 3,
    "test_lazy.py::test_spans_of_momentum": 5,
    "test_lazy.py::test_weights_that_oscillate_stop_at_zero": 6,
    "test_leaks.py::test_memory_does_not_grow": 0,
    "test_mlp.py::test_is_scikit_learns": 3,
    "test_model_files.py::test_a_loaded_model_goes_on_with_the_same_bits": 3,
    "test_network_core.py::test_core_is_the_twin": 2,
    "test_network_core.py::test_features_that_are_away_for_long_catch_up": 3,
    "test_optimizers.py::test_absent_features_catch_up_exactly": 3,
    "test_oracle.py::test_core_equals_twin": 2,
    "test_oracle.py::test_passive_aggressive_steps_equal_the_twins": 4,
    "test_oracle.py::test_stored_types_and_scales_equal_the_twins": 4,
    "test_repeat.py::test_the_same_bits_as_a_whole_call": 3,
    "test_round_checkpoints.py::test_a_fit_goes_on_from_each_of_its_checkpoints": 3,
    "test_round_checkpoints.py::test_fits_that_are_killed_again_and_again": 0,
    "test_search.py::test_it_is_scikit_learns_search": 2,
    "test_search.py::test_it_is_scikit_learns_search_of_a_regressor": 2,
    "test_search_pipelines.py::test_results_are_scikit_learns_in_random_order": 4,
    "test_search_streams.py::test_a_search_is_single_fits_without_a_fold": 6,
    "test_search_streams.py::test_every_score_by_blocks_is_that_of_all_rows": 2,
    "test_sizes.py::test_a_million_columns_in_sixteen_lanes": 3,
    "test_source_checkpoints.py::test_a_fit_goes_on_from_each_of_its_checkpoints": 4,
    "test_source_checkpoints.py::test_fits_that_are_killed_again_and_again": 0,
    "test_split_lanes.py::test_lanes_of_splits_equal_the_twins": 2,
    "test_standardise.py::test_no_second_copy_of_X": 4,
    "test_stream_fit.py::test_a_pool_of_all_rows_has_the_bits_of_arrays": 3,
    "test_stream_fit.py::test_small_pools_do_not_depend_on_how_rows_come": 4,
    "test_stream_processes.py::test_ctrl_c_while_reading_leaves_nothing": 0,
    "test_stream_processes.py::test_ctrl_c_while_training_keeps_the_model": 0,
    "test_stream_processes.py::test_memory_is_that_of_the_pools_and_not_of_the_rows": 0,
    "test_streamed_rounds.py::test_a_fit_goes_on_from_each_of_its_checkpoints": 3,
    "test_streamed_rounds.py::test_a_search_has_the_scores_of_shards_in_memory": 4,
    "test_streamed_rounds.py::test_lbfgs_ends_at_the_same_minimum": 5,
    "test_streamed_shards.py::test_bits_depend_on_neither_executor_nor_cache": 3,
    "test_streamed_shards.py::test_one_shard_is_the_local_fit": 3,
    "test_threads.py::test_processes": 4,
    "test_wide.py::test_a_fit": 4,
    "test_wide.py::test_a_state_follows_another": 3,
    "test_wide.py::test_measures_without_a_copy_of_the_weights": 4,
    "test_wide.py::test_the_same_bits_as_with_all_weights_read": 2,
    "test_windows.py::test_the_twin_agrees": 6,
    "test_windows.py::test_windows_with_an_order_are_shuffled_tables": 6,
    "test_zoo.py::test_bad_array_is_refused": 3,
    "test_zoo.py::test_make_makes_no_difference": 3,
}
"""Tests that take long, alone or in many cases: one case in so many is not exhaustive, drawn by a
hash of its name, so that no value of a parameter is left out for its place; of 0, none is."""


def pytest_configure():
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell's job in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    cases = {name: [] for name in ONE_IN}
    for item in items:
        name = f"{item.path.name}::{getattr(item, 'originalname', item.name)}"
        if name in cases:
            cases[name].append(item)
    for name, some in cases.items():
        some.sort(key=lambda item: zlib.crc32(item.name.encode()))
        for item in some[math.ceil(len(some) / ONE_IN[name]) if ONE_IN[name] else 0 :]:
            item.add_marker("exhaustive")
    if config.option.markexpr or os.environ.get("FASTSGD_EXHAUSTIVE"):
        return
    left_out = [item for item in items if item.get_closest_marker("exhaustive")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]


def pytest_runtest_setup(item):
    """What has no ``random_state`` draws its seed here: the same in each run."""
    np.random.seed(0)  # noqa: NPY002  # the generator of scikit-learn


def pytest_report_header(config):
    if not config.option.markexpr and not os.environ.get("FASTSGD_EXHAUSTIVE"):
        return "tests marked exhaustive are left out: pytest -m exhaustive runs them"
    return None
