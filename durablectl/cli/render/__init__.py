"""Pure rendering: a view in, rich renderables or plain lines out. Nothing here reads a clock or a terminal."""
