"""Import path: the working folder is not on it, so that nothing that lies beside a command is executed.

A folder of scenarios may come from anywhere. Were it searched for modules, a ``dill.py`` or ``hydra_plugins/`` in it would
run with any command, as installed packages look for such modules by themselves. A policy given as ``module:attribute`` is
the one thing that is looked for there (:func:`echelongym.agents.loading.load_policy`).
"""

from __future__ import annotations

import os
import sys


def leave_working_folder() -> None:
    """Take the working folder off the path that modules are looked for on, here and in processes that are started."""
    here = os.path.realpath(os.getcwd())
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or ".") != here]
    os.environ["PYTHONSAFEPATH"] = "1"  # else a new interpreter begins its search in the working folder


def leave_local_settings() -> None:
    """Have Matplotlib take no settings from the working folder, which it would read, and partly evaluate, on import."""
    if not os.path.exists("matplotlibrc"):
        return
    here = os.getcwd()
    try:
        os.chdir(os.path.dirname(os.path.abspath(__file__)))
        import matplotlib  # noqa: F401 (settings are read now)
    except ImportError:
        pass  # whoever wants a picture is told
    finally:
        os.chdir(here)
