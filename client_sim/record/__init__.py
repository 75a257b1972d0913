"""The two buffers of a peer, speculative and canonical, and the episode recorder."""
