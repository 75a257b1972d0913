"""The experiment server: lobby, matches, data relay, ingest, store and admin."""
