"""Freed memory is kept: the second time costs no fresh pages."""

import resource
import subprocess
import sys

CHILD = """
import resource, sys, torch
from evomerge.tensor_ops.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.set_num_threads(1)
for round in range(3):  # the first touches, the others should not
    before = faults()
    for _ in range(20):
        torch.ones(1 << 20).add_(1.0)
print(faults() - before)
"""


def count_faults(how: str) -> int:
    found = subprocess.run(
        [sys.executable, "-c", CHILD, how], capture_output=True, text=True, check=True
    )
    return int(found.stdout)


def test_a_block_that_is_freed_and_wanted_again_is_not_cleared_anew() -> None:
    pages = 20 * (4 << 20) // resource.getpagesize()
    assert count_faults("kept") < pages / 50
