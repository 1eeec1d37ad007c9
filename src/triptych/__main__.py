"""Run the command-line interface with `python -m triptych`."""

from triptych.cli.app import app

if __name__ == "__main__":
    app()
