"""From a call of a function on tensors to a recorded Value in a fraction of a microsecond.

``calls`` remembers what each call recorded, by what it was given. ``emit`` writes the code that does a call again from
that memory: machine code on Python's objects, by way of LLVM as all our code. ``objects`` knows how CPython lays them
out, ``install`` puts the code in the functions' places. Where it cannot be used (another Python), everything works as
before, slower.
"""
