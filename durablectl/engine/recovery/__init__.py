"""Taking over work from dead processors, and commands that JetStream delivered but no processor received."""
