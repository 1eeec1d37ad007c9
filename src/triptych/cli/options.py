"""Options that many commands have."""

from typing import Annotated

import typer

Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]
