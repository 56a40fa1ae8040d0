"""The training engine: schedule, objective, loop, state."""
