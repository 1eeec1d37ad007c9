"""A bar on stderr for what takes longer than two seconds; none where stderr is no terminal."""

from dataclasses import dataclass

from torch import Tensor
from tqdm import tqdm

from triptych.ddpm.samplers import Denoising

PATIENCE = 2.0  # seconds without a bar


def bar(command: str, total: int, unit: str = "it") -> tqdm:
    """A bar of so many steps; `unit` names one."""
    return tqdm(total=total, desc=command, unit=unit, delay=PATIENCE, disable=None, dynamic_ncols=True)


@dataclass(frozen=True)
class Watched:
    """A denoiser whose every call moves a bar on."""

    method: Denoising
    bar: tqdm

    def denoise(self, x: Tensor, alpha_bar: float) -> Tensor:
        """What the method says."""
        x0 = self.method.denoise(x, alpha_bar)
        self.bar.update()
        return x0

    def levels(self, steps: int, start: float | None = None) -> list[float]:
        """Those of the method."""
        return self.method.levels(steps, start)
