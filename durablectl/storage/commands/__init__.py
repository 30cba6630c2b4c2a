"""The COMMANDS stream: publishing, pulling, timers, notifications."""
