"""The parts of ``rollgym check``: see :mod:`rollgym.checking.safety`."""
