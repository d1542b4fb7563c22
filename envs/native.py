"""A recorded program as machine code (first version)."""
from __future__ import annotations
import ctypes
import numpy as np
from .native_build import CannotCompile, library
from .native_code import source
from .native_plan import plan


def accelerate(program, verbose=False):
    import time
    t0=time.perf_counter()
    p = plan(program)
    src = source(p)
    t1=time.perf_counter()
    lib = library(src.text, p.worlds is None)
    t2=time.perf_counter()
    if verbose: print(f"   gen {t1-t0:.3f} compile {t2-t1:.3f} lines {src.text.count(chr(10))} scratch {src.scratch} parts {len(p.parts)} worlds {p.worlds}")
    buf = np.empty(src.scratch + 64, np.uint8)
    base = -(-buf.ctypes.data // 64) * 64
    table = (ctypes.c_void_p * (len(src.tensors) + 1))(base, *(t.start for t in src.tensors))
    program.keep = (buf, table, lib, list(program.calls))
    names = iter(src.functions)
    calls = []
    for part in p.parts:
        if isinstance(part, list):
            fn = getattr(lib, next(names)); fn.argtypes = [ctypes.c_void_p]; fn.restype = None
            from functools import partial
            calls.append(partial(fn, ctypes.c_void_p(ctypes.addressof(table))))
        else:
            calls.append(part)
    program.calls = calls
    program.src = src
