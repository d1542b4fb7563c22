"""Learners of Stable-Baselines3: their models, training, checkpoints and saved policies."""
