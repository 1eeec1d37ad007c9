"""`python -m triptych` is `triptych`."""

from triptych.cli.app import app

if __name__ == "__main__":
    app()
