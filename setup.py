"""Finds the packages: every folder with an ``__init__.py`` under the four source folders. All else is in pyproject.toml."""

from setuptools import find_packages, setup

FOLDERS = ("envs", "agents", "configs", "experiments")

found = [name for folder in FOLDERS for name in find_packages(include=[folder, f"{folder}.*"])]
setup(packages=["echelongym", *(f"echelongym.{name}" for name in found)])
