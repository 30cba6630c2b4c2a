"""The processor: takes commands, claims invocations, runs them, and stores the outcome."""
