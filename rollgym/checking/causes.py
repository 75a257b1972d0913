"""From a difference to where it comes from, as far as experiments have shown it."""

from __future__ import annotations

from collections.abc import Sequence

from rollgym.checking.elsewhere import Parted
from rollgym.checking.instances import Met
from rollgym.checking.surroundings import places

PUT_IN = "keep it in attributes of the environment"


def at(kind: str, found: Sequence[str] | None = None) -> str:
    """Where that was seen, in brackets."""
    seen = places(kind) if found is None else found
    return f" (at {', '.join(seen)})" if seen else ""


def clock(found: Sequence[str] | None = None) -> str:
    return f"it reads the clock{at('clock', found)}: count frames instead, a rolled-back frame is simulated later"


def luck(draws: Sequence[str]) -> str:
    return (
        f"it draws from the global generator of {' and '.join(draws) or 'random or numpy.random'}, which all of the "
        "process shares and no snapshot contains: draw from self.np_random"
    )


def entropy(found: Sequence[str] | None = None) -> str:
    return (
        f"it draws random numbers that no seed of the episode decides, such as a generator without a seed, os.urandom, "
        f"secrets, uuid4{at('entropy', found)}: draw from self.np_random"
    )


def outside(names: Sequence[str], what: str = "changed while it played") -> str:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    shown = shown or "variables of its modules and classes"
    return f"state outside of the environment, which no snapshot contains: {shown} {what}; {PUT_IN}"


def native(environment: str, pickled: bool, copy_holds: bool) -> str:
    """What is wrong with an environment's own way to save."""
    text = f"get_state() and set_state() of {environment} do not carry the whole state"
    if pickled:
        text += (
            "; it is a gymnasium.utils.EzPickle, whose copies (copy.deepcopy, pickle) are fresh environments made by "
            "the constructor"
        )
    return f"{text}. adapter={{snapshot: copy}} was tried as well, and {'holds' if copy_holds else 'does not hold'}"


def several(tried: Sequence[str], changed: Sequence[str]) -> str:
    """It takes more than one of them."""
    names = f" (changed while it played: {', '.join(changed[:3])})" if changed else ""
    return (
        f"more than one thing that no snapshot contains, of {', '.join(tried)}{names}: with all of them saved and "
        "loaded beside the state the difference goes away, with each by itself it stays"
    )


def unknown(tried: Sequence[str], replay_holds: bool | None) -> str:
    """What is left when every experiment failed."""
    text = (
        f"not found out. It is none of {', '.join(tried)}: each was saved and loaded beside the state, and the "
        "difference stayed. What no snapshot can contain is memory of a C library, a file, another program"
    )
    if replay_holds is not None:
        text += f". adapter={{snapshot: replay}} was tried as well, and {'holds' if replay_holds else 'does not hold'}"
    return text


def repetition(changed: Sequence[str], put_back_helps: bool, new_repeats: tuple[bool, bool] | None) -> str:
    """Why reset and the same actions do not give the same again. Nothing else was tried."""
    if put_back_helps:
        return outside(changed, "changed while it played, and reset() does not put it back")
    if new_repeats is None:
        text = "something outlives reset(), or decides without a seed"
    else:
        as_here, alike = new_repeats
        if as_here:
            text = "a new process gives what was given at first, this one does not any more: something outlives reset()"
        elif alike:
            text = (
                "two new processes agree with each other, but not with what was given at first: what was played before "
                "matters, or what it left behind, such as a file"
            )
        else:
            text = (
                "not even two new processes agree, though the clock, random numbers and PYTHONHASHSEED were the same "
                "in both: something that nobody can seed"
            )
    return f"{text}. All the rest builds on repetition and was not tried"


def meeting(met: Met) -> str:
    """What two instances have in common."""
    if met.found.part == "the second instance":
        return "a process needs room for more than one: the simulator has several"
    if not met.alone:
        return (
            "a second instance in the same process plays otherwise than the first one, even while that one stands still"
        )
    if met.changed:
        return f"they share state: {', '.join(met.changed[:3])} changed meanwhile; {PUT_IN}"
    return f"they share state, as alone each plays right; {PUT_IN}"


_PROCESS = {
    "hash_seed": (
        "it depends on PYTHONHASHSEED: it goes through a set of texts (or hashes them), in an order that every process "
        "makes anew; sort it, or use a list or a dict"
    ),
    "machine": "it depends on the name of the machine or of the user, the number of a network card or the time zone",
}


def processes(parted: Parted, draws: Sequence[str]) -> str:
    """What of their surroundings makes processes differ: each was changed by itself."""
    if parted.alike_differ:
        own = f"; the process asks for its number{at('process', parted.places.get('process'))}" * bool(
            parted.places.get("process")
        )
        return (
            "two new processes differ although PYTHONHASHSEED, the clock, random numbers and the machine's name were "
            f"the same in both: an address or id() of an object, the number of the process, a C library{own}"
        )
    texts = {
        **_PROCESS,
        "clock": clock(parted.places.get("clock")),
        "luck": luck(draws),
        "entropy": entropy(parted.places.get("entropy")),
    }
    # A clock is read in some time zone.
    reasons = [reason for reason in parted.reasons if reason != "machine" or "clock" not in parted.reasons]
    found = [texts[reason] for reason in reasons]
    if found:
        return "; ".join(found)
    if parted.first_differs:
        return (
            "new processes agree with each other, but not with the one that played first: what was played before "
            "matters, or what it left behind, such as a file"
        )
    return "no one thing of the surroundings makes the difference by itself"
