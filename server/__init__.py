"""The experiment server: lobby, matches, relay, uploads, verdicts, and what is kept of them."""
