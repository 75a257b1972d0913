"""The experiment file: what it gives, and what every mistake in it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollgym.client_sim.network_model import CONDITIONS, Link, NetworkConditions
from rollgym.config.file import ExperimentFile
from rollgym.config.problems import ConfigError
from rollgym.config.reading import find_config, load_config
from rollgym.config.shipped import builtin_configs
from rollgym.config.units import duration, share


def _load(tmp_path: Path, text: str) -> ExperimentFile:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    return load_config(path)


def _mistakes(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)
    return str(caught.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("path", builtin_configs().values(), ids=builtin_configs().keys())
def test_every_shipped_file_is_ready_to_run(path: Path) -> None:
    file = load_config(path)
    assert file.experiment.play.episodes >= 2
    seeds = [bot.seed for bot in file.bots]
    assert len(set(seeds)) == len(seeds) == 2
    assert file.server.port == 0


def test_the_default_experiment_is_what_the_documentation_promises() -> None:
    file = load_config(find_config(None))
    assert file.experiment.name == "pong"
    play = file.experiment.play
    assert (play.episodes, play.fps, play.input_delay, play.max_prediction) == (3, 60, 2, 8)
    assert file.network.link() == Link.both(NetworkConditions(latency=0.04, jitter=0.01, loss=0.02))
    assert [bot.policy for bot in file.bots] == ["tracker", "tracker"]


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    file = _load(tmp_path, "")
    assert file == ExperimentFile()
    game = file.experiment.game.make()
    assert [(bot.policy, bot.seed) for bot in file.all_bots(game.spec)] == [("tracker", 1), ("tracker", 2)]


def test_the_server_gets_the_experiment(tmp_path: Path) -> None:
    file = _load(tmp_path, "experiment: {name: mine}\nserver: {host: 0.0.0.0, port: 81}")
    settings = file.server_settings(exit_when_done=True)
    assert (settings.experiment.name, settings.host, settings.port) == ("mine", "0.0.0.0", 81)
    assert settings.exit_when_done


def test_a_network_is_a_name_or_numbers(tmp_path: Path) -> None:
    assert _load(tmp_path, "network: tcp_1").network.link() == CONDITIONS["tcp_1"]
    assert _load(tmp_path, "network: {name: terrible}").network.link() == CONDITIONS["terrible"]
    numbers = _load(tmp_path, "network: {latency: 50, jitter: 0.005s, burst_start: 1%, burst_length: 3}").network.link()
    assert numbers == Link.both(NetworkConditions(latency=0.05, jitter=0.005, burst_start=0.01, burst_length=3))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "experiment:\n  play:\n    fpz: 60",
            "/my.yaml:3: experiment.play.fpz: unknown key; did you mean fps? allowed: ",
        ),
        (
            "sever: {}",
            "/my.yaml:1: sever: unknown key; did you mean server? allowed: experiment, server, bots, network",
        ),
        ("bots:\n- polcy: idle", "/my.yaml:2: bots.0.polcy: unknown key; did you mean policy? allowed: policy, para"),
        (
            "experiment: {game: {id: kitchen, npcs: {chef: {polcy: idle}}}}",
            "/my.yaml:1: experiment.game.npcs.chef.polcy: unknown key; did you mean policy? allowed: policy, p",
        ),
        ("experiment:\n  play: {fps: 0}", "/my.yaml:2: experiment.play.fps: 0: input should be greater than 0"),
        ("experiment: {name: no}", "/my.yaml:1: experiment.name: False: input should be a valid string"),
        ("server: {port: 70000}", "/my.yaml:1: server.port: 70000: input should be less than or equal to 65535"),
        ("server: {experiment: {}}", "/my.yaml:1: server: experiment does not belong here"),
        ("experiment:\n  game: {id: pnog}", "/my.yaml:2: experiment.game: game = 'pnog': expected one of drift, pong"),
        ("experiment: {game: {parameters: {points: 0}}}", "pong.points = 0: expected an integer 1..99"),
        ("experiment: {game: {parameters: {point: 1}}}", "pong.point = 1: expected a parameter named points, "),
        ("network: nowhere", "/my.yaml:1: network: name: 'nowhere', expected one of local, lan, "),
        ("network: {name: lan, loss: 1%}", "/my.yaml:1: network: either name or numbers: got name 'lan' and loss"),
        ("network:\n  loss: 100%", "network: loss: 1.0, expected less than 100%: no packet would ever arrive"),
        ("network: {burst_start: 1, burst_length: 2}", "burst_start: 1.0, expected less than 100%: no packet would"),
        ("network:\n  loss: 2", "/my.yaml:2: network.loss: 2: expected a probability from 0 to 1, or 0% to 100%"),
        ("network: {latency: 0.05}", "network.latency: 0.05 would be less than a millisecond: write 0.05ms or 0.05s"),
        ("network: {latency: fast}", "network.latency: 'fast': expected a time such as 40ms or 0.04s"),
        ("network: {latency: -5ms}", "network: latency: -0.005, expected seconds, 0 or more"),
        ("network: {latency: .nan}", "network.latency: nan: expected a time such as"),
        ("bots: [{policy: smart}]", "/my.yaml:1: bots.0.policy: 'smart': expected one of random, random_hold"),
        ("bots:\n- {}\n- policy: tracker\n  parameters: {eror: 3}", "/my.yaml:3: bots.1: tracker.eror = 3: expected"),
        ("bots: [{}, {}, {}]", "/my.yaml:1: bots: 3 bots: expected at most 2, the players of pong"),
        ("bots: [{seed: -1}]", "bots.0.seed: -1: input should be greater than or equal to 0"),
        ("server: {port: 1}\nserver: {port: 2}", "/my.yaml:2: server: given twice, first in line 1"),
        ("network:\n  loss: 0\n  loss: 1", "/my.yaml:3: network.loss: given twice, first in line 2"),
        ("1: 2", "/my.yaml:1: key 1: expected text"),
        ('bots:\n- parameters: {a: ["caf\\udce9"]}', r"/my.yaml:2: 'caf\udce9': expected text that has UTF-8 bytes"),
        ("- a", "/my.yaml:1: ['a']: expected keys experiment, server, bots, network"),
        ("a: &x [*x]", "/my.yaml:1: an alias contains itself"),
        ("a: [", "/my.yaml:1: expected the node content"),
        ("a: 1\nb: 2\n c: 3", "/my.yaml:3: mapping values are not allowed here"),
        ("a: *b", "/my.yaml:1: found undefined alias"),
        ("a: \x00", "special characters are not allowed"),
        ("server: {ping_timeout: .inf}", "server.ping_timeout: inf: input should be"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_is_allowed(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in _mistakes(tmp_path, text)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = "experiment:\n  play:\n    fps: -1\n    episodes: none\nserver:\n  prot: 1\n"
    lines = _mistakes(tmp_path, text).splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["/my.yaml:4", "experiment.play.episodes"],
        ["/my.yaml:3", "experiment.play.fps"],
        ["/my.yaml:6", "server.prot"],
    ]


def test_files_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)
    (tmp_path / "x.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        load_config(tmp_path / "x.yaml")


def test_a_config_is_a_path_or_a_built_in_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("drift") == builtin_configs()["drift"]
    assert find_config("config/drift.yaml") == builtin_configs()["drift"]
    assert find_config("drift.yaml") == Path("drift.yaml")
    with pytest.raises(ConfigError, match="built-in config 'dirft' does not exist; expected one of: ci, drift"):
        find_config("dirft")


@pytest.mark.parametrize(
    ("value", "seconds"), [(40, 0.04), (1.5, 0.0015), ("40", 0.04), ("40ms", 0.04), ("0.04s", 0.04), ("2 s", 2), (0, 0)]
)
def test_durations(value: object, seconds: float) -> None:
    assert duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize(("value", "expected"), [(0.02, 0.02), ("2%", 0.02), ("0.5", 0.5), (1, 1), ("100%", 1), (0, 0)])
def test_shares(value: object, expected: float) -> None:
    assert share(value) == pytest.approx(expected)


@pytest.mark.parametrize("value", [True, None, [1], "", "x", "1h", "5e", "%"])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a time such as"):
        duration(value)
    with pytest.raises(ValueError, match="expected a probability such as"):
        share(value)
