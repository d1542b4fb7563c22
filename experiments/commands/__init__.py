"""The commands, one module each: its settings and what it runs."""
