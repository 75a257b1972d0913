"""Packets: every one comes back, and bytes that are none are refused with a reason and nothing else."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.protocol.packets import (
    BYE_REASONS,
    INPUT_OVERHEAD,
    MAX_PACKET,
    MAX_PLAYERS,
    Bye,
    End,
    EndAck,
    Forward,
    Hello,
    Input,
    Packet,
    PacketError,
    decode,
    encode,
    idle_bitmap,
    inputs_that_fit,
)

u32 = st.integers(0, 2**32 - 1)
frame = st.integers(-1, 2**31 - 1)


@st.composite
def inputs(draw: st.DrawFn) -> Input:
    players = draw(st.integers(0, MAX_PLAYERS))
    width = draw(st.integers(1, 40))
    count = draw(st.integers(0, min(60, (MAX_PACKET - INPUT_OVERHEAD - 5 * players - 8) // width)))
    blob = random.Random(draw(u32)).randbytes(count * width)
    return Input(
        episode=draw(u32),
        start=draw(u32),
        inputs=tuple(blob[i * width : (i + 1) * width] for i in range(count)),
        current=draw(st.integers(0, 2**31 - 1)),
        advantage=draw(st.integers(-(2**15), 2**15 - 1)),
        known=tuple(draw(st.lists(frame, min_size=players, max_size=players))),
        gone=tuple(draw(st.lists(st.booleans(), min_size=players, max_size=players))),
        sent=draw(u32),
        echo=draw(u32),
        echo_age=draw(st.integers(0, 2**16 - 1)),
        checksum_frame=draw(frame),
        checksum=draw(st.integers(0, 2**64 - 1)),
        sequence=draw(st.integers(0, 2**16 - 1)),
        loss=draw(st.integers(0, 255)),
        idle=idle_bitmap(draw(st.lists(st.booleans(), min_size=count, max_size=count))),
    )


@st.composite
def forwards(draw: st.DrawFn) -> Forward:
    width = draw(st.integers(1, 40))
    blob = random.Random(draw(u32)).randbytes(width * draw(st.integers(1, 25)))
    pieces = tuple(blob[at : at + width] for at in range(0, len(blob), width))
    idle = idle_bitmap(draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces))))
    return Forward(draw(u32), draw(st.integers(0, MAX_PLAYERS - 1)), draw(st.integers(0, 2**31 - 1)), pieces, idle)


packets: st.SearchStrategy[Packet] = st.one_of(
    inputs(),
    forwards(),
    st.builds(Hello, episode=u32, heard=st.booleans()),
    st.builds(End, episode=u32, frames=u32, digest=st.binary(min_size=32, max_size=32)),
    st.builds(EndAck, episode=u32, frames=u32),
    st.builds(Bye, episode=u32, reason=st.integers(0, len(BYE_REASONS) - 1)),
)


@given(packets)
def test_every_packet_comes_back(packet: Packet) -> None:
    data = encode(packet)
    assert len(data) <= MAX_PACKET
    back = decode(data)
    assert back == packet
    assert type(back) is type(packet)


@given(st.binary(max_size=MAX_PACKET + 8))
def test_arbitrary_bytes_give_a_packet_error_and_nothing_else(data: bytes) -> None:
    try:
        packet = decode(data)
    except PacketError as error:
        assert error.reason  # noqa: PT017 - either outcome is right
    else:
        assert encode(packet) == data


@given(packet=packets, data=st.data())
def test_damaged_packets_are_refused_or_are_packets(packet: Packet, data: st.DataObject) -> None:
    damaged = bytearray(encode(packet))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    for candidate in (bytes(damaged), cut, bytes(damaged) + b"\0"):
        try:
            found = decode(candidate)
        except PacketError as error:
            assert error.reason  # noqa: PT017 - either outcome is right
        else:
            assert encode(found) == candidate


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "packet of 0 bytes: at least 7"),
        (b"\0" * 1201, "packet of 1201 bytes: at most 1200"),
        (b"\0" + encode(Hello(1, True))[1:], "first byte 0x0: expected 0xb7"),
        (encode(Hello(1, True))[:1] + b"\x63" + encode(Hello(1, True))[2:], "packet version 99: expected 1"),
        (encode(Hello(1, True))[:2] + b"\x09" + encode(Hello(1, True))[3:], "packet type 9: expected 1..6"),
        (encode(Hello(1, True))[:-1] + b"\x02", "hello flag 2: expected 0 or 1"),
        (encode(Bye(1, 0))[:-1] + b"\xff", "bye reason 255: expected 0.."),
        (encode(EndAck(1, 5))[:-1], "end ack body of 3 bytes: expected 4"),
        (encode(End(1, 5, b"d" * 32)) + b"x", "end body of 37 bytes: expected 36"),
    ],
)
def test_the_reason_is_named(data: bytes, text: str) -> None:
    with pytest.raises(PacketError) as caught:
        decode(data)
    assert text in caught.value.reason


@given(packet=inputs(), width=st.integers(1, 1500))
def test_as_many_inputs_fit_as_it_says(packet: Input, width: int) -> None:
    players = len(packet.known)
    count = inputs_that_fit(players, width)
    space = MAX_PACKET - INPUT_OVERHEAD - 5 * players
    if space < 2 * width + 8:
        assert count >= 1  # too wide for a packet with more than one: the caller has to know
        return
    idle = idle_bitmap([True] * count)  # with the bitmap, which need not be there
    full = packet._replace(inputs=(b"x" * width,) * count, idle=idle)
    assert len(encode(full)) <= MAX_PACKET
    assert decode(encode(full)) == full
    assert (count + 2) * width + count // 8 > space * 0.9  # and not many fewer than would
