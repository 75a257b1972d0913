"""The peer: rollback core, recorder, wire peer, transports, bots and simulator."""
