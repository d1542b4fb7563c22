"""Compiled gradients: a period of a policy and its derivative as C."""
