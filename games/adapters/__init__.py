"""Environments that were not made for rollback, as games: one file for each family, one for native state."""
