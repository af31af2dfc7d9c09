"""Recurrent layers in native code: one kernel goes through all steps of a layer in one direction.

A block is some rows of the batch, which no other row touches: blocks need no synchronisation, and their sums do not
depend on how many threads there are. A step is the product of the rows' h with the packed recurrent weights, into a
tile in the first cache, and the cell's formulas over it.

==============  ===================================================================
``cells``       the formulas of each kind of cell, forward and backward
``spec``        what fixes a kernel, tile sizes, parameters
``packing``     the kernel that packs the recurrent weights
``parts``       the micro-kernel and the loops over units that both directions share
``forward``     the kernel of all steps
``backward``    its derivative: the steps in reverse
``plan``        the scheduler's side
==============  ===================================================================
"""
