"""Tables of docs/performance.md from the results in peers.json."""

HEADING = (
    "| what | compared with | Triptych | the other | times as fast | the other's best setting | what else differs |",
    "|---|---|---|---|---|---|---|",
)


def section(results: dict) -> str:
    """Return the section `peers`: the machine, the comparison with each peer, and all settings of the peers."""
    rows = [row for row in results.values() if isinstance(row, dict) and "settings" in row]
    lines = [
        _where(results["machine"], results["rounds"]),
        "",
        *HEADING,
        *(line for row in rows for line in _lines(row)),
    ]
    head = "| what | compared with | setting | a second |"
    lines += ["", "All settings of the others:", "", head, "|---|---|---|---|"]
    lines += [
        _line(row["title"], row["peer_name"], setting, f"{speed:,.0f} {_what(row)}")
        for row in rows
        for setting, speed in row["settings"].items()
    ]
    return "\n".join(lines + _quality(results.get("quality"))) + "\n"


def _where(machine: dict, rounds: int) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["peers"].items())
    hardware = machine["device"] if machine["device"] != "cpu" else f"{machine['processor']}, {machine['cpus']} cores"
    return (
        f"{hardware}; Triptych in {machine['precision']}; {rounds} pairs of turns; commit {_commit(machine)}, "
        f"torch {machine['torch']}, {versions}."
    )


def _commit(measured: dict) -> str:
    commit = measured["commit"] or "unknown"
    return commit[:7] + "+" * commit.endswith("+")


def _lines(row: dict) -> list[str]:
    def line(ours: str, theirs: str, ratio: str, unit: str) -> str:
        low, middle, high = (row[f"{ratio}{end}"] for end in ("_low", "", "_high"))
        times = f"**{middle:.2f}** ({low:.2f} to {high:.2f})"
        pair = [f"{row[name]:,.0f} {unit}" for name in (ours, theirs)]
        return _line(row["title"], row["peer_name"], *pair, times, row["setting"], row["differs"])

    lines = [line("triptych", "peer", "ratio", row["unit"])]
    if "gflops_ratio" in row:
        lines.append(line("triptych_gflops", "peer_gflops", "gflops_ratio", "GFLOP/s"))
    return lines


def _what(row: dict) -> str:
    return row["unit"].removesuffix("/s")


def _quality(quality: dict | None) -> list[str]:
    if not quality:
        return []
    budgets = {key.removeprefix("minutes_"): row for key, row in quality.items() if key.startswith("minutes_")}
    names = list(next(iter(budgets.values())))
    return [
        "",
        f"Fréchet distance of {quality['samples']:,} samples after equal minutes of training, in the judge's features, "
        f"{quality['network_calls']} calls of the network for each; commit {_commit(quality)}:",
        "",
        _line("minutes", *(name.replace("_", "-") for name in names)),
        f"|{'---|' * (len(names) + 1)}",
        *(_line(minutes, *(_distance(row[name]) for name in names)) for minutes, row in budgets.items()),
    ]


def _distance(estimate: dict) -> str:
    return f"{estimate['value']:.2f} ({estimate['low']:.2f} to {estimate['high']:.2f})"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
