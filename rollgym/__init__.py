"""Front door: the public API, the rollgym command and offline dataset tools."""
