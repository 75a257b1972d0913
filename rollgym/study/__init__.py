"""A study: several conditions of one experiment file, their order and seeds, and where it stands."""
