"""Messages, packets, episode schema and digests: what peers and server agree on."""
