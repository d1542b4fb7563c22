"""Devices that JAX computes on: the CPU, whatever else the machine has, or a GPU where one was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from .errors import InputError, expected, naming_extras, unknown

DEVICES = ("cpu", "gpu")

_chosen: ContextVar[str] = ContextVar("device", default="cpu")


@contextmanager
def on_device(name: str) -> Iterator[None]:
    """Context in which programs under JAX are compiled for a device and run on it.

    Parameters
    ----------
    name
        ``cpu`` or ``gpu``.

    Raises
    ------
    InputError
        If it is neither, or JAX sees none.
    MissingExtra
        If JAX is not installed.
    """
    if check_device(name) != "cpu":  # which needs no JAX
        device_named(name)
    before = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(before)


def check_device(name: Any) -> str:
    """The name of a device, looked at before any work is done.

    Raises
    ------
    InputError
        If it is none of :data:`DEVICES`.
    """
    if not isinstance(name, str) or name not in DEVICES:
        raise unknown("device", name, DEVICES)
    return name


def device_named(name: str) -> Any:
    """The first device of JAX of a kind, ``cpu`` or ``gpu``.

    Raises
    ------
    InputError
        If there is none.
    MissingExtra
        If JAX is not installed.
    """
    check_device(name)
    with naming_extras():
        import jax
    try:
        return jax.devices(name)[0]
    except RuntimeError:
        seen = ", ".join(sorted({one.platform for one in jax.devices()}))
        raise expected(
            "device", name, f"one that JAX sees, which is {seen} alone (docs/devices.md: how to install JAX for a GPU)"
        ) from None


def _there(name: str) -> str:
    """The name of a device, which is looked for where a setting is read: before any work is done."""
    if name != "cpu":
        try:
            device_named(name)
        except InputError as error:
            raise ValueError(str(error).partition(": ")[2]) from None  # who reads the setting names it
    return name


#: A setting that names a device.
Device = Annotated[Literal["cpu", "gpu"], AfterValidator(_there)]


def chosen_name() -> str:
    """The name of the device that :func:`on_device` chose."""
    return _chosen.get()


def chosen_device() -> Any:
    """The device of JAX that :func:`on_device` chose: without it the CPU, also where JAX itself would take a GPU.

    Raises
    ------
    MissingExtra
        If JAX is not installed.
    """
    return device_named(_chosen.get())
