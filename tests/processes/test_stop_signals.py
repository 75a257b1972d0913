"""Signals that ask a command to end set an event, and the process goes on."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from rollgym.processes.stop_signals import stop_on_signals
from tests.patience import PATIENCE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_each_of_them_sets_the_event_and_its_handler_goes_with_the_context(number: signal.Signals) -> None:
    stop = asyncio.Event()
    with stop_on_signals(stop):
        os.kill(os.getpid(), number)
        async with asyncio.timeout(PATIENCE):
            await stop.wait()
    assert not asyncio.get_running_loop().remove_signal_handler(number)


async def test_a_process_that_ignores_sighup_goes_on_doing_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup starts it
    stop = asyncio.Event()
    try:
        with stop_on_signals(stop):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                await stop.wait()
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
