"""What doctor reads: server, streams, missing wake-ups, and the index compared with the states."""
