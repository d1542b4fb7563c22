"""Rollout of a policy over a tape as one compiled program: a period is recorded once and run in parts of the batch."""
