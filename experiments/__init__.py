"""The commands: one module each, all writing one run folder."""

import sys as _sys

if _sys.argv[:1] == [
    "-m"
]:  # `python -m echelongym.experiments...`, which puts the working folder first, is finding its module
    from .import_path import leave_working_folder as _leave

    _leave()
