"""Interactive sessions: a program on a terminal of its container."""
