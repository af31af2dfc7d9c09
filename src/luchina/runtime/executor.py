"""The native side of running a program: hand out blocks, work, wait. Written once as LLVM IR.

One 64-bit *ticket* says everything about the call in progress: its number (24 bits), and where the run of shares that
nobody has taken yet ends and begins (20 bits each). Whoever wants work shortens that run by compare-and-swap; since the
number is part of the compared word, a thread that slept through millions of calls still takes no share of the wrong
one. A share is a block, or several if a call has more than a million. The calling thread takes part too and needs
nobody's help, so a worker that is late, asleep or gone costs time at most.

The caller takes from the front and workers from the back. So a thread mostly finds in its cache what it wrote there in
the call before: with all from the front, who came first decided, and a training step took a third longer whenever the
two happened to take turns.

A worker that finds nothing spins for ``SPIN_NANOSECONDS``, after a while offering its core to others, then waits on a
condition variable.

Before it wakes workers, the calling thread forbids them the core that it runs on itself. Otherwise the system may start
a worker there, behind a caller that never pauses, while another core idles: Linux does so in virtual machines, where a
halted core does not look idle to it.
"""

from __future__ import annotations

import functools

from luchina.compiler.kernel import Kernel, kernel_name
from luchina.compiler.target import Target, host

EAGER_NANOSECONDS = 20_000
SPIN_NANOSECONDS = 400_000  # as long as Python takes to record what runs next; to wake a sleeper costs 10 µs or more

# The pool's shared memory; what different threads write lies 128 bytes apart.
TICKET = 0
DONE = 128  # shares that are finished
CALL = 256  # the call in progress: function, params, table, blocks, blocks in a share
SCRATCH = 320  # address and bytes a thread; written only while nothing runs
SHARE = 336  # a taker gets (shares left) >> SHARE of them, at least one
PROFILE = 344
SLEEPERS = 384
STOP = 448
FRONT_BITS = 20  # of a ticket, and as many for the back above them
MOST = (1 << FRONT_BITS) - 1  # shares of a call
ROUNDING = MOST - 1
NEXT = 1 << 2 * FRONT_BITS  # added to a ticket: the next call's number
JOINED = 512  # hands out the workers' numbers
MUTEX = 640
CONDITION = 768
ALLOWED = 832  # bit mask of the cores that the process may use
ALLOWED_BYTES = 128
KEEP_OFF = 960  # whether to keep workers off the caller's core, the core they are kept off, how many they are
HANDLES = 1024  # of the workers

# One entry of a program's list of calls, in bytes.
CALL_FUNCTION, CALL_PARAMS, CALL_BLOCKS, CALL_MODE, CALL_NANOSECONDS = 0, 8, 16, 24, 32
CALL_BYTES = 64

# How a call is run.
SERIAL = 0
SHARED = 1  # with the workers that happen to be awake
WAKE = 2  # worth waking the others

_PAUSE = {"x86_64": "llvm.x86.sse2.pause()", "aarch64": "llvm.aarch64.hint(i32 1)"}

_TEXT = """
declare void @llvm.PAUSE_DECLARATION
declare i32 @clock_gettime(i32, ptr)
declare i32 @sched_yield()
declare i64 @llvm.umin.i64(i64, i64)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)

define internal i64 @now() nounwind {
  %time = alloca { i64, i64 }
  %_ = call i32 @clock_gettime(i32 $CLOCK, ptr %time)
  %seconds = load i64, ptr %time
  %at = getelementptr i8, ptr %time, i64 8
  %rest = load i64, ptr %at
  %scaled = mul i64 %seconds, 1000000000
  %sum = add i64 %scaled, %rest
  ret i64 %sum
}

; Where the shares that nobody has taken begin and end.
define internal { i64, i64 } @range(i64 %ticket) alwaysinline nounwind {
  %lo = and i64 %ticket, $MOST
  %high = lshr i64 %ticket, $FRONT_BITS
  %hi = and i64 %high, $MOST
  %a = insertvalue { i64, i64 } poison, i64 %lo, 0
  %b = insertvalue { i64, i64 } %a, i64 %hi, 1
  ret { i64, i64 } %b
}

define internal i1 @none_left(i64 %ticket) alwaysinline nounwind {
  %range = call { i64, i64 } @range(i64 %ticket)
  %lo = extractvalue { i64, i64 } %range, 0
  %hi = extractvalue { i64, i64 } %range, 1
  %none = icmp eq i64 %lo, %hi
  ret i1 %none
}

; Take shares of the call in progress and do them, until none is left to take.
define internal void @work(ptr %pool, i64 %thread) nounwind {
entry:
  %share.at = getelementptr i8, ptr %pool, i64 $SHARE
  %done.at = getelementptr i8, ptr %pool, i64 $DONE
  %caller = icmp eq i64 %thread, 0
  br label %look
look:
  %ticket = load atomic i64, ptr %pool seq_cst, align 8
  %range = call { i64, i64 } @range(i64 %ticket)
  %front = extractvalue { i64, i64 } %range, 0
  %back = extractvalue { i64, i64 } %range, 1
  %left = sub i64 %back, %front
  %none = icmp eq i64 %left, 0
  br i1 %none, label %end, label %take
take:
  %share = load i64, ptr %share.at
  %part = lshr i64 %left, %share
  %tiny = icmp eq i64 %part, 0
  %count = select i1 %tiny, i64 1, i64 %part
  %without.first = add i64 %ticket, %count
  %high = shl i64 %count, $FRONT_BITS
  %without.last = sub i64 %ticket, %high
  %rest = select i1 %caller, i64 %without.first, i64 %without.last
  %pair = cmpxchg ptr %pool, i64 %ticket, i64 %rest seq_cst seq_cst
  %mine = extractvalue { i64, i1 } %pair, 1
  br i1 %mine, label %run, label %look
run:
  %call = getelementptr i8, ptr %pool, i64 $CALL
  %function = load ptr, ptr %call
  %params.at = getelementptr i8, ptr %call, i64 8
  %params = load ptr, ptr %params.at
  %table.at = getelementptr i8, ptr %call, i64 16
  %table = load ptr, ptr %table.at
  %blocks.at = getelementptr i8, ptr %call, i64 24
  %blocks = load i64, ptr %blocks.at
  %scratch.at = getelementptr i8, ptr %pool, i64 $SCRATCH
  %base = load ptr, ptr %scratch.at
  %stride.at = getelementptr i8, ptr %scratch.at, i64 8
  %stride = load i64, ptr %stride.at
  %offset = mul i64 %stride, %thread
  %scratch = getelementptr i8, ptr %base, i64 %offset
  %size.at = getelementptr i8, ptr %call, i64 32
  %size = load i64, ptr %size.at
  %last = sub i64 %back, %count
  %first = select i1 %caller, i64 %front, i64 %last
  %beyond = add i64 %first, %count
  %lo = mul i64 %first, %size
  %end.at = mul i64 %beyond, %size
  %hi = call i64 @llvm.umin.i64(i64 %end.at, i64 %blocks)
  call void %function(ptr %table, ptr %params, i64 %lo, i64 %hi, ptr %scratch)
  %before = atomicrmw add ptr %done.at, i64 %count seq_cst
  br label %look
end:
  ret void
}

; A worker's life; the result is the one that pthread_create wants.
define ptr @worker(ptr %pool) nounwind {
entry:
  %joined.at = getelementptr i8, ptr %pool, i64 $JOINED
  %earlier = atomicrmw add ptr %joined.at, i64 1 seq_cst
  %thread = add i64 %earlier, 1
  %stop.at = getelementptr i8, ptr %pool, i64 $STOP
  %sleepers.at = getelementptr i8, ptr %pool, i64 $SLEEPERS
  %mutex = getelementptr i8, ptr %pool, i64 $MUTEX
  %condition = getelementptr i8, ptr %pool, i64 $CONDITION
  br label %idle
idle:
  %start = call i64 @now()
  br label %spin
spin:
  %turn = phi i64 [ 0, %idle ], [ %next, %pause ], [ %next, %patient ], [ %next, %lend ]
  %stop = load atomic i64, ptr %stop.at seq_cst, align 8
  %stopped = icmp ne i64 %stop, 0
  br i1 %stopped, label %end, label %look
look:
  %ticket = load atomic i64, ptr %pool seq_cst, align 8
  %none = call i1 @none_left(i64 %ticket)
  br i1 %none, label %pause, label %do
do:
  call void @work(ptr %pool, i64 %thread)
  br label %idle
pause:
  call void @llvm.PAUSE_CALL
  %next = add i64 %turn, 1
  %phase = and i64 %next, 63
  %check = icmp eq i64 %phase, 0
  br i1 %check, label %clock, label %spin
clock:
  %now = call i64 @now()
  %waited = sub i64 %now, %start
  %tired = icmp ugt i64 %waited, $SPIN_NANOSECONDS
  br i1 %tired, label %sleep, label %patient
patient:
  %eager = icmp ult i64 %waited, $EAGER_NANOSECONDS
  br i1 %eager, label %spin, label %lend
lend:
  ; Whoever else wants this core may have it.
  %lent = call i32 @sched_yield()
  br label %spin
sleep:
  %locked = call i32 @pthread_mutex_lock(ptr %mutex)
  %others = atomicrmw add ptr %sleepers.at, i64 1 seq_cst
  %again = load atomic i64, ptr %pool seq_cst, align 8
  %again.none = call i1 @none_left(i64 %again)
  %again.stop = load atomic i64, ptr %stop.at seq_cst, align 8
  %goes.on = icmp eq i64 %again.stop, 0
  %quiet = and i1 %again.none, %goes.on
  br i1 %quiet, label %wait, label %wake
wait:
  %woken = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %wake
wake:
  %less = atomicrmw sub ptr %sleepers.at, i64 1 seq_cst
  %unlocked = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %idle
end:
  ret ptr null
}

define void @wake(ptr %pool) nounwind {
  call void @keep_off(ptr %pool)
  %mutex = getelementptr i8, ptr %pool, i64 $MUTEX
  %condition = getelementptr i8, ptr %pool, i64 $CONDITION
  %locked = call i32 @pthread_mutex_lock(ptr %mutex)
  %sent = call i32 @pthread_cond_broadcast(ptr %condition)
  %unlocked = call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}

; One call on every thread that is awake; returns when all of its blocks are done.
define internal void @share(ptr %pool, ptr %function, ptr %params, ptr %table, i64 %blocks, i64 %mode) nounwind {
entry:
  %call = getelementptr i8, ptr %pool, i64 $CALL
  %params.at = getelementptr i8, ptr %call, i64 8
  %table.at = getelementptr i8, ptr %call, i64 16
  %blocks.at = getelementptr i8, ptr %call, i64 24
  %done.at = getelementptr i8, ptr %pool, i64 $DONE
  store ptr %function, ptr %call
  store ptr %params, ptr %params.at
  store ptr %table, ptr %table.at
  store i64 %blocks, ptr %blocks.at
  %most = add i64 %blocks, $ROUNDING
  %size = udiv i64 %most, $MOST
  %size.at = getelementptr i8, ptr %call, i64 32
  store i64 %size, ptr %size.at
  %surplus = sub i64 %size, 1
  %whole = add i64 %blocks, %surplus
  %shares = udiv i64 %whole, %size
  store atomic i64 0, ptr %done.at seq_cst, align 8
  %last = load atomic i64, ptr %pool seq_cst, align 8
  %number = and i64 %last, -$NEXT
  %following = add i64 %number, $NEXT
  %behind = shl i64 %shares, $FRONT_BITS
  %ticket = or i64 %following, %behind
  store atomic i64 %ticket, ptr %pool seq_cst, align 8
  %worth = icmp eq i64 %mode, $WAKE
  br i1 %worth, label %asleep, label %help
asleep:
  %sleepers.at = getelementptr i8, ptr %pool, i64 $SLEEPERS
  %sleepers = load atomic i64, ptr %sleepers.at seq_cst, align 8
  %some = icmp ne i64 %sleepers, 0
  br i1 %some, label %rouse, label %help
rouse:
  call void @wake(ptr %pool)
  br label %help
help:
  call void @work(ptr %pool, i64 0)
  br label %wait
wait:
  %turn = phi i64 [ 0, %help ], [ %next, %pause ], [ %next, %yield ]
  %done = load atomic i64, ptr %done.at seq_cst, align 8
  %all = icmp eq i64 %done, %shares
  br i1 %all, label %end, label %pause
pause:
  call void @llvm.PAUSE_CALL
  %next = add i64 %turn, 1
  %long = icmp ugt i64 %next, 4000
  br i1 %long, label %yield, label %wait
yield:
  ; The thread that holds the last block may be waiting for this very core.
  %yielded = call i32 @sched_yield()
  br label %wait
end:
  ret void
}

; Every call of a program, in order.
define void @run(ptr %pool, ptr %calls, i64 %count, ptr %table) nounwind {
entry:
  %scratch.at = getelementptr i8, ptr %pool, i64 $SCRATCH
  %scratch = load ptr, ptr %scratch.at
  %profile.at = getelementptr i8, ptr %pool, i64 $PROFILE
  %profile = load i64, ptr %profile.at
  %timed = icmp ne i64 %profile, 0
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %following, %next ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %end
body:
  %offset = mul i64 %i, $CALL_BYTES
  %call = getelementptr i8, ptr %calls, i64 %offset
  %function = load ptr, ptr %call
  %params.at = getelementptr i8, ptr %call, i64 $CALL_PARAMS
  %params = load ptr, ptr %params.at
  %blocks.at = getelementptr i8, ptr %call, i64 $CALL_BLOCKS
  %blocks = load i64, ptr %blocks.at
  %mode.at = getelementptr i8, ptr %call, i64 $CALL_MODE
  %mode = load i64, ptr %mode.at
  br i1 %timed, label %begin, label %choose
begin:
  %began = call i64 @now()
  br label %choose
choose:
  %start = phi i64 [ 0, %body ], [ %began, %begin ]
  %alone = icmp eq i64 %mode, $SERIAL
  br i1 %alone, label %serial, label %shared
serial:
  call void %function(ptr %table, ptr %params, i64 0, i64 %blocks, ptr %scratch)
  br label %measure
shared:
  call void @share(ptr %pool, ptr %function, ptr %params, ptr %table, i64 %blocks, i64 %mode)
  br label %measure
measure:
  br i1 %timed, label %finish, label %next
finish:
  %finished = call i64 @now()
  %took = sub i64 %finished, %start
  %nanoseconds.at = getelementptr i8, ptr %call, i64 $CALL_NANOSECONDS
  store i64 %took, ptr %nanoseconds.at
  br label %next
next:
  %following = add i64 %i, 1
  br label %head
end:
  ret void
}
"""

_KEEP_OFF = """
declare i32 @sched_getcpu()
declare i32 @pthread_setaffinity_np(i64, i64, ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define void @keep_off(ptr %pool) nounwind {
entry:
  %mask = alloca [$ALLOWED_BYTES x i8], align 8
  %wanted.at = getelementptr i8, ptr %pool, i64 $KEEP_OFF
  %wanted = load i64, ptr %wanted.at
  %core = call i32 @sched_getcpu()
  %here = zext i32 %core to i64
  %last.at = getelementptr i8, ptr %wanted.at, i64 8
  %last = load i64, ptr %last.at
  %moved = icmp ne i64 %here, %last
  %known = icmp ult i64 %here, 1024
  %able = icmp ne i64 %wanted, 0
  %a = and i1 %moved, %known
  %b = and i1 %a, %able
  br i1 %b, label %prepare, label %end
prepare:
  store i64 %here, ptr %last.at
  %allowed = getelementptr i8, ptr %pool, i64 $ALLOWED
  call void @llvm.memcpy.p0.p0.i64(ptr %mask, ptr %allowed, i64 $ALLOWED_BYTES, i1 false)
  %word = lshr i64 %here, 6
  %bit = and i64 %here, 63
  %one = shl i64 1, %bit
  %others = xor i64 %one, -1
  %place = getelementptr i64, ptr %mask, i64 %word
  %before = load i64, ptr %place
  %after = and i64 %before, %others
  store i64 %after, ptr %place
  %count.at = getelementptr i8, ptr %wanted.at, i64 16
  %count = load i64, ptr %count.at
  br label %head
head:
  %i = phi i64 [ 0, %prepare ], [ %next, %body ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %end
body:
  %handles = getelementptr i8, ptr %pool, i64 $HANDLES
  %handle.at = getelementptr i64, ptr %handles, i64 %i
  %handle = load i64, ptr %handle.at
  ; Advice: a refusal does not matter.
  %code = call i32 @pthread_setaffinity_np(i64 %handle, i64 $ALLOWED_BYTES, ptr %mask)
  %next = add i64 %i, 1
  br label %head
end:
  ret void
}
"""

_NO_AFFINITY = "define void @keep_off(ptr %pool) nounwind {\n  ret void\n}\n"


def text(target: Target) -> str:
    """The executor's module for a machine."""
    from string import Template

    pause = _PAUSE[target.arch]
    declaration = pause.replace("i32 1", "i32")
    values = {name: str(value) for name, value in globals().items() if name.isupper() and isinstance(value, int)}
    values |= {"CLOCK": "6" if "apple" in target.triple else "1"}
    body = Template(_TEXT + (_KEEP_OFF if "linux" in target.triple else _NO_AFFINITY)).substitute(values)
    body = body.replace("llvm.PAUSE_DECLARATION", declaration).replace("llvm.PAUSE_CALL", pause)
    return f'target triple = "{target.triple}"\n{body}'


@functools.cache
def kernel() -> Kernel:
    """The executor as something that the JIT loads; its text is its key."""
    key = text(host())
    return Kernel("run", "executor " + kernel_name(key), text)
