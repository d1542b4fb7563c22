"""The commands: one module each, all writing one run folder."""
