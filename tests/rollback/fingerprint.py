"""The whole content of the core's objects, so that a refused call can be shown to have changed nothing."""

from __future__ import annotations


def fingerprint(thing: object) -> object:
    """The whole content of the core's objects, for comparing before and after."""
    kind = type(thing)
    if kind.__module__.startswith("rollgym.client_sim.rollback"):
        names: dict[str, None] = {}
        for base in kind.__mro__:
            names.update(dict.fromkeys(getattr(base, "__slots__", ())))
        names.update(dict.fromkeys(getattr(thing, "__dict__", ())))
        return (kind.__name__, [(name, fingerprint(getattr(thing, name, None))) for name in sorted(names)])
    if isinstance(thing, dict):
        return [(repr(key), fingerprint(value)) for key, value in thing.items()]
    if isinstance(thing, list | tuple) and thing and not isinstance(thing[0], bytes | int):
        return [fingerprint(item) for item in thing]
    if kind.__module__.startswith("tests."):
        return kind.__name__
    return repr(thing)
