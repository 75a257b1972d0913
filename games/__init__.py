"""Deterministic games behind one contract, and the adapters that bring others in."""
