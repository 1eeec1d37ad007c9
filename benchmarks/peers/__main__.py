"""Compare Triptych with lightly, plain PyTorch, diffusers and denoising-diffusion-pytorch, in alternation in one run.

    python -m benchmarks.peers

Needs the `peers` extra, and runs from the project's root. Writes benchmarks/results/peers.json and its tables in
docs/performance.md. Then `dvc metrics diff --targets benchmarks/results/peers.json` shows the changes in speed since
the last commit.
"""

import argparse
import json
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.pages import write_section
from benchmarks.peers.page import section
from triptych.cli import doctor
from triptych.core.errors import InputError, one_line_errors
from triptych.core.files import write_json
from triptych.machine.device import Machine, machine
from triptych.params import Params, check

RESULTS, PAGE = Path("benchmarks/results/peers.json"), Path("docs/performance.md")
PEERS = ("lightly", "diffusers", "denoising-diffusion-pytorch")
ROUNDS = 9


def versions() -> dict[str, str]:
    """Return the versions of the peers. Raises InputError if one is not installed."""
    try:
        return {name: version(name) for name in PEERS}
    except PackageNotFoundError as error:
        raise InputError(f"{error.name} is not installed; install it with `make bench-peers`") from None


def speeds(params: Params, place: Machine, rounds: int) -> dict[str, dict]:
    """Return the rows of the table, by their names in the results."""
    from benchmarks.peers import ddpm, simsiam, vae

    every = tuple(range(place.threads + 1))
    rows = {}
    tell("SimSiam on one thread")
    rows["simsiam_one_thread"] = simsiam.measure(params.ssl, replace(place, threads=1), (0,), rounds)
    tell("SimSiam on all threads")
    rows["simsiam_all_threads"] = simsiam.measure(params.ssl, place, every[:3], rounds)
    tell("VAE")
    rows["vae"] = vae.measure(params.vae, place, rounds)
    tell("DDPM")
    return rows | ddpm.measure(params.ddpm, place, rounds)


def tell(what: str) -> None:
    """Print to stderr the name of the current measurement."""
    print(f"measuring {what}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="number of rounds (default %(default)s)")
    parser.add_argument(
        "--quality", action="store_true", help="also compare sample quality after equal training time (30 minutes more)"
    )
    asked = parser.parse_args()
    about, params = versions(), check()
    before = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if asked.quality:
        from benchmarks.peers import quality

        quality.check()
    with machine(params.runtime, one_thread=False) as place:
        results = {"rounds": asked.rounds, **speeds(params, place, asked.rounds)}
        results["machine"] = doctor.machine() | place.describe() | {"peers": about}
        results["quality"] = before.get("quality")  # kept from the commit that it names
        if asked.quality:
            tell("samples after equal minutes")
            results["quality"] = quality.measure(params, place) | {"commit": results["machine"]["commit"]}
    write_json(RESULTS, {name: value for name, value in results.items() if value})
    write_section(PAGE, "peers", section(results))
    print(section(results))


if __name__ == "__main__":
    with one_line_errors(interrupted="interrupted: nothing was written"):
        main()
