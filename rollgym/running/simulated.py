"""Matches in virtual time as a dataset: an experiment played without sockets, judged and stored by the server's code.

Everything follows from the plan: the same plan gives the same matches with the same ids, and the same files byte for
byte. A match that is there already is written over by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rollgym.checking.raised import described
from rollgym.client_sim.network_model import Link
from rollgym.client_sim.peer.prediction_rules import find_rule, rule_origin
from rollgym.client_sim.rollback.prediction.catalogue import DEFAULT
from rollgym.client_sim.simulator.result import SimulationResult
from rollgym.client_sim.simulator.scenario import Pause, Scenario
from rollgym.client_sim.simulator.simulator import EPOCH, Simulator
from rollgym.config.file import Bot
from rollgym.games.code_names import is_code_name
from rollgym.games.contract import Game, GameSpec
from rollgym.games.identity import identity
from rollgym.games.policies.catalogue import located, make_policy, policy_origin, policy_parameters
from rollgym.games.policy import Policy
from rollgym.protocol.episode.export import Export
from rollgym.protocol.files.parquet import EpisodeFileError
from rollgym.protocol.messages import PlaySettings
from rollgym.protocol.seeds import match_seed
from rollgym.server.record.episode_files import Job, UnusableError, server_software, write_files
from rollgym.server.record.finding import Finding, find
from rollgym.server.settings import Experiment
from rollgym.server.storage.folder import FolderStore
from rollgym.server.storage.keys import EpisodeKey
from rollgym.server.storage.rows import MatchRow, UploadRow

UNJUDGED = "unjudged"
"""In place of a verdict: the game raised something while the episode was played again."""
MISSING = "missing"
"""In place of a verdict: no player has anything of the episode."""


@dataclass(frozen=True)
class Plan:
    """What is played."""

    experiment: Experiment
    """With a seed."""
    settings: PlaySettings
    bots: Sequence[Bot]
    """One per player, nothing left open."""
    link: Link
    pauses: Sequence[Pause] = ()
    folder: Path = Path()
    """Where the bots' files are, if they are not named from the root."""
    prediction: str = DEFAULT
    """Every peer's rule for inputs that have not arrived."""

    def match_id(self, number: int) -> str:
        """The id of match ``number``: 12 bytes of BLAKE2b over all that it depends on, in the form of a server's."""
        text = json.dumps(
            [
                *("rollgym/simulated-match", number, self.experiment.digest(), msgspec.to_builtins(self.settings)),
                *([bot.model_dump(mode="json") for bot in self.bots], asdict(self.link)),
                [asdict(pause) for pause in self.pauses],
                *([] if self.prediction == DEFAULT else [self.prediction]),
            ],
            sort_keys=True,
        )
        return f"m{blake2b(text.encode(), digest_size=12).hexdigest()}"

    def row(self, number: int, spec: GameSpec) -> MatchRow:
        """Match ``number`` as a server's catalogue would have it."""
        experiment = self.experiment
        assert experiment.seed is not None
        return MatchRow(
            *(self.match_id(number), experiment.name, experiment.condition, experiment.digest()),
            *(match_seed(experiment.seed, number), identity(spec), self.settings),
            *(tuple(f"bot-{player}" for player in range(spec.players)), (server_software(),) * spec.players),
            created=EPOCH,
            number=number,
        )

    def game(self) -> Game:
        """A new instance. Raises whatever its constructor raises."""
        return self.experiment.game.make()

    def scenario(self, row: MatchRow) -> Scenario:
        """What the simulator plays of it."""
        bots = [self._bot(bot, row.number or 0) for bot in self.bots]
        return Scenario(
            settings=self.settings,
            game=self.game,
            policies=[self._maker(bot) for bot in bots],
            seed=row.seed,
            match=row.id,
            policy_infos=[self._policy_info(bot, row) for bot in bots],
            software=row.software[0],
            predictor=find_rule(self.prediction),
            link=self.link,
            pauses=self.pauses,
        )

    def _bot(self, bot: Bot, number: int) -> Bot:
        assert bot.seed is not None
        return bot if number == 0 else bot.model_copy(update={"seed": match_seed(bot.seed, number)})

    def _policy_info(self, bot: Bot, row: MatchRow) -> dict[str, Any]:
        assert bot.policy is not None
        network = {"forward": self.link.forward.describe(), "backward": self.link.backward.describe(), "seed": row.seed}
        origin = policy_origin(bot.policy, self._arguments(bot))
        named = is_code_name(bot.policy)
        parameters = bot.parameters if named else policy_parameters(bot.policy, bot.parameters)
        info = {"name": bot.policy, "parameters": parameters, "seed": bot.seed, **origin, "network": network}
        return info | rule_origin(self.prediction)

    def _maker(self, bot: Bot) -> Any:
        def build(game: Game, player: int) -> Policy:
            assert bot.policy is not None
            assert bot.seed is not None
            return make_policy(bot.policy, game.spec, player, bot.seed, **self._arguments(bot))

        return build

    def _arguments(self, bot: Bot) -> dict[str, Any]:
        assert bot.policy is not None
        return located(bot.policy, bot.parameters, self.folder)


class Played(NamedTuple):
    """A match that is over."""

    row: MatchRow
    result: SimulationResult

    def exports(self, episode: int) -> list[Export]:
        """What the players have of an episode, by player."""
        return [e for player in self.result.players for e in player.exports if e.header.episode == episode]

    def failures(self) -> list[str]:
        """What games and policies raised, each with its player and its place."""
        players = enumerate(self.result.players)
        return [f"player {n}: {described(player.failure)}" for n, player in players if player.failure is not None]


class Judged(NamedTuple):
    """What became of an episode."""

    match: str
    episode: int
    verdict: str
    """The server's word, :data:`UNJUDGED` or :data:`MISSING`."""
    detail: str
    frames: int
    """Canonical ones: the most that a player has."""
    exports: tuple[Export, ...]
    finding: Finding | None


def play(plan: Plan, number: int, spec: GameSpec) -> Played:
    """Play match ``number``.

    What games and policies raise while they play is in the result; what they raise when they are made is raised.
    Raises :class:`~rollgym.client_sim.simulator.result.SimulationStuck`.
    """
    row = plan.row(number, spec)
    return Played(row, Simulator(plan.scenario(row)).play())


def judge(plan: Plan, played: Played) -> Iterator[Judged]:
    """The server's word on each episode."""
    players = len(played.row.participants)
    for episode in range(plan.settings.episodes):
        exports = played.exports(episode)
        if not exports:
            yield Judged(played.row.id, episode, MISSING, "no player has anything of it", 0, (), None)
            continue
        frames = max(export.header.frames for export in exports)
        try:
            finding = _find(plan, exports, players)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the game may raise anything
            detail = f"the game raised {described(error)} while the episode was played again"
            yield Judged(played.row.id, episode, UNJUDGED, detail, frames, tuple(exports), None)
            continue
        yield Judged(played.row.id, episode, finding.verdict, finding.detail, frames, tuple(exports), finding)


def _find(plan: Plan, exports: list[Export], players: int) -> Finding:
    game = plan.game()
    try:
        return find(exports, players, game)
    finally:
        game.close()


def store(place: FolderStore, plan: Plan, played: Played, judged: Judged) -> list[Path]:
    """Write a judged episode as the server does, and give its files. ``place`` is open.

    Raises ``OSError`` if the disk refuses, and :class:`~rollgym.protocol.files.parquet.EpisodeFileError` for what has
    no place in a file.
    """
    over = EPOCH + played.result.seconds
    uploads = tuple(
        UploadRow(
            *(judged.match, judged.episode, export.own.player, b"", export.digest, 0),
            *(export.header.frames, export.header.status, over),
        )
        for export in judged.exports
    )
    assert judged.finding is not None
    folder = place.episode_folder(EpisodeKey(judged.match, judged.episode))
    job = Job(place, played.row, uploads, frozenset({plan.experiment.game.id}))
    try:
        names = write_files(job, list(judged.exports), judged.finding, over)
    except UnusableError as error:
        raise EpisodeFileError(folder / f"player_{error.player}.parquet", error.reason) from error
    return [folder / name for name in names]
