"""The rollback core: pure, standard library only, time and randomness come in as arguments."""
