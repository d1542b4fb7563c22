"""Settings shared by all tests: one thread, Ctrl-C heard, and property tests that draw the same examples every time."""

import os
import signal

import hypothesis
import torch

torch.set_num_threads(1)
# What a shell starts in the background ignores SIGINT, which tests of Ctrl-C send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# `ci` is the default; `HYPOTHESIS_PROFILE=explore` or `--hypothesis-profile=explore` looks further, with new examples
# every run. A test that sets its own max_examples keeps it.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("smoke", hypothesis.settings.get_profile("ci"), max_examples=10)
hypothesis.settings.register_profile(
    "explore", hypothesis.settings.get_profile("ci"), derandomize=False, max_examples=1_000
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
