"""The game contract, the built-in games and adapters to environments made elsewhere."""
