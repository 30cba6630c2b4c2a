"""What a handler awaits: steps, calls, sleeps, awakeables, signals, children, groups."""
