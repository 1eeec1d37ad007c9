"""`runtime.kernels: plain`, or an environment without numba, trains by torch's operations alone."""

import os
import subprocess
import sys

import pytest

# Makes a heavy view and a training step of a small SimSiam, and prints the compiled functions that were used.
STEP = """
import sys
kernels, has_numba = sys.argv[1], sys.argv[2] == "numba"
if not has_numba:
    sys.modules["numba"] = None  # importing it now raises ImportError
import torch
from triptych.core.schema import Runtime
from triptych.machine.device import machine
from triptych.machine.randomness import Draw
from triptych.nn.fast import norm, views
from triptych.ssl.shared.heavy import RandAugment
from triptych.ssl.shared.network import SiameseNetwork, negative_cosine
from triptych.ssl.shared.params import HeavyParams
runtime = Runtime(
    launch="python", device="cpu", precision="float32", threads=1, compile=False, kernels=kernels, checkpoint_seconds=60
)
with machine(runtime, announce=False):
    torch.manual_seed(0)
    backbone = {"name": "small_resnet", "width": 4, "blocks": [1, 1], "stem_stride": 2, "standardise": True}
    network = SiameseNetwork(3, backbone, {"hidden": [8], "dim": 8}, {"hidden": 4})
    images = (torch.rand(8, 3, 16, 16) * 2 - 1).contiguous(memory_format=torch.channels_last)
    heavy = RandAugment(HeavyParams(operations=1, magnitude=5.0))(images, Draw("cpu", (0,)))
    (z1, p1), (z2, p2) = network.to(memory_format=torch.channels_last).each(images, heavy)
    negative_cosine(p1, z2.detach()).backward()
print(sorted(name for module in (norm, views) for name, f in vars(module).items() if getattr(f, "signatures", None)))
"""


@pytest.mark.parametrize(("kernels", "numba"), [("plain", "numba"), ("fast", "no numba"), ("fast", "numba")])
def test_compiled_functions_are_used_only_where_numba_is_installed_and_kernels_are_fast(kernels, numba):
    command = [sys.executable, "-c", STEP, kernels, numba]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    used = done.stdout.strip()
    if (kernels, numba) == ("fast", "numba"):
        for name in ("_channel_sums", "_input_gradient", "_standardise", "fuse_heavy", "moments", "normalise"):
            assert f"'{name}'" in used
    else:
        assert used == "[]"
