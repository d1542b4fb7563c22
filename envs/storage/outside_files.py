"""Files from outside: kind and size are checked before anything is read or allocated.

A path is a path, a file is a regular one (a device or a pipe would never end), a text has an end, JSON is JSON of limited
depth, and an ``.npz`` is an archive of arrays of numbers or text whose headers fit what the archive holds.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import InputError, expected, printable, shorten
from ..core.memory_limits import require_memory
from ..core.typing import NumpyArray

MOST_JSON = 200_000_000  # bytes
MOST_MEMBERS = 10_000
SMALL = 1 << 28  # bytes that an archive may hold however well it was compressed
MOST_TIMES = 100  # what it holds beyond that, as a multiple of its file
_LONGEST_HEADER = 10_000
_LONGEST_PART = 255
_LONGEST_PATH = 4_096
_NUMBERS = re.compile(r"[<>=|]?([biuf][1248]|f16|U[0-9]{1,9})")


def as_path(value: Any, field: str) -> Path:
    """A path from a text or path-like object.

    Raises
    ------
    InputError
        If it is none: another type, empty, with a NUL in it, or longer than any file system takes.
    """
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise expected(field, value, "a path")
    text = os.fspath(value)
    try:
        long = len(os.fsencode(text)) > _LONGEST_PATH or any(
            len(os.fsencode(part)) > _LONGEST_PART for part in Path(text).parts
        )
    except ValueError:  # a surrogate that no file name has
        raise expected(field, text, "a path") from None
    if not text.strip() or "\0" in text or long:
        raise expected(field, text, f"a path, its parts of at most {_LONGEST_PART} bytes")
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~ of somebody who is not known here
        raise expected(field, text, "a path; there is no home of that name") from None


def regular_file(value: Any, field: str, most: float = math.inf, kind: str = "a file") -> Path:
    """The path of a file that exists, is none of a device, pipe or folder, and holds at most ``most`` bytes.

    Raises
    ------
    InputError
        If it is not.
    """
    path = as_path(value, field)
    try:
        found = path.stat()
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise expected(field, str(path), f"the path of {kind} that exists") from None
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        other = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or a pipe"
        raise expected(field, str(path), f"the path of {kind}, this is {other}")
    if found.st_size > most:
        raise InputError(f"{path}: {found.st_size:,} bytes: expected at most {int(most):,}")
    return path


def read_content(value: Any, field: str, most: int = MOST_JSON) -> bytes:
    """The bytes of a regular file.

    Raises
    ------
    InputError
        If it cannot be read or holds more than ``most``.
    """
    path = regular_file(value, field, most)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def read_json(value: Any, field: str) -> Any:
    """The content of a JSON file.

    Raises
    ------
    InputError
        If it cannot be read, or as :func:`parse_json`.
    """
    content = read_content(value, field)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{value}: byte {error.start}: expected JSON, which is text in UTF-8") from None
    return parse_json(text, str(value))


def parse_json(text: str, where: str) -> Any:
    """Plain data from JSON.

    Raises
    ------
    InputError
        If the text is none, is nested too deep, or holds a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise InputError(f"{where}: expected JSON that is nested less deep") from None
    except ValueError as error:
        words = str(error).partition(";")[0]
        raise InputError(f"{where}: is no JSON, or a damaged one: {shorten(words)}") from None


@dataclass(frozen=True)
class Header:
    """Header of an array in an archive."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool = False
    length: int = 0  # bytes of the header itself

    @property
    def bytes(self) -> int:
        """Size of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npz(
    value: Any, field: str, check: Callable[[Mapping[str, Header]], None] | None = None
) -> dict[str, NumpyArray]:
    """The arrays of an ``.npz`` by name; numbers, booleans and text only, nothing pickled is ever loaded.

    Parameters
    ----------
    value, field
        The path, and what errors call it.
    check
        Is given all headers, and refuses what does not fit before any array is allocated.

    Raises
    ------
    InputError
        If the file does not exist, is no archive, is truncated or damaged, holds a name twice, something that is no
        array, a header that does not fit its data, objects, or more than a file of its size should.
    """
    path = regular_file(value, field, kind="an .npz file" if field == "tape" else "a file")
    try:
        _check_start(path)
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path)
            headers = {name: _header(archive, member, f"{path}: {name}") for name, member in members.items()}
            if check is not None:
                check(headers)
            return {name: _data(archive, members[name], one, f"{path}: {name}") for name, one in headers.items()}
    except InputError as error:
        if field != "policy":
            raise
        raise InputError(
            f"{path}: is no policy file, or a damaged one: {str(error).removeprefix(f'{path}: ')}"
        ) from None
    except MemoryError:
        raise InputError(f"{path}: holds more than there is memory for") from None
    except (OSError, EOFError, LookupError, ValueError, RuntimeError, TypeError, struct.error, zlib.error,
            zipfile.BadZipFile, OverflowError) as error:  # fmt: skip
        kind = "no policy file, or a damaged one" if field == "policy" else "truncated, damaged or no .npz file"
        raise InputError(f"{path}: is {kind}: {shorten(str(error))}") from None


def _check_start(path: Path) -> None:
    """Refuse what begins as something that people take for an archive of arrays."""
    with path.open("rb") as stream:
        start = stream.read(6)
    if start == b"\x93NUMPY":
        raise InputError(f"{path}: expected an .npz file of several arrays, this is a single one")
    if start[:1] == b"\x80":
        raise InputError(f"{path}: holds pickled objects, which are never loaded")


def check_members(archive: zipfile.ZipFile, where: str) -> list[zipfile.ZipInfo]:
    """The members of a zip file that can be read: not too many, none twice, none encrypted, of no impossible size.

    Raises
    ------
    InputError
        Naming the member.
    """
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise InputError(f"{where}: {len(members):,} members: expected at most {MOST_MEMBERS:,}")
    seen = set()
    for one in members:
        name = printable(one.filename)
        if one.filename in seen:
            raise InputError(f"{where}: {shorten(name)}: expected only once")
        seen.add(one.filename)
        if one.flag_bits & 0x1:
            raise InputError(f"{where}: {shorten(name)}: is encrypted: expected none that is")
        if one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{where}: {shorten(name)}: expected it stored or deflated, as NumPy writes")
    total = sum(one.file_size for one in members)
    size = sum(one.compress_size for one in members)
    if total > SMALL and total > MOST_TIMES * size:
        raise InputError(
            f"{where}: {size:,} bytes that inflate to {total:,}: expected less than {MOST_TIMES} times the file"
        )
    require_memory(total, f"{where}: its contents", "a file of fewer or smaller arrays")
    return members


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Members by the name of their array."""
    found = {}
    for one in check_members(archive, str(path)):
        if not one.filename.endswith(".npy"):
            name = one.filename if one.filename.isidentifier() else shorten(one.filename)
            raise InputError(f"{path}: {name}: expected an array (.npy)")
        found[one.filename.removesuffix(".npy")] = one
    return found


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> Header:
    """The header of a member, checked against the member's size."""
    with archive.open(member) as stream:
        start = stream.read(8)
        if len(start) < 8 or start[:6] != b"\x93NUMPY" or start[6] not in (1, 2, 3):
            raise InputError(f"{where}: expected an array as NumPy writes it")
        wide = start[6] > 1
        size = stream.read(4 if wide else 2)
        length = int.from_bytes(size, "little")
        if length > _LONGEST_HEADER:
            raise InputError(f"{where}: header of {length:,} bytes: expected at most {_LONGEST_HEADER:,}")
        text = stream.read(length)
    header = _parsed(text, where, 8 + len(size) + length)
    if header.length + header.bytes != member.file_size:
        hint = f"the {member.file_size - header.length:,} bytes that follow"
        raise InputError(
            f"{where}: its header says {header.shape} of {header.dtype}, {header.bytes:,} bytes: expected {hint}"
        )
    return header


def _parsed(text: bytes, where: str, length: int) -> Header:
    """What a header says."""
    try:
        said = ast.literal_eval(text.decode("latin1").strip())
        shape, descr, fortran = said["shape"], said["descr"], said["fortran_order"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise InputError(f"{where}: expected a header with shape, descr and fortran_order") from None
    if not isinstance(descr, str):
        raise InputError(f"{where}: dtype {shorten(descr)}: expected numbers or text")
    if descr.lstrip("<>|=") == "O":
        raise InputError(f"{where}: holds pickled objects, which are never loaded")
    if not _NUMBERS.fullmatch(descr):
        raise InputError(f"{where}: dtype {shorten(descr)}: expected whole or real numbers, or text")
    whole = isinstance(shape, tuple) and all(type(size) is int and 0 <= size < 1 << 48 for size in shape)
    if not whole or len(shape) > 16 or not isinstance(fortran, bool):
        raise InputError(f"{where}: shape {shorten(shape)}: expected whole numbers >= 0")
    try:
        dtype = np.dtype(descr)
    except TypeError:
        raise InputError(f"{where}: dtype {shorten(descr)}: expected numbers or text") from None
    return Header(shape, dtype, fortran, length)


def _data(archive: zipfile.ZipFile, member: zipfile.ZipInfo, header: Header, where: str) -> NumpyArray:
    """The array of a member, whose checksum is verified as it is read to its end."""
    with archive.open(member) as stream:
        stream.read(header.length)
        content = bytearray(stream.read(header.bytes))
        rest = stream.read(1)
    if len(content) != header.bytes or rest:
        raise InputError(f"{where}: {len(content):,} bytes: expected {header.bytes:,}, as its header says")
    if not header.dtype.itemsize:
        array = np.zeros(header.shape, header.dtype)
    else:
        array = np.frombuffer(content, header.dtype).reshape(header.shape, order="F" if header.fortran_order else "C")
    if header.dtype.kind == "U":
        order = np.uint32 if header.dtype.isnative else np.dtype(np.uint32).newbyteorder()
        if (np.frombuffer(content, order) > 0x10FFFF).any():  # an error of NumPy's later
            raise InputError(f"{where}: expected text, this is no Unicode")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def text_of(arrays: Mapping[str, NumpyArray], name: str, where: str) -> str:
    """The text that an array of an archive holds.

    Raises
    ------
    InputError
        If there is none of that name, or it is no single text.
    """
    array = arrays.get(name)
    if array is None or array.ndim or array.dtype.kind != "U":
        raise InputError(f"{where}: {name}: expected this array, a text")
    return str(array)
