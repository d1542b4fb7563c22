"""Hostile archives: tapes and other .npz files whose headers lie, whose members are too large, wrong, doubled or damaged."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_inputs import Case
from fuzz_scenarios import VALUES, WHOLE

from echelongym.agents import load_policy
from echelongym.envs import Scenario, Tape, simulate

CATEGORIES = ("tape", "tape array", "disk")


def header(shape: tuple[int, ...], descr: str = "<f8", fortran: bool = False) -> bytes:
    """The header of an .npy member; nothing says that data of that size follow."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}"
    return raw_header(text)


def raw_header(text: str) -> bytes:
    """An .npy header of any text."""
    content = text.encode("latin1")
    content += b" " * (-(len(content) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(content) & 0xFFFF) + content


def members(path: Path) -> dict[str, bytes]:
    """Contents of an archive by member."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(path: Path, parts: Any) -> Path:
    """An archive of (member, content) pairs, names as often as they come."""
    pairs = parts.items() if isinstance(parts, dict) else parts
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, content in pairs:
                archive.writestr(name, content)
    return path


def npy(array: Any, allow_pickle: bool = False) -> bytes:
    """An array as the content of an .npy member."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), allow_pickle=allow_pickle)
    return stream.getvalue()


@cache
def _zeros(head: bytes, size: int) -> tuple[bytes, int]:
    """A header and zeros, deflated, and their checksum."""
    block = bytes(1 << 20)
    first, rest = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.compressobj(9, zlib.DEFLATED, -15)
    start = first.compress(head) + first.flush(zlib.Z_FULL_FLUSH)
    piece = rest.compress(block) + rest.flush(zlib.Z_FULL_FLUSH)  # refers to nothing before it, so it may be repeated
    crc = zlib.crc32(head)
    for _ in range(size >> 20):
        crc = zlib.crc32(block, crc)
    return start + piece * (size >> 20) + zlib.compressobj(9, zlib.DEFLATED, -15).flush(), crc


def big_archive(path: Path, member: str, head: bytes, size: int, rest: dict[str, bytes]) -> Path:
    """An archive in which one member inflates to a header and ``size`` zeros."""
    content, crc = _zeros(head, size)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, other in rest.items():
            archive.writestr(name, other)
        info = zipfile.ZipInfo(member)
        info.compress_type, info.file_size, info.compress_size = zipfile.ZIP_DEFLATED, len(head) + size, len(content)
        info.CRC, info.header_offset = crc, archive.fp.tell()
        archive.fp.write(info.FileHeader(zip64=True) + content)
        archive.filelist.append(info)
        archive.NameToInfo[member] = info
        archive.start_dir, archive._didModify = archive.fp.tell(), True  # type: ignore[attr-defined]
    return path


def archive_edits(sound: dict[str, bytes], big: str) -> Iterator[tuple[str, Callable[[Path], Any]]]:
    """Ways to damage any .npz of ours: (name, writer of the file). ``big``: a member of floats to lie about."""
    names = list(sound)
    first = names[0]

    def swapped(**changes: bytes) -> Callable[[Path], Any]:
        return lambda path: write_members(path, {**sound, **changes})

    whole = io.BytesIO()
    write_members(whole, sound)  # type: ignore[arg-type]
    content = whole.getvalue()
    for cut in (0, 1, 4, 30, len(content) // 3, len(content) // 2, len(content) - 30, len(content) - 1):
        yield f"cut at {cut} of {len(content)}", lambda path, cut=cut: path.write_bytes(content[:cut])
    rng = np.random.default_rng(5)
    for k in range(40):
        spoilt = bytearray(content)
        for place in rng.integers(0, len(content), 1 + k % 5):
            spoilt[place] ^= int(rng.integers(1, 256))
        yield f"{1 + k % 5} bytes changed ({k})", lambda path, spoilt=bytes(spoilt): path.write_bytes(spoilt)
    for shape in ((1 << 42,), (1 << 20, 1 << 20, 4), (10**30,), (-1,), (1 << 63,), (0, 1 << 62), (1 << 16,) * 8):
        yield f"header of shape {shape}", swapped(**{big: header(shape)})
    for descr in ("|O", "<f16", "<c16", "<M8[s]", "|V8", "<U8", "|S4", "nonsense", "<i8", "|b1", "<f2", "<U1000000000"):
        yield f"header of type {descr}", swapped(**{big: header((2, 2), descr) + bytes(64)})
    for text in ("", "{}", "5", "None", "[" * 3000, "{'descr': 5, 'fortran_order': 5, 'shape': 5}",
                 "{'descr': '<f8', 'fortran_order': False, 'shape': ('a',)}", "__import__('os').system('true')",
                 "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,)}", "\xff" * 50, "{'shape': (1,)}",
                 "{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}", "(" * 9000 + ")" * 9000):  # fmt: skip
        yield f"header {text[:25]!r}", swapped(**{big: raw_header(text) + bytes(64)})
    yield "no magic", swapped(**{big: b"NUMPY nothing"})
    yield "future version", swapped(**{big: b"\x93NUMPY\x09\x00" + bytes(100)})
    yield "header longer than the file", swapped(**{big: b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{"})
    yield "empty member", swapped(**{big: b""})
    yield "data missing", swapped(**{big: sound[big][:-8]})
    yield "data too many", swapped(**{big: sound[big] + bytes(800)})
    yield "pickled objects", swapped(**{big: npy(np.array([print, {}], dtype=object), allow_pickle=True)})
    yield "doubled member", lambda path: write_members(path, [*sound.items(), (big, sound[big])])
    yield "doubled member, another content", lambda path: write_members(path, [*sound.items(), (big, npy(np.zeros(3)))])
    yield "unknown member", swapped(**{"nope.npy": npy(np.zeros(3))})
    yield "member that is no array", swapped(**{"README.txt": b"hello"})
    yield "member above the folder", swapped(**{"../../x.npy": npy(np.zeros(3))})
    yield "control characters in a name", swapped(**{"a\x1b[31m.npy": npy(np.zeros(3))})
    yield "no members", lambda path: write_members(path, {})
    yield "without the first", lambda path: write_members(path, {n: c for n, c in sound.items() if n != first})
    crowd = io.BytesIO()
    write_members(crowd, [*sound.items(), *((f"n{k}.npy", b"") for k in range(20_000))])  # type: ignore[arg-type]
    yield "20,000 members", lambda path: path.write_bytes(crowd.getvalue())
    yield "an .npy", lambda path: path.write_bytes(npy(np.zeros(3)))
    yield "text", lambda path: path.write_text("hello")
    yield "pickle", lambda path: path.write_bytes(b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00K\x05.")
    size = 3 << 30
    yield "inflates to gigabytes", lambda path: big_archive(path, big, header((size // 8,)), size, {
        n: c for n, c in sound.items() if n != big})  # fmt: skip
    yield "inflates to gigabytes, unknown", lambda path: big_archive(path, "zzz.npy", header((size // 8,)), size, sound)
    yield "says a small size, is large", lambda path: _lying(path, big, sound)
    yield "encrypted", lambda path: _flagged(path, sound, 0x1)
    yield "unknown compression", lambda path: _method(path, sound)


def _lying(path: Path, member: str, sound: dict[str, bytes]) -> None:
    """The directory says 100 bytes where a gigabyte of zeros is deflated."""
    size = 1 << 30
    big_archive(path, member, header((size // 8,)), size, {n: c for n, c in sound.items() if n != member})
    content = bytearray(path.read_bytes())
    start = content.rfind(b"PK\x01\x02")
    content[start + 24 : start + 28] = struct.pack("<I", 100)
    path.write_bytes(bytes(content))


def _flagged(path: Path, sound: dict[str, bytes], flag: int) -> None:
    write_members(path, sound)
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(mark)
        content[start + place] |= flag
    path.write_bytes(bytes(content))


def _method(path: Path, sound: dict[str, bytes]) -> None:
    write_members(path, sound)
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = content.find(mark)
        content[start + place] = 77
    path.write_bytes(bytes(content))


def sound_tape(folder: Path) -> tuple[Scenario, dict[str, bytes]]:
    """A scenario, and the members of a tape of it in which every array is there."""
    scenario = Scenario.load("two_region").replace(horizon=12, warm_up=2)
    path = folder / "sound_tape.npz"
    tape = scenario.sample(3, 5, "test")
    tape.save(path)
    parts = members(path)
    for name in ("node_availability", "lane_availability", "lane_yield", "split", "features"):
        parts.setdefault(f"{name}.npy", npy(np.ascontiguousarray(getattr(tape, name))))
    return scenario, parts


def _use(scenario: Scenario, tape: Tape) -> None:
    simulate(scenario, load_policy("echelon_base_stock", scenario), tape.check(scenario))


def _tape_cases(folder: Path) -> Iterator[Case]:
    scenario, sound = sound_tape(folder)

    def attempt(write: Callable[[Path], Any]) -> Callable[[Path], None]:
        def run(place: Path) -> None:
            path = place / "tape.npz"
            write(path)
            _use(scenario, Tape.load(path))

        return run

    yield Case("tape", "sound", attempt(lambda path: write_members(path, sound)), "accepted")
    for name, write in archive_edits(sound, "demand.npy"):
        loose = "bytes changed" in name or name in ("data too many", "header of type <f2")
        yield Case("tape", name, attempt(write), "either" if loose else "refused")
    for member in sound:
        names = member[:-4] in ("products", "nodes", "lanes", "customers", "demand")
        parts = {n: c for n, c in sound.items() if n != member}
        yield Case("tape", f"without {member}", attempt(lambda path, parts=parts: write_members(path, parts)),
                   "refused" if names else "either")  # fmt: skip
    for name, value, _ in VALUES:
        yield Case("tape", f"path: {name}", lambda folder, value=value: Tape.load(value))
    yield Case("tape", "a folder", lambda folder: Tape.load(folder))
    yield Case("tape", "a device", attempt(lambda path: path.symlink_to("/dev/zero")))
    yield Case("tape", "a pipe", attempt(lambda path: os.mkfifo(path)))


def _array_cases(folder: Path) -> Iterator[Case]:
    for units in ("continuous", "integer"):
        if units == "continuous":
            scenario, sound = sound_tape(folder)
        else:
            scenario = Scenario.from_mapping({**WHOLE, "name": "whole"})
            path = folder / "sound_whole.npz"
            tape = scenario.sample(3, 5, "test")
            tape.save(path)
            sound = members(path)

        def attempt(change: dict[str, Any], scenario: Any = scenario, sound: Any = sound) -> Callable[[Path], None]:
            def run(place: Path) -> None:
                path = write_members(place / "tape.npz", {**sound, **{k: npy(v) for k, v in change.items()}})
                _use(scenario, Tape.load(path))

            return run

        for member, content in sound.items():
            array = np.lib.format.read_array(io.BytesIO(content))
            numbers = array.dtype.kind in "iuf"
            label = f"{units}: {member[:-4]}"
            if member in ("history.npy", "worlds.npy"):
                wrong = (-1, 1.5, np.nan, "x", [1, 2, 3, 4, 5], 10**9, True, [[1]], np.int64(2**62), [2**62] * 3, 1j)
                for value in wrong:
                    fine = member == "worlds.npy" and isinstance(value, list) and len(value) == 3
                    yield Case(
                        "tape array", f"{label} = {value}", attempt({member: value}), "either" if fine else "refused"
                    )
                continue
            if array.dtype.kind == "U" and not array.ndim:
                for value in (5, ["a"], "", "x" * 100_000, "a\x1b[31m", np.nan, True):
                    yield Case("tape array", f"{label} = {str(value)[:20]}", attempt({member: value}), "either")
                continue
            if array.dtype.kind == "U":
                for value in (array[::-1], array[:-1], [*array, "more"], [*array[:-1], "a\x1b[31m"], np.arange(len(array)), "x", [],
                              [list(array)], np.char.encode(array), [*array[:-1], "y" * 100_000], [""] * len(array)):  # fmt: skip
                    same = np.array_equal(np.asarray(value), array)
                    yield Case(
                        "tape array",
                        f"{label} = {str(value)[:30]}",
                        attempt({member: value}),
                        "either" if same else "refused",
                    )
                continue
            for dtype in (
                "bool",
                "complex128",
                "S4",
                "U4",
                "float16",
                "int8",
                "datetime64[s]",
                "timedelta64[s]",
                "float128",
            ):
                with np.errstate(all="ignore"):
                    try:
                        turned = array.astype(dtype)
                    except (TypeError, ValueError):
                        continue
                loose = dtype in ("float16", "int8", "float128")
                yield Case(
                    "tape array", f"{label} of {dtype}", attempt({member: turned}), "either" if loose else "refused"
                )
            for name, shaped in (("no axis", np.asarray(1.0)), ("one axis", array.ravel()), ("an axis more", array[..., None]),
                                 ("nothing", array[:0]), ("no worlds", array[:, :0]), ("a world less", array[:, :-1]),
                                 ("a period less", array[:-1]), ("an entity less", array[:, :, :-1]),
                                 ("turned", np.swapaxes(array, 0, 1)), ("an entity more", np.repeat(array, 2, axis=2))):  # fmt: skip
                none = array.shape[2] == 0 and name in ("an entity less", "an entity more")
                features = member == "features.npy"
                yield Case(
                    "tape array",
                    f"{label}: {name}",
                    attempt({member: shaped}),
                    "either" if none or features else "refused",
                )
            if not numbers or not array.size:
                continue
            for value in (np.nan, np.inf, -np.inf, -1.0, 1e308, 1e300, 0.5, 1e18, 2.0**62, -0.0, 5e-324):
                changed = array.astype(np.float64).copy()
                changed[(-1,) * changed.ndim] = value
                must = not np.isfinite(value) or (value < 0 and member != "forecast.npy") or value in (1e308, 1e300)
                yield Case(
                    "tape array",
                    f"{label}: a value of {value}",
                    attempt({member: changed}),
                    "refused" if must else "either",
                )
            for whole in (2**62, -(2**63)):
                changed = array.astype(np.int64).copy()
                changed[(-1,) * changed.ndim] = whole
                usual = member == "lead_time.npy" and whole < 0  # stands for the usual lead time
                yield Case("tape array", f"{label}: a whole value of {whole}", attempt({member: changed}),
                           "either" if usual or whole > 0 else "refused")  # fmt: skip


def _disk_cases() -> Iterator[Case]:
    """No space, no permission, no folder: one line, and nothing half written."""
    import errno
    import tempfile

    from fuzz_inputs import Nonsense

    from echelongym.envs.storage.files import write_text, write_yaml

    scenario = Scenario.load("lost_sales").replace(horizon=4, warm_up=0)
    writers: dict[str, Callable[[Path], Any]] = {
        "tape": lambda place: scenario.sample(2, 1, "test").save(place / "tape.npz"),
        "scenario": lambda place: scenario.save(place / "s.yaml"),
        "tables": lambda place: scenario.to_csv(place / "tables"),
        "text": lambda place: write_text("hello", place / "x.txt"),
        "YAML": lambda place: write_yaml({"a": 1}, place / "x.yaml"),
    }

    def full(write: Callable[[Path], Any], number: int) -> Callable[[Path], None]:
        def run(place: Path) -> None:
            def fdopen(*_: Any, **__: Any) -> Any:
                raise OSError(number, os.strerror(number))

            before, os.fdopen = os.fdopen, fdopen  # type: ignore[assignment]
            try:
                write(place)
            finally:
                os.fdopen = before
                left = [path for path in place.rglob("*") if path.is_file()]
                if left:
                    raise Nonsense(f"left {left[0].name} behind")

        return run

    def blocked(write: Callable[[Path], Any]) -> Callable[[Path], None]:
        def run(place: Path) -> None:
            (place / "file").write_text("in the way")
            write(place / "file")

        return run

    def no_temporary(write: Callable[[Path], Any]) -> Callable[[Path], None]:
        def run(place: Path) -> None:
            def mkstemp(*_: Any, **words: Any) -> Any:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(words.get("dir")))

            before, tempfile.mkstemp = tempfile.mkstemp, mkstemp  # type: ignore[assignment]
            try:
                write(place)
            finally:
                tempfile.mkstemp = before  # type: ignore[assignment]

        return run

    for name, write in writers.items():
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
            yield Case("disk", f"{name}: {os.strerror(number)}", full(write, number))
        yield Case("disk", f"{name}: a file where a folder is meant", blocked(write))
        yield Case("disk", f"{name}: a folder that may not be written to", no_temporary(write))
    for name, value, what in VALUES:
        if what not in ("text",):
            either = name in ("lone surrogate", "override of direction")  # a file may have such a name
            yield Case("disk", f"tape to {name}", lambda folder, value=value: writers_to(scenario, value, folder),
                       "either" if either else "refused")  # fmt: skip


def writers_to(scenario: Scenario, value: Any, folder: Path) -> None:
    """Save to a hostile path."""
    os.chdir(folder)
    scenario.sample(2, 1, "test").save(value)


def cases(folder: Path) -> list[Case]:
    """All of this module."""
    return [*_tape_cases(folder), *_array_cases(folder), *_disk_cases()]
