"""Programs on the worker pool: every block once, in order, from sleep, after fork, from two threads, to the end."""

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from luchina.compiler import jit
from luchina.compiler.kernel import Kernel
from luchina.runtime import executor, threads
from luchina.runtime import program as program_module
from luchina.runtime.buffers import allocate, as_numpy
from luchina.runtime.program import KernelCall, Program

# For each of its blocks: table[params[0]][block] += params[1], after `params[2]` turns of doing nothing.
COUNT = """
target triple = "{triple}"
define void @count(ptr %table, ptr %params, i64 %lo, i64 %hi, ptr %scratch) nounwind {{
entry:
  %which = load i64, ptr %params
  %at = getelementptr ptr, ptr %table, i64 %which
  %a = load ptr, ptr %at
  %p1 = getelementptr i64, ptr %params, i64 1
  %step = load i64, ptr %p1
  %p2 = getelementptr i64, ptr %params, i64 2
  %turns = load i64, ptr %p2
  br label %head
head:
  %i = phi i64 [ %lo, %entry ], [ %j, %store ]
  %more = icmp slt i64 %i, %hi
  br i1 %more, label %wait, label %end
wait:
  %t = phi i64 [ 0, %head ], [ %u, %wait ]
  %u = add i64 %t, 1
  store volatile i64 %u, ptr %scratch
  %again = icmp slt i64 %u, %turns
  br i1 %again, label %wait, label %store
store:
  %p = getelementptr i64, ptr %a, i64 %i
  %x = load i64, ptr %p
  %y = add i64 %x, %step
  store i64 %y, ptr %p
  %j = add i64 %i, 1
  br label %head
end:
  ret void
}}
"""

# Each block adds 1 to a word of the thread's scratch memory and reports that memory's address.
SCRATCH = """
target triple = "{triple}"
define void @where(ptr %table, ptr %params, i64 %lo, i64 %hi, ptr %scratch) nounwind {{
entry:
  %a = load ptr, ptr %table
  %address = ptrtoint ptr %scratch to i64
  br label %head
head:
  %i = phi i64 [ %lo, %entry ], [ %j, %body ]
  %more = icmp slt i64 %i, %hi
  br i1 %more, label %body, label %end
body:
  %p = getelementptr i64, ptr %a, i64 %i
  store i64 %address, ptr %p
  %last = getelementptr i8, ptr %scratch, i64 99992
  store i64 %i, ptr %last
  %j = add i64 %i, 1
  br label %head
end:
  ret void
}}
"""

MUCH = 1e9  # a cost that is always worth sharing


def address(text: str, name: str) -> int:
    return jit.load([Kernel(name, text, lambda t: text.format(triple=t.triple))])[0]


def count(blocks: int, entry: int = 0, step: int = 1, turns: int = 0, cost: float = MUCH) -> KernelCall:
    return KernelCall(address(COUNT, "count"), [entry, step, turns], blocks, 64, cost)


@pytest.fixture(params=[1, 2, 5], ids=lambda n: f"{n} threads")
def thread_count(request):
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield request.param
    threads.set_num_threads(before)


def zeros(n: int):
    block = allocate(8 * n)
    view = as_numpy(block, "int64", (n,))
    view[:] = 0
    return block, view


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 7, 64, 1000, 100_003])
def test_every_block_is_done_exactly_once(thread_count, blocks):
    block, view = zeros(blocks)
    Program([count(blocks)], 1).run([block.ptr])
    assert (view == 1).all()


def test_stress_of_many_short_calls(thread_count):
    block, view = zeros(257)
    program = Program([count(n, turns=t) for n in (1, 2, 3, 5, 16, 257) for t in (0, 3, 50)], 1)
    for _ in range(300):
        program.run([block.ptr])
    expected = np.zeros(257, dtype=np.int64)
    for n in (1, 2, 3, 5, 16, 257):
        expected[:n] += 3 * 300
    assert (view == expected).all()


def test_calls_run_in_order_with_a_barrier_between(thread_count):
    # a holds 1, then b gets a's place only if every block of the first call is done: b += 1 twice around.
    a, va = zeros(64)
    b, vb = zeros(64)
    program = Program([count(64, 0, 5, 2000), count(64, 1, 1), count(64, 0, -5, 0), count(64, 1, 1)], 2)
    for _ in range(20):
        program.run([a.ptr, b.ptr])
    assert (va == 0).all() and (vb == 40).all()


def test_scratch_is_private_aligned_and_large_enough(thread_count):
    block, view = zeros(5000)
    Program([KernelCall(address(SCRATCH, "where"), [], 5000, 100_000, MUCH)], 1).run([block.ptr])
    used = np.unique(view)
    assert 1 <= len(used) <= thread_count
    assert (used % 64 == 0).all()
    assert len(used) == 1 or np.diff(used).min() >= 100_000


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # blocks whose making was cut short
def test_an_interrupt_while_scratch_grows_leaves_no_address_of_freed_memory():
    class Interrupt(Exception):
        pass

    def raise_at(step, call):
        """Run ``call`` and raise at its step-th instruction; whether it was that long."""
        left = [step]

        def trace(frame, event, _):
            if "luchina" not in frame.f_code.co_filename:
                return None
            frame.f_trace_opcodes = True
            left[0] -= 1
            if left[0] == 0:
                raise Interrupt
            return trace

        sys.settrace(trace)
        try:
            call()
        except Interrupt:
            return True
        finally:
            sys.settrace(None)
        return False

    before, signals = threads.get_num_threads(), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    block, view = zeros(64)
    small = Program([KernelCall(address(SCRATCH, "where"), [], 64, 100_000, MUCH)], 1)
    large = Program([KernelCall(address(SCRATCH, "where"), [], 64, 1_000_000, MUCH)], 1)
    try:
        step, more = 1, True
        while more:
            threads.set_num_threads(2)
            threads.set_num_threads(1)
            small.run([block.ptr])
            more = raise_at(step, lambda: large.run([block.ptr]))
            for program, need in ((small, 100_000), (large, 1_000_000)):
                view[:] = 0
                program.run([block.ptr])
                pool = threads._pool
                start, stride = (ctypes.c_int64 * 2).from_address(pool.address + executor.SCRATCH)
                assert start == view.min() == pool.scratch.ptr and need <= stride <= pool.scratch.nbytes, step
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)  # raised where, in truth, they are blocked
            step += 1
        assert step > 150
    finally:
        threads.set_num_threads(before)


def test_both_threads_take_part_when_there_is_much_to_do():
    before = threads.get_num_threads()
    threads.set_num_threads(2)
    try:
        block, view = zeros(400)
        text = SCRATCH.replace(
            "body:\n",
            "body:\n  br label %wait\nwait:\n  %t = phi i64 [ 0, %body ], [ %u, %wait ]\n"
            "  %u = add i64 %t, 1\n  store volatile i64 %u, ptr %scratch\n"
            "  %again = icmp slt i64 %u, 100000\n  br i1 %again, label %wait, label %go\ngo:\n",
        )
        text = text.replace("[ %j, %body ]", "[ %j, %go ]").replace("@where", "@slow")
        program = Program([KernelCall(address(text, "slow"), [], 400, 100_000, MUCH)], 1)
        for _ in range(20):  # another process may hold the second core for a while
            program.run([block.ptr])
            if len(np.unique(view)) == 2:
                # The caller works from the front and the worker from the back, so that each finds its own again.
                assert view[0] == threads._pool.scratch.ptr and np.count_nonzero(np.diff(view)) == 1
                return
        pytest.fail("the worker never took a block")
    finally:
        threads.set_num_threads(before)


def test_workers_wake_from_sleep(thread_count):
    block, view = zeros(500)
    program = Program([count(500, turns=100)], 1)
    for pause in (0, 0.00004, 0.00006, 0.001, 0.02) * 10:
        time.sleep(pause)
        program.run([block.ptr])
    assert (view == 50).all()


def test_more_blocks_than_a_ticket_counts(thread_count):
    n = 3 * executor.MOST + 5
    block, view = zeros(n)
    program = Program([count(n)], 1)
    for runs in (1, 2):
        program.run([block.ptr])
        assert view.min() == view.max() == runs


def test_idle_workers_use_no_processor_time():
    block, _ = zeros(100)
    Program([count(100)], 1).run([block.ptr])
    time.sleep(0.02)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.05


def test_small_calls_stay_on_the_calling_thread():
    serial, shared, wake = (getattr(program_module.executor, name) for name in ("SERIAL", "SHARED", "WAKE"))

    def modes(*costs, blocks=100):
        return program_module.call_modes([KernelCall(0, [], blocks, 0, cost) for cost in costs])

    assert modes(10.0) == [serial]
    assert modes(1e9, blocks=1) == [serial]
    assert modes(6_000.0) == [shared]
    assert modes(1e6, 10.0) == [wake, serial]
    # Many middling calls are worth waking somebody for, the last few of them are not.
    assert modes(*[30_000.0] * 5) == [wake, wake, wake, shared, shared]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux's affinities")
def test_workers_keep_off_the_core_of_the_caller():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core only")
    result = run_script(
        """
        import os, time
        from pathlib import Path
        t.threads.set_num_threads(2)
        program.run([block.ptr])
        own = str(os.getpid())
        for core in sorted(os.sched_getaffinity(0)):
            os.sched_setaffinity(0, {core})  # of this thread only
            time.sleep(0.01)  # the worker falls asleep
            program.run([block.ptr])
            masks = [
                int(line.split()[1].replace(",", ""), 16)
                for task in Path("/proc/self/task").iterdir() if task.name != own
                for line in (task / "status").read_text().splitlines() if line.startswith("Cpus_allowed:")
            ]
            kept_off = [mask for mask in masks if not mask >> core & 1]  # numpy has threads too
            assert len(kept_off) == 1 and kept_off[0], (core, masks)
        print("kept off")
        """
    )
    assert (result.returncode, result.stdout.strip()) == (0, "kept off"), result.stderr


def test_the_number_of_threads_changes_between_runs():
    before = threads.get_num_threads()
    block, view = zeros(300)
    program = Program([count(300, turns=20)], 1)
    for number in (1, 4, 2, 3, 1, 2):
        threads.set_num_threads(number)
        assert threads.get_num_threads() == number
        program.run([block.ptr])
    threads.set_num_threads(before)
    assert (view == 6).all()
    with pytest.raises(RuntimeError, match="positive"):
        threads.set_num_threads(0)


def test_python_threads_take_turns(thread_count):
    blocks = [zeros(200) for _ in range(4)]
    shared = Program([count(200, turns=10), count(200, turns=0)], 1)

    def work(block):
        for _ in range(200):
            shared.run([block.ptr])

    runners = [threading.Thread(target=work, args=(block,)) for block, _ in blocks]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join(30)
        assert not runner.is_alive()
    assert all((view == 400).all() for _, view in blocks)


def test_profiling_gives_each_calls_time(thread_count):
    block, view = zeros(50)
    program = Program([count(50, turns=20_000), count(50)], 1)
    slow, fast = program.run_profiled([block.ptr])
    assert slow > 10 * fast > 0
    program.run([block.ptr])
    assert (view == 4).all()


def test_a_table_of_another_length_is_refused():
    for table in ([], [1, 2]):
        with pytest.raises(ValueError, match=f"table has 1 entries, not {len(table)}"):
            Program([count(1)], 1).run(table)


def test_a_signal_handler_may_run_programs(thread_count):
    block, view = zeros(100)
    program = Program([count(100, turns=200)], 1)
    handled = []

    def handle(*_):
        program.run([block.ptr])
        handled.append(1)

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
        runs = 0
        end = time.monotonic() + 20
        while len(handled) < 50 and time.monotonic() < end:
            program.run([block.ptr])
            runs += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(handled) >= 50
    assert (view == runs + len(handled)).all()


def test_no_calls():
    Program([], 0).run([])


def test_a_forked_child_runs_its_own_pool(thread_count):
    block, view = zeros(1000)
    program = Program([count(1000, turns=50)], 1)
    program.run([block.ptr])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(10)
            program.run([block.ptr])
            program.run([block.ptr])
            code = 0 if (view == 3).all() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    program.run([block.ptr])
    assert (view == 2).all()


def test_fork_while_another_thread_runs():
    block, _ = zeros(1000)
    program = Program([count(1000, turns=3000)], 1)
    runner = threading.Thread(target=lambda: [program.run([block.ptr]) for _ in range(50)])
    runner.start()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            program.run([block.ptr])
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    runner.join(30)
    assert not runner.is_alive()


SCRIPT = """
import sys; sys.path.insert(0, sys.argv[1])
import test_executor as t
block, view = t.zeros(1000)
program = t.Program([t.count(1000, turns={turns})], 1)
program.run([block.ptr])
"""


def run_script(end: str, turns: int = 100) -> subprocess.CompletedProcess:
    text = SCRIPT.format(turns=turns) + textwrap.dedent(end)
    command = [sys.executable, "-c", text, os.path.dirname(__file__)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "end",
    [
        "",
        "import time; time.sleep(0.01)",
        "sys.exit(0)",
        "import threading; threading.Thread(target=lambda: [program.run([block.ptr]) for _ in range(100)]).start()",
        "import threading, time\n"
        "threading.Thread(target=lambda: [program.run([block.ptr]) for _ in range(10**6)], daemon=True).start()\n"
        "time.sleep(0.02)",
    ],
    ids=["at once", "asleep", "exit", "running", "daemon running"],
)
def test_the_interpreter_ends_in_peace(end):
    result = run_script(end)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_interrupt_waits_for_the_run_and_leaves_things_whole():
    result = run_script(
        """
        import os, signal, threading, time
        view[:] = 0
        main = os.getpid()
        threading.Timer(0.3, lambda: os.kill(main, signal.SIGINT)).start()
        runs = 0
        try:
            start = time.time()
            while time.time() - start < 10:
                program.run([block.ptr])
                runs += 1
            print("no interrupt")
        except KeyboardInterrupt:
            done = int(view[0])
            assert (view == done).all() and runs <= done <= runs + 1, (done, runs)
            program.run([block.ptr])
            assert (view == done + 1).all()
            print("whole")
        """,
        turns=2000,
    )
    assert (result.returncode, result.stdout.strip()) == (0, "whole"), result.stderr
