"""What ``make quick`` leaves out: the tests that take most of the time, by path.

They start processes, play many matches or whole games, or build things. What is left is every unit and property test of
every part, and one short match over real sockets. ``make test`` runs everything.
"""

from __future__ import annotations

import pytest

PROFILE = "quick"
"""Of hypothesis: few examples."""

LEFT_OUT = (
    # Processes of their own: started, killed, stopped, built.
    "tests/check/",
    "tests/client/test_player.py",
    "tests/e2e/",
    "tests/games/test_description.py",
    "tests/games/test_first_frames.py",
    "tests/processes/",
    "tests/rollgym/test_current_folder.py",
    "tests/rollgym/test_ending_the_process.py",
    "tests/rollgym/test_uploads.py",
    "tests/server/test_admission.py",
    "tests/server/test_control.py",
    "tests/server/test_ingest.py",
    "tests/server/test_judging.py",
    "tests/server/test_pairing.py",
    "tests/server/test_rebuild.py",
    "tests/server/test_recovery.py",
    "tests/server/test_relay.py",
    "tests/server/test_returning.py",
    "tests/server/test_selection.py",
    "tests/server/test_serve.py",
    "tests/server/test_series.py",
    "tests/server/test_surroundings.py",
    "tests/server/test_workers.py",
    # Many matches.
    "tests/record/test_boundary.py",
    "tests/record/test_fleet.py",
    "tests/record/test_pause.py",
    "tests/record/test_truth.py",
    "tests/rollback/test_memory.py",
    "tests/rollback/test_session_machine.py",
    "tests/server/test_ingest_fuzz.py",
    "tests/sim/",
    # Whole games and commands, and measurements.
    "tests/adapters/test_conformance.py",
    "tests/adapters/test_constants.py",
    "tests/adapters/test_generated_envs.py",
    "tests/adapters/test_shelf_play.py",
    "tests/benchmarks/",
    "tests/games/test_conformance.py",
    "tests/games/test_overcooked.py",
    "tests/games/test_policies.py",
    "tests/rollgym/test_cli.py",
    "tests/rollgym/test_column_names.py",
    "tests/rollgym/test_compare_resaved.py",
    "tests/rollgym/test_odd_paths.py",
    "tests/rollgym/test_output.py",
    "tests/rollgym/test_playback.py",
    "tests/rollgym/test_simulated.py",
    "tests/rollgym/test_true.py",
    "tests/rollgym/test_verify_processes.py",
    "tests/server/test_refusals.py",
)

MUTATIONS = "/test_mutations.py"
"""Left out wherever they are: what notices a fault needs all of its examples."""

KEPT = (
    "tests/check/test_check.py::test_a_sound_environment_passes_everything",
    "tests/e2e/test_client_and_server.py::test_two_clients_play_and_the_server_verifies_every_episode",
    "tests/processes/test_child.py::test_messages_of_all_sizes_come_back_whole_and_in_order",
    "tests/sim/test_remote_peer.py",
    "tests/sim/test_pacing.py",
)
"""Of the above."""


def is_left_out(nodeid: str) -> bool:
    """Whether ``make quick`` leaves a test out."""
    left_out = nodeid.startswith(LEFT_OUT) or MUTATIONS in nodeid
    return left_out and not nodeid.startswith(KEPT)


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is left out."""
    out = [item for item in items if is_left_out(item.nodeid)]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if not is_left_out(item.nodeid)]
