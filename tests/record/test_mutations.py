"""Each requirement's test notices when the code no longer keeps the requirement: one deliberate fault at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import rollgym.client_sim.peer.match_phases
import rollgym.client_sim.peer.unsent_inputs
import rollgym.client_sim.record.recorder
import rollgym.games.record.columns
from rollgym.client_sim.peer.episode import Episode
from rollgym.client_sim.peer.episode_end import EpisodeEnd
from rollgym.client_sim.peer.input_sender import InputSender
from rollgym.client_sim.peer.intake import Intake
from rollgym.client_sim.peer.match_phases import MatchPhases
from rollgym.client_sim.peer.pacing import Pacing
from rollgym.client_sim.peer.phase import PeerPhase
from rollgym.client_sim.record.buffers import CanonicalBuffer, SpeculativeBuffer
from rollgym.client_sim.record.recorder import EpisodeRecorder
from rollgym.client_sim.rollback.checksums import ChecksumBook
from rollgym.client_sim.rollback.errors import RollbackError
from rollgym.client_sim.rollback.session import Session, SessionProgress
from rollgym.client_sim.rollback.snapshots import SnapshotStore
from rollgym.client_sim.simulator.result import SimulationStuck
from rollgym.client_sim.simulator.scenario import Pause
from rollgym.games.frame_limit import FrameLimit
from rollgym.protocol.episode.column import ExportError
from rollgym.protocol.episode.values import pack_value
from rollgym.protocol.packets import End
from tests.record import test_boundary, test_departure, test_gate, test_pause, test_truth
from tests.record.match import LATENCY, Play, assert_played
from tests.record.probe import Probe

NOTICED = (AssertionError, pytest.fail.Exception, RollbackError, ExportError, SimulationStuck)
"""How a test, or the code's own guards, say that something is wrong. Anything else would be a broken mutation."""

Patch = pytest.MonkeyPatch


@dataclass
class Mutation:
    """A fault, and the test that must fail with it."""

    name: str
    apply: Callable[[Patch], None]
    victim: Callable[[], object]


def after(owner: Any, name: str, then: Callable[..., Any]) -> Callable[[Patch], None]:
    """Replace a method by ``then(original, self, *arguments)``."""

    def apply(patch: Patch) -> None:
        original = getattr(owner, name)
        patch.setattr(owner, name, lambda self, *args, **more: then(original, self, *args, **more))

    return apply


def put(owner: Any, name: str, value: Any) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(owner, name, value)


def nothing(*_: Any, **__: Any) -> None:
    """What a method that was left out does."""


# -- the faults ------------------------------------------------------------------------------------------------------


def skip_speculative(original: Any, self: Any, frame: int, inputs: Any, speculative: bool, *rest: Any) -> None:
    if not speculative:
        original(self, frame, inputs, speculative, *rest)


def promote_before_rolling_back(original: Any, self: Any) -> SessionProgress:
    due, self._first_incorrect = self._first_incorrect, None
    original(self)
    self._first_incorrect = due
    progress: SessionProgress = original(self)
    return progress


def append_without_looking(original: Any, self: Any, frame: int, row: Any, inputs: Any, *rest: Any) -> None:
    original(self, frame, row, row.inputs, *rest)


def promote_unseen(patch: Patch) -> None:
    """Promotion before the rollback, and without the buffer's own guard."""
    after(Session, "settle", promote_before_rolling_back)(patch)
    after(CanonicalBuffer, "append", append_without_looking)(patch)


def promote_guesses(session: Any) -> None:
    for frame in range(session.canonical, session.current):
        used = session._used[frame - session._used_base]
        session._recorder.promoted(frame, used, (0, 0), session._snapshots.get(frame + 1), 0)
        session.canonical = frame + 1


def settle_and_promote_guesses(original: Any, self: Any) -> SessionProgress:
    progress: SessionProgress = original(self)
    promote_guesses(self)
    return progress


def promote_tail_at_export(original: Any, self: Any, status: str, *rest: Any) -> Any:
    if status != "complete":
        promote_guesses(self.session)
    return original(self, status, *rest)


def build_with_guesses(original: Any, self: Any) -> Any:
    for row in self.speculative.rows():
        self.canonical._builder.append(row.inputs, (0, 0), row.outcome, self._game.observe(), 0)
    return original(self)


def fold_at_once(patch: Patch) -> None:
    put(rollgym.client_sim.record.recorder, "FOLD", 8)(patch)
    put(rollgym.client_sim.record.recorder, "STEPPED_AGAIN", 0)(patch)


def speculative_always(value: bool) -> Callable[..., None]:
    def simulated(original: Any, self: Any, frame: int, *rest: Any) -> None:
        original(self, frame, *rest)
        self.history[frame].speculative = value

    return simulated


def speculative_as_of_last(original: Any, self: Any, frame: int, inputs: Any, speculative: bool, *rest: Any) -> None:
    original(self, frame, inputs, speculative, *rest)
    self.history[frame].speculative = speculative


def forget_earlier_inputs(original: Any, self: Any, frame: int, *rest: Any) -> None:
    if frame < len(self.history):
        self.history[frame].inputs = None
    original(self, frame, *rest)


def clear_one_less(original: Any, self: Any, frame: int) -> None:
    original(self, frame + 1)


def clear_canonical_too(self: Any, frame: int) -> None:
    while self._rows and self.end > frame:
        self._rows.pop()
    self.first = min(self.first, frame)


def fast_forward_unrecorded(original: Any, self: Any, now: float, *rest: Any, **more: Any) -> None:
    recorder = self.session._recorder
    if getattr(self, "stepped_at", None) == now:
        self.session._recorder = None
    self.stepped_at = now
    original(self, now, *rest, **more)
    self.session._recorder = recorder


def discard_too_much(original: Any, self: Any, anchor: int) -> None:
    original(self, anchor + 4)


def silent_at_the_end(original: Any, self: Any, episode: Any, now: float) -> None:
    if not episode.ended:
        original(self, episode, now)


def shared_events(original: Any, self: Any, *rest: Any) -> None:
    original(self, *rest)
    self.rollbacks = _ALL_EVENTS.setdefault(self.player, [])


_ALL_EVENTS: dict[int, list[Any]] = {}


def share_events(patch: Patch) -> None:
    _ALL_EVENTS.clear()
    after(EpisodeRecorder, "__init__", shared_events)(patch)
    put(EpisodeRecorder, "clear", nothing)(patch)


def longer_rollbacks(original: Any, self: Any, event: Any) -> None:
    original(self, event._replace(at_frame=event.at_frame + 1))


def lose_events(original: Any, self: Any, event: Any) -> None:
    original(self, event)
    self.rollbacks.pop()


def player_0_is_nobody(original: Any, self: Any, event: Any) -> None:
    original(self, event._replace(player=event.player or 1))


def a_guessed_end_is_the_end(original: Any, self: Any) -> SessionProgress:
    progress: SessionProgress = original(self)
    return SessionProgress.OVER if progress is SessionProgress.TERMINAL else progress


def on_beyond_the_end(original: Any, self: Any) -> SessionProgress:
    progress: SessionProgress = original(self)
    if progress is SessionProgress.TERMINAL:
        return SessionProgress.READY if self._may_simulate() else SessionProgress.STALLED
    return progress


def any_episode(original: Any, self: Any, link: Any, packet: Any, *rest: Any) -> None:
    original(self, link, packet._replace(episode=self._number), *rest)


def ends_once(original: Any, self: Any, now: float) -> Any:
    sent = getattr(self, "sent", False)
    self.sent = True
    return [pair for pair in original(self, now) if not (sent and isinstance(pair[1], End))]


def patch_the_action_column(self: Any, target: int) -> None:
    for frame in range(target, min(self.confirmed + 1, self.current)):
        joint = tuple(queue.value(frame) for queue in self.queues)
        self._used[frame - self._used_base] = self._recorder.speculative.row(frame).inputs = joint
    self._first_incorrect = None


def first_thought(original: Any, self: Any, state: Any) -> bytes:
    thoughts = self.__dict__.setdefault("thoughts", {})
    action: bytes = thoughts.setdefault((self._seed, state.frame), original(self, state))
    return action


def infos_at_row_0(original: Any, self: Any, rows: int) -> Any:
    entries = [type(info)(0, info.agent, info.key, info.value) for info in original(self, rows)]
    return sorted({(info.agent, info.key): info for info in entries}.values(), key=lambda i: (i.agent, i.key))


def floats_for_integers(patch: Patch) -> None:
    original = pack_value
    patch.setattr(rollgym.games.record.columns, "pack_value", lambda v: original(float(v) if type(v) is int else v))


def a_counter_outside_the_state(self: Any, snapshot: Any) -> None:
    self.game.load(snapshot[1])


def refusals_that_leave_a_trace(original: Any, self: Any, *rest: Any) -> int:
    try:
        taken: int = original(self, *rest)
    except RollbackError:
        self.stats.mispredictions += 1
        raise
    return taken


def stop_without_a_look(self: Any, now: float) -> None:
    if self.phase is PeerPhase.PLAYING:
        self._handover.finish(self.episode, "aborted", now)
    self._leave("left", now)


def leave_without_export(original: Any, self: Any, episode: Any, now: float) -> None:
    if episode.complete:
        original(self, episode, now)
    else:
        self._leave("left", now)


def seen_everywhere(self: Any, frame: int, seen: Any, _final: Any) -> None:
    self._seen_wrong.append((frame, (seen,)))


def complete_whatever_happened(original: Any, self: Any, status: str, *rest: Any) -> Any:
    return original(self, "complete", *rest)


# -- who notices -----------------------------------------------------------------------------------------------------


def first_misprediction() -> None:
    test_gate.test_rec_02_a_misprediction_that_arrives_while_waiting_at_the_end_is_corrected_before_it_is_recorded()


def blocked() -> None:
    test_boundary.test_edge_02_last_inputs_blocked_beyond_the_time_out_are_kept_apart_and_never_canonical()


def speculative() -> None:
    test_truth.test_rec_04_was_speculative_is_exactly_the_frames_whose_inputs_came_late()


def events() -> None:
    test_truth.test_edge_03_rollback_events_agree_with_the_frames_they_simulated_again()


def pause() -> None:
    test_pause.test_edge_01_one_peer_pauses_and_its_partner_waits(1.0, LATENCY, 0)


def seen() -> None:
    test_truth.test_seen_is_what_the_policy_was_given_exactly_where_it_was_wrong()


def seen_dull() -> None:
    test_truth.test_seen_leaves_out_frames_whose_wrong_guess_made_no_difference()


def guessed_end() -> None:
    test_boundary.test_bound_01_a_guessed_end_is_taken_back_and_the_episode_goes_on()


def nothing_beyond() -> None:
    test_boundary.test_bound_01_nothing_is_simulated_beyond_a_frame_that_ends_the_episode()


def infos() -> None:
    test_truth.test_sparse_info_keys_stay_at_their_frame_and_keep_their_types()


def empty_after_export() -> None:
    test_boundary.test_rec_06_both_buffers_are_empty_after_each_export(Play(episodes=2, frames=50))


def ends_lost() -> None:
    tap = test_boundary.Drop(End, 1)
    assert_played(Play(episodes=2, frames=60, tap=tap, faults={"time_limit": 30.0})(), frames=60, complete=2)


def long_rollback() -> None:
    match = test_pause.paused(Play(window=200), Pause(1, 1.0, 1.5))
    assert_played(match, frames=180, complete=1)


recorded = EpisodeRecorder

MUTATIONS = [
    Mutation(
        "REC-01 guessed frames are not recorded",
        after(recorded, "simulated", skip_speculative),
        test_gate.test_rec_01_a_frame_is_in_the_speculative_buffer_as_soon_as_it_is_simulated,
    ),
    Mutation(
        "REC-02 promotion while a rollback is pending",
        after(Session, "settle", promote_before_rolling_back),
        first_misprediction,
    ),
    Mutation("REC-02 the same, with the buffer's guard gone", promote_unseen, first_misprediction),
    Mutation(
        "REC-02 guesses are promoted",
        after(Session, "settle", settle_and_promote_guesses),
        test_gate.test_rec_02_a_frame_is_canonical_when_the_last_missing_input_arrives_and_not_before,
    ),
    Mutation(
        "REC-02 guesses are promoted, seen in a match",
        after(Session, "settle", settle_and_promote_guesses),
        test_truth.test_rec_02_actions_are_the_senders_own_when_they_change_every_frame_under_delay,
    ),
    Mutation(
        "REC-02 the buffer takes a row with other inputs",
        after(CanonicalBuffer, "append", append_without_looking),
        test_gate.test_rec_02_the_canonical_buffer_itself_refuses_a_row_that_was_simulated_with_other_inputs,
    ),
    Mutation(
        "REC-03 the export reads speculative rows",
        after(recorded, "build", build_with_guesses),
        test_gate.test_rec_03_export_reads_the_canonical_buffer_only,
    ),
    Mutation("REC-04 always true", after(recorded, "simulated", speculative_always(True)), speculative),
    Mutation("REC-04 always false", after(recorded, "simulated", speculative_always(False)), speculative),
    Mutation("REC-04 of the last simulation", after(recorded, "simulated", speculative_as_of_last), speculative),
    Mutation(
        "mispredicted forgets predictions that were made anew",
        after(recorded, "simulated", forget_earlier_inputs),
        test_truth.test_mispredicted_counts_a_prediction_that_was_made_anew_before_its_input_arrived,
    ),
    Mutation(
        "steps on the way from a sparse snapshot are not counted",
        put(recorded, "repeated", nothing),
        test_truth.test_times_simulated_counts_every_step_of_a_frame_with_sparse_snapshots_too,
    ),
    Mutation(
        "history is final as soon as a frame is canonical",
        fold_at_once,
        test_truth.test_times_simulated_counts_every_step_of_a_frame_with_sparse_snapshots_too,
    ),
    Mutation(
        "REC-05 rows stay",
        put(SpeculativeBuffer, "clear_from", nothing),
        test_gate.test_rec_05_a_rollback_clears_everything_from_its_target_on,
    ),
    Mutation(
        "REC-05 one row stays",
        after(SpeculativeBuffer, "clear_from", clear_one_less),
        test_gate.test_rec_05_a_rollback_clears_everything_from_its_target_on,
    ),
    Mutation(
        "REC-05 canonical frames are taken back without a word",
        put(SpeculativeBuffer, "clear_from", clear_canonical_too),
        test_gate.test_rec_05_a_canonical_frame_at_or_above_the_target_is_reported_and_nothing_is_lost,
    ),
    Mutation(
        "REC-06 clearing does nothing",
        put(recorded, "clear", nothing),
        test_gate.test_rec_06_clearing_empties_both_buffers_and_leaves_what_was_exported,
    ),
    Mutation("REC-06 nobody clears", put(recorded, "clear", nothing), empty_after_export),
    Mutation("EDGE-01 frames of a batch are not recorded", after(Episode, "step", fast_forward_unrecorded), pause),
    Mutation("EDGE-01 nobody catches up", put(Pacing, "behind", lambda self, session: False), pause),
    Mutation(
        "EDGE-01 snapshots that a rollback needs are discarded",
        after(SnapshotStore, "discard", discard_too_much),
        long_rollback,
    ),
    Mutation(
        "EDGE-01 an own pause counts as the partner's silence",
        put(rollgym.client_sim.peer.match_phases, "AWAY_AFTER", 1e9),
        test_pause.test_edge_01_both_peers_pause_for_longer_than_the_time_out_at_once,
    ),
    Mutation(
        "EDGE-01 idle inputs pass for real ones",
        put(rollgym.client_sim.peer.unsent_inputs, "idle_bitmap", lambda flags: b""),
        lambda: test_pause.test_edge_01_the_partner_plays_on_and_missed_frames_are_idle_for_both(1.0, LATENCY),
    ),
    Mutation("EDGE-02 the tail is dropped", put(rollgym.client_sim.peer.episode, "make_tail", nothing), blocked),
    Mutation("EDGE-02 the tail is promoted", after(Episode, "export", promote_tail_at_export), blocked),
    Mutation("EDGE-02 the reason is not told", after(Episode, "export", complete_whatever_happened), blocked),
    Mutation(
        "EDGE-02 last inputs are sent only while playing",
        after(InputSender, "send", silent_at_the_end),
        test_boundary.test_edge_02_who_is_done_first_goes_on_sending_what_the_other_lacks,
    ),
    Mutation(
        "EDGE-02 a survivor exports nothing",
        after(MatchPhases, "_over", leave_without_export),
        lambda: test_departure.test_edge_02_the_confirmed_prefix_of_a_survivor_arrives_flagged(1, 0.2),
    ),
    Mutation(
        "EDGE-02 a stopped peer leaves inputs unread",
        put(MatchPhases, "stop", stop_without_a_look),
        test_boundary.test_edge_02_a_stopped_peer_exports_every_frame_whose_inputs_it_had,
    ),
    Mutation("EDGE-03 events are lost", after(recorded, "rolling_back", lose_events), events),
    Mutation("EDGE-03 events have another depth", after(recorded, "rolling_back", longer_rollbacks), events),
    Mutation("EDGE-03 events have the last frame's time", put(recorded, "clock", nothing), events),
    Mutation(
        "EDGE-03 events of one episode are in the next",
        share_events,
        test_truth.test_edge_03_events_of_one_episode_are_not_repeated_in_the_next_of_twenty,
    ),
    Mutation(
        "player 0 is nobody",
        after(recorded, "rolling_back", player_0_is_nobody),
        test_truth.test_player_0_is_a_player_and_ids_may_be_any_strings,
    ),
    Mutation("BOUND-01 a guessed end is the end", after(Session, "_progress", a_guessed_end_is_the_end), guessed_end),
    Mutation(
        "BOUND-01 play goes on beyond a guessed end", after(Session, "_progress", on_beyond_the_end), nothing_beyond
    ),
    Mutation(
        "BOUND-01 an end of any episode counts",
        after(Intake, "_on_end", any_episode),
        test_boundary.test_bound_01_late_end_packets_of_an_old_episode_do_not_touch_the_next,
    ),
    Mutation(
        "BOUND-01 inputs of any episode count",
        after(Intake, "_on_input", any_episode),
        test_boundary.test_bound_01_inputs_held_over_the_boundary_and_delayed_past_it_do_not_leak,
    ),
    Mutation("BOUND-01 an end is sent once", after(EpisodeEnd, "packets", ends_once), ends_lost),
    Mutation(
        "BOUND-01 the step counter is outside of the state",
        put(FrameLimit, "load", a_counter_outside_the_state),
        lambda: test_gate.test_two_cascading_rollbacks_then_a_frame_limit_give_exactly_that_many_rows(1),
    ),
    Mutation(
        "the same seed for every episode",
        put(rollgym.client_sim.peer.episode, "episode_seed", lambda match, episode: match),
        test_truth.test_episodes_of_a_match_differ_and_reproduce_from_the_match_seed,
    ),
    Mutation(
        "the action column is patched instead of simulating again",
        put(Session, "_roll_back", patch_the_action_column),
        test_truth.test_resimulating_the_recorded_actions_gives_the_recorded_rewards_infos_and_observations,
    ),
    Mutation(
        "NPC-01 a robot does again what it did in a mispredicted state",
        after(Probe, "_robot_acts", first_thought),
        lambda: test_truth.test_npc_01_a_robot_with_chance_and_memory_does_the_same_after_any_rollback("tcp_5", 1),
    ),
    Mutation("seen is never kept", put(recorded, "_compare_seen", nothing), seen),
    Mutation("seen is kept everywhere", put(recorded, "_compare_seen", seen_everywhere), seen_dull),
    Mutation(
        "infos move to row 0",
        after(rollgym.games.record.columns.CanonicalBuilder, "_entries_of", infos_at_row_0),
        infos,
    ),
    Mutation("1 becomes 1.0", floats_for_integers, infos),
    Mutation(
        "a refusal changes something",
        after(Session, "add_inputs", refusals_that_leave_a_trace),
        lambda: test_gate.test_what_is_refused_leaves_session_and_record_as_they_were("gap"),
    ),
    Mutation(
        "states are never compared",
        put(ChecksumBook, "compare", nothing),
        lambda: test_boundary.test_a_desync_stops_the_match_at_its_frame_and_both_exports_are_kept(1),
    ),
]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_fault_is_noticed(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation.apply(monkeypatch)
    with pytest.raises(NOTICED):
        mutation.victim()
