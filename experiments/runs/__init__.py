"""Run folders: what a command leaves behind, whom they belong to, and what a result depends on."""
