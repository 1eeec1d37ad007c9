"""Run the command line as `python -m triptych`."""

from triptych.cli.app import app

if __name__ == "__main__":
    app()
