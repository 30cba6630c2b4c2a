"""Running workflows: the SDK that authors write against, replay, and the processor."""
