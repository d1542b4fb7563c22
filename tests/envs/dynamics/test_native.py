"""Native programs against NumPy's replay, to the last bit, over random functions and random networks."""

import warnings

import numpy as np
import pytest
import random_scenarios
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import needs_compiler
from random_programs import RandomFunction, assert_same, random_inputs

from echelongym.envs import CompilationWarning, Scenario, Tape
from echelongym.envs.compiler import c_compiler as native_build
from echelongym.envs.compiler import c_operations as native_terms
from echelongym.envs.compiler import native
from echelongym.envs.compiler import recorder as recording
from echelongym.envs.compiler import recording as recorded_memory
from echelongym.envs.compiler.recorder import Program, accelerate
from echelongym.envs.compiler.schedule import plan
from echelongym.envs.core.backend import NumpyOps
from echelongym.envs.dynamics import Dynamics, Exogenous, State
from echelongym.envs.dynamics.playback import Playback
from echelongym.envs.dynamics.rounding import counting
from echelongym.experiments.cli.terminal import warnings_as_lines

COMPILER = native_build.compiler() is not None


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nothing compiled before, and nothing of the user's touched."""
    monkeypatch.setenv("ECHELONGYM_CACHE", str(tmp_path))
    monkeypatch.setattr(native_build, "_libraries", {})
    monkeypatch.setattr(recording, "PATIENCE", np.inf)
    monkeypatch.setattr(recorded_memory, "LONG", 1)  # gaps, where they are wanted, between short rows, too
    monkeypatch.setattr(native_build, "_told", set())
    native_build._flags.cache_clear()
    return tmp_path / "native"


def test_random_functions():
    check_random_functions(10)


@pytest.mark.slow
def test_many_random_functions():
    check_random_functions(120)


def check_random_functions(examples):
    """Elementwise graphs, views, places looked up, sums, masks, casts; the batch in any place, or of one world."""

    @given(random_scenarios.seeds(), st.sampled_from([1, 2, 7, 8, 11, 16, 37, 64, 67, 96]), st.booleans())
    @settings(deadline=None, max_examples=examples)
    def agree(seed, batch, spaced):
        rng = np.random.default_rng(seed)
        inputs = random_inputs(rng, batch)
        programs = []
        for gaps in (spaced, False):
            ops = NumpyOps()
            programs.append(Program(RandomFunction(seed, ops, batch), inputs, ops, spaced=gaps))
        quick, plain = programs
        assert accelerate(quick) is COMPILER, quick.reason
        for _ in range(3):
            inputs = random_inputs(rng, batch)
            with np.errstate(all="ignore"):
                pairs = zip(quick(*inputs), plain(*inputs), strict=True)
            for number, (mine, theirs) in enumerate(pairs):
                assert_same(mine, theirs, f"result {number}, seed {seed}, batch {batch}")

    agree()


class Episode:
    """The period of a scenario, recorded, and what goes into it."""

    def __init__(self, mapping, tape, requests, reserve=None, dtype=np.float64, seed=0):
        self.scenario = Scenario.from_mapping(mapping) if isinstance(mapping, dict) else mapping
        self.rng = np.random.default_rng(seed)
        self.batch, self.requests, self.reserve = tape.batch, requests, reserve
        self.ops = counting(self.scenario.tables, NumpyOps(dtype))
        self.dynamics = Dynamics(self.scenario.tables, self.ops, vary_lead_times=True)
        self.world = Playback(self.scenario.tables, self.ops, tape.exogenous)
        asked = self.asked(0)
        self.state, _ = self.dynamics.advance(self.dynamics.initial(self.batch), self.world.exogenous(0), *asked)
        self.program = Program(
            self.period, [*asked, *self.state, *self.world.exogenous(1)], self.ops, spaced=seed % 2 == 1
        )

    def period(self, asked, kept, *rest):
        state, exogenous = State(*rest[:5]), Exogenous(*rest[5:])
        state, arrivals = self.dynamics.receive(state, exogenous)
        state, flows = self.dynamics.advance(state, exogenous, asked, kept, arrivals)
        return [*state, *flows]

    def asked(self, number):
        asked = self.requests[number][..., None] * self.rng.integers(0, 3, self.batch)
        kept = None if self.reserve is None else np.repeat(self.reserve[number][..., None], self.batch, -1)
        return asked, kept


@pytest.mark.parametrize("units", ["continuous", "integer"])
def test_random_networks(units):
    check_random_networks(units, 3, "small")


@pytest.mark.slow
@pytest.mark.parametrize("units", ["continuous", "integer"])
def test_many_random_networks(units):
    check_random_networks(units, 40, "any")


def check_random_networks(units, examples, size):
    """Periods of networks with all features; results are fed back as they come out, and read where they lie."""

    @given(random_scenarios.seeds(), st.sampled_from([1, 3, 16, 19, 67]), st.sampled_from([np.float64, np.float32]))
    @settings(deadline=None, max_examples=examples)
    def agree(seed, batch, dtype):
        rng = np.random.default_rng(seed)
        mapping, arrays, _, requests, reserve = random_scenarios.random_world(seed, units, size)
        worlds = [arrays, *(random_scenarios.random_tape(rng, mapping) for _ in range(batch - 1))]
        demand = {name: np.stack([one[name] for one in worlds], 1) for name in arrays}
        tape = Tape.from_demand(Scenario.from_mapping(mapping), **demand)
        episode = Episode(mapping, tape, requests, reserve, dtype, seed)
        assert accelerate(episode.program) is COMPILER, episode.program.reason
        state = fed = episode.state
        for number in range(1, 6):
            asked, exogenous = episode.asked(number), episode.world.exogenous(number)
            want = episode.period(*asked, *state, *exogenous)
            got = episode.program(*asked, *fed, *exogenous)
            for place, (mine, theirs) in enumerate(zip(got, want, strict=True)):
                assert_same(mine, theirs, f"result {place}, period {number}, seed {seed}, batch {batch}")
            state, fed = want[:5], got[:5]

    agree()


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("name", ["one_warehouse", "two_region"])
def test_nothing_of_a_period_stays_with_numpy(name, batch):
    scenario = Scenario.load(name)
    requests = np.ones((2, scenario.tables.L, scenario.tables.P))
    episode = Episode(scenario, scenario.sample(worlds=batch), requests)
    assert [type(part) for part in plan(episode.program).parts] == [list]


# One small program -----------------------------------------------------------------------------------


def small(batch=64, function=None):
    """x, y -> x + y, kept sum of x (own array), x."""
    held = np.zeros((3, batch))

    def default(x, y):
        np.add(held, x, out=held)
        return [np.maximum(x + y, 0.5) * y, held, x * 2]

    rng = np.random.default_rng(5)
    inputs = [rng.normal(size=(3, batch)), rng.normal(size=(3, batch))]
    return Program(function or default, inputs, NumpyOps()), inputs


@pytest.mark.parametrize("batch", [1, 64])
def test_compiling_changes_nothing_that_can_be_seen(batch):
    program, inputs = small(batch)
    before = [one.copy() for one in program.outputs]
    assert accelerate(program) is COMPILER
    for mine, theirs in zip(program.outputs, before, strict=True):
        assert_same(mine, theirs)
    program(*inputs)
    np.testing.assert_array_equal(program.outputs[1], before[1] + inputs[0])


@pytest.mark.parametrize("batch", [1, 64, 67])
def test_results_fed_back_in_any_order_are_read_before_they_are_overwritten(batch):
    def function(x, y):
        return [y + 1, x - y, x * y]

    quick, inputs = small(batch, function)
    plain, _ = small(batch, function)
    accelerate(quick)
    one, two = quick(*inputs), plain(*inputs)
    for places in [(0, 1), (1, 0), (2, 2), (1, 2), (0, 0)]:
        again = [two[place].copy() for place in places]
        one, two = quick(*(one[place] for place in places)), plain(*again)
        for mine, theirs in zip(one, two, strict=True):
            assert_same(mine, theirs)


def test_a_result_changed_by_the_caller_is_read_as_it_is():
    def function(x, y):
        return [x + y, y]

    program, inputs = small(32, function)
    accelerate(program)
    total = program(*inputs)[0]
    total[:] = 10
    np.testing.assert_array_equal(program(total, inputs[1])[0], 10 + inputs[1])


def test_sums_in_pairwise_order_and_transcendental_functions_stay_with_numpy():
    def function(x, y):
        return [np.add.reduce(x, axis=1), np.exp(x) + y]

    program, inputs = small(1000, function)
    stays = [part.func.__name__ for part in plan(program).parts if not isinstance(part, list)]
    assert stays == ["reduce", "__call__"]
    accelerate(program)
    total, other = program(*inputs)
    assert_same(total, inputs[0].sum(1))
    assert_same(other, np.exp(inputs[0]) + inputs[1])


@pytest.mark.parametrize("worlds", [5, 48])
def test_places_looked_up_anew_at_every_replay(worlds):
    """Along any axis of a constant table, numbers beyond it cut or counted from the end as NumPy does."""
    table, ops = np.random.default_rng(0).normal(size=(4, 9)), NumpyOps()

    def function(x, y):
        rows = recording.RecordedArray(table.reshape(-1), ops.program, None)
        # The index is nobody else's, so that its buffer is free for others as soon as it has been used.
        one = rows[np.maximum(x - y, 0) * 3 + y]
        two = (x % 9).columns_of(table)
        return [one + y, two * 2.0, recording.RecordedArray(table, ops.program, None)[:, -1 - x % 9] + 1.0]

    def expected(x, y):
        return [table.reshape(-1)[np.maximum(x - y, 0) * 3 + y] + y, table[:, x % 9] * 2.0, table[:, -1 - x % 9] + 1.0]

    rng = np.random.default_rng(1)
    inputs = [rng.integers(0, 9, worlds) for _ in range(2)]
    program = Program(function, inputs, ops)
    if COMPILER:
        assert all(isinstance(part, list) for part in plan(program).parts)
    for _ in range(3):
        for mine, theirs in zip(program(*inputs), expected(*inputs), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        inputs = [rng.integers(0, 9, worlds) for _ in range(2)]
        accelerate(program)


@pytest.mark.parametrize("quick", [False, True])
def test_an_input_has_one_type(quick):
    """Converted without a word, 2.5 units would become 2."""
    x = np.arange(64)
    program = Program(lambda x: [x + 1], [x], NumpyOps())
    if quick:
        accelerate(program)
    for other in (x + 0.5, x > 3, x.astype(np.int32), [1] * 64):
        with pytest.raises(TypeError, match=r"^inputs\[0\] = an array of \w+: expected an array of int64"):
            program(other)
    np.testing.assert_array_equal(program(x)[0], x + 1)


@needs_compiler
@pytest.mark.parametrize("worlds", [5, 48])
def test_repeated_in_one_call_over_rows_that_move_on(worlds):
    rng, ops = np.random.default_rng(2), NumpyOps()
    given, made, total = rng.normal(size=(11, 3, worlds)), np.zeros((11, 3, worlds)), np.zeros((3, worlds))
    row = np.zeros((3, worlds))

    def function(x):
        np.add(total, x, out=total)
        recording.RecordedArray(row, ops.program, None)[...] = x * 2.0
        return []

    program = Program(function, [given[0]], ops)
    accelerate(program)
    total[...] = 0
    slots = program.native.slots([program.inputs[0], row])
    program.native.repeat(
        11, slots, np.array([one.ctypes.data for one in (given, made)]), np.array([given.strides[0], made.strides[0]])
    )
    np.testing.assert_array_equal(made, given * 2.0)
    np.testing.assert_array_equal(total, np.add.accumulate(given, 0)[-1])


def test_division_of_whole_numbers_rounds_down_and_survives_zero():
    numbers = np.array([-(2**63), -7, -6, -1, 0, 1, 6, 7, 2**63 - 1])
    one, two = (one.copy() for one in np.meshgrid(numbers, numbers))

    def function(x, y):
        return [x // y, x % y, x // -3, x % 5]

    with np.errstate(all="ignore"):
        program = Program(function, [one, two], NumpyOps())
        assert accelerate(program) is COMPILER, program.reason
        for mine, theirs in zip(program(one, two), function(one, two), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_compiled_once_it_was_used_long_enough(monkeypatch):
    program, inputs = small()
    program(*inputs)
    assert program.native is None
    monkeypatch.setattr(recording, "PATIENCE", 0.0)
    program(*inputs)
    assert (program.native is not None) is COMPILER


@pytest.mark.parametrize("worlds", [200, 256, 1000, 1024, 2048])
@pytest.mark.parametrize("kind", ["f8", "f4", "u1"])
def test_long_rows_are_an_odd_number_of_cache_lines_apart(monkeypatch, worlds, kind):
    """So that rows which follow one another lie at different places of any cache, and none is longer for nothing."""
    monkeypatch.setattr(recorded_memory, "LONG", 1024)
    given = np.zeros((3, 4, worlds), kind)
    program = Program(lambda x: [x + x], [given], NumpyOps(), spaced=True)
    for array in (*program.inputs, *program.outputs):
        pitch, row = array.strides[-2], worlds * array.itemsize
        if row < 1024:
            assert pitch == row
        else:
            assert array.ctypes.data % 64 == 0
            assert pitch % 128 == 64
            assert row <= pitch <= row + 128
        assert array.strides[0] == 4 * pitch
    assert all(one.flags.c_contiguous for one in Program(lambda x: [x + x], [given], NumpyOps()).outputs)


@needs_compiler
def test_what_is_in_the_cache_is_taken_sooner(monkeypatch):
    monkeypatch.setattr(recording, "LOOK", 0.0)
    monkeypatch.setattr(recording, "PATIENCE", 1e9)
    first, inputs = small()
    first(*inputs)
    assert first.native is None, "nothing is in the cache, and to compile takes longer use"
    assert accelerate(first)
    second, inputs = small()
    numpy = second(*inputs)[2].copy()
    assert second.native is not None
    assert_same(second(*inputs)[2], numpy)


# Without a compiler, and with a cache --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"CC": "/nonexistent/cc"}, "no C compiler: /nonexistent/cc not found"),
        ({"CC": "", "PATH": ""}, "no C compiler: cc, gcc, clang not found"),
        ({"CC": "false"}, "fails"),
        ({"ECHELONGYM_NATIVE": "0"}, "ECHELONGYM_NATIVE=0"),
    ],
)
def test_without_a_compiler_numpy_goes_on(variables, reason, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    program, inputs = small()
    calls = program.calls
    assert not accelerate(program)
    assert reason in program.reason
    assert program.native is None
    assert program.calls is calls
    assert_same(program(*inputs)[2], inputs[0] * 2)


def test_what_does_not_agree_with_numpy_is_not_used(monkeypatch):
    monkeypatch.setitem(native_terms._TERMS["f"], "add", "({0} + {1} * (1 + 0x1p-52))")
    program, inputs = small()
    held = program.outputs[1].copy()
    if COMPILER:
        with pytest.warns(CompilationWarning, match="not agree"):
            accelerate(program)
    assert not accelerate(program)
    assert_same(program(*inputs)[1], held + inputs[0])


@needs_compiler
@pytest.mark.parametrize("fault", ["python", "source"])
def test_a_fault_that_only_makes_it_slower_is_warned_of_once(fault, monkeypatch):
    """Its own exceptions, and source that no compiler takes; what is no fault is not (see above)."""
    if fault == "python":
        monkeypatch.setattr(native, "plan", lambda program: {}["no such key"])
    else:
        monkeypatch.setitem(native_terms._TERMS["f"], "add", "({0} plus {1})")
    program, inputs = small()
    with pytest.warns(CompilationWarning, match="compiled code is not used") as caught:
        assert not accelerate(program)
    assert len(caught) == 1
    assert ("KeyError: 'no such key'" if fault == "python" else "fails: ") in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not accelerate(program)
    assert_same(program(*inputs)[2], inputs[0] * 2)


@needs_compiler
def test_these_tests_fail_where_such_a_fault_is_met(monkeypatch):
    monkeypatch.setattr(native, "plan", lambda program: {}["no such key"])
    with pytest.raises(CompilationWarning):
        accelerate(small()[0])


def test_such_a_fault_is_one_line_of_a_command(capsys):
    with warnings_as_lines():
        for _ in range(2):
            native_build.reason_of(KeyError("x\ny"), ())
    assert capsys.readouterr().err == (
        "echelongym: warning: compiled code is not used, so this takes longer (results are the same): KeyError: 'x\\ny'\n"
    )


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("recorded", [None, 2.0])
def test_an_input_is_none_at_every_replay_or_at_none(recorded, quick):
    """What was decided by it when the function was recorded would stay so without a word."""

    def function(x, y):
        return [x + 1.0 if y is None else x + y]

    x, y = np.arange(64.0), None if recorded is None else np.full(64, recorded)
    program = Program(function, [x, y], NumpyOps())
    if quick:
        accelerate(program)
    np.testing.assert_array_equal(program(x, y)[0], x + (recorded or 1.0))
    other, words = np.ones(64), "an array of float64: expected None"
    if y is not None:
        other, words = None, "None: expected an array of float64"
    with pytest.raises(TypeError, match=rf"^inputs\[1\] = {words}, as it was when the function was recorded$"):
        program(x, other)
    np.testing.assert_array_equal(program(x, y)[0], x + (recorded or 1.0))


def compiled(monkeypatch, batch=64):
    """Compile the small program as a new process would: how often the compiler ran."""
    runs = []
    compiling = native_build._compiled
    monkeypatch.setattr(native_build, "_libraries", {})
    monkeypatch.setattr(native_build, "_compiled", lambda *args: runs.append(1) or compiling(*args))
    program, inputs = small(batch)
    accelerate(program)
    monkeypatch.setattr(native_build, "_compiled", compiling)
    assert (program.native is not None) is COMPILER
    assert_same(program(*inputs)[2], inputs[0] * 2)
    return len(runs)


def test_the_cache_spares_the_compiler(monkeypatch, own_cache):
    if COMPILER:
        assert [compiled(monkeypatch) for _ in range(3)] == [1, 0, 0]
        assert [path.suffix for path in own_cache.iterdir()] == [".so"]
        assert [compiled(monkeypatch, 32) for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("damage", ["truncated", "empty", "other"])
def test_a_damaged_file_in_the_cache_is_made_anew(damage, monkeypatch, own_cache):
    if COMPILER:
        assert compiled(monkeypatch) == 1
        (path,) = own_cache.iterdir()
        whole = path.read_bytes()
        path.unlink()  # this process has it loaded
        path.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "other": whole + b"\0"}[damage])
        assert compiled(monkeypatch) == 1
        (path,) = own_cache.iterdir()
        assert path.read_bytes() == whole
        assert compiled(monkeypatch) == 0


def test_a_cache_that_others_can_write_into_is_not_trusted(monkeypatch, own_cache):
    own_cache.mkdir(parents=True)
    own_cache.chmod(0o777)
    if COMPILER:
        assert [compiled(monkeypatch) for _ in range(2)] == [1, 1]
    assert list(own_cache.iterdir()) == []


@needs_compiler
@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_whole_numbers_are_divided_as_numpy_does(kind):
    """All signs and sizes, quotients that just are or just are not whole, and what overflows."""
    rng, info = np.random.default_rng(0), np.iinfo(kind)
    steps = [sign * 2**k + d for k in range(info.bits) for sign in (1, -1) for d in (-2, -1, 0, 1, 2, 511, -513)]
    edges = np.array([one for one in steps if info.min <= one <= info.max], dtype=kind)
    sizes = [rng.integers(info.min, info.max, 200_000, dtype=kind) for _ in range(3)]
    sizes = [one >> rng.integers(0, info.bits - 1, one.size).astype(kind) for one in sizes]
    near = sizes[0] * sizes[1] + rng.integers(-2, 3, sizes[0].size).astype(kind)
    first = np.concatenate([np.repeat(edges, edges.size), sizes[0], near])
    second = np.concatenate([np.tile(edges, edges.size), sizes[2], sizes[1]])
    whole = first.size // 64 * 64
    first, second = first[:whole].reshape(-1, 64), second[:whole].reshape(-1, 64)
    with np.errstate(all="ignore"):
        program = Program(lambda a, b: [a // b, a % b], [first, second], NumpyOps())
        assert accelerate(program), program.reason
        quotient, rest = program(first, second)
        np.testing.assert_array_equal(quotient, first // second)
        np.testing.assert_array_equal(rest, first % second)
