"""Tuning: the parameters of a rule fitted to a scenario, by gradients or by sampling."""
