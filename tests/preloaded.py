"""Programs `python` and `triptych` that start at once, for tests that run many stages through DVC.

A new Python takes seconds to import torch and the other libraries. The programs of this module ask the test's process
to run the script in a fork of a process that has imported them (see scripts.py). Like a new Python, the fork imports
all code of the project from the folders in PYTHONPATH. tests/docs/test_your_own_images.py runs every stage in a new
Python.
"""

import json
import os
import socketserver
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from scripts import run_script
from shell import PROGRAMS

# Without site-packages this starts in a fiftieth of a second.
PROGRAM = """#!{python} -IS
import json, os, socket, sys

folder = os.path.dirname(os.path.abspath(__file__))
request = {{"arguments": {first} + sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
with socket.socket(socket.AF_UNIX) as server:
    server.connect(os.path.join(folder, "socket"))
    server.sendall(json.dumps(request).encode() + b"\\n")
    out, err, status = json.loads(server.makefile().readline())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(status)
"""

# What a new process would have from its environment and the folder of its script.
BEFORE = """
import os, sys
os.environ.clear()
os.environ.update({environment!r})
sys.path[:0] = {paths!r}
"""


class Handler(socketserver.StreamRequestHandler):
    """Run the script of one request and answer with its output and exit status."""

    def handle(self) -> None:
        request = json.loads(self.rfile.readline())
        folder, environment = Path(request["folder"]), request["environment"]
        script, *arguments = request["arguments"]
        script = folder / script
        paths = [str(folder / path) for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
        before = BEFORE.format(environment=environment, paths=[str(script.parent), *paths])
        done = run_script(script, *arguments, folder=folder, before=before)
        status = done.returncode if done.returncode >= 0 else 128 - done.returncode  # as a shell reports a signal
        self.wfile.write(json.dumps([done.stdout, done.stderr, status]).encode() + b"\n")


@contextmanager
def programs(folder: Path, *names: str) -> Iterator[Path]:
    """Write the programs of these names into a new folder, yield the folder for PATH, and serve them until the end."""
    folder.mkdir()
    first = {"python": [], "triptych": [str(PROGRAMS / "triptych")]}
    for name in names:
        (folder / name).write_text(PROGRAM.format(python=sys.executable, first=first[name]))
        (folder / name).chmod(0o755)
    with socketserver.ThreadingUnixStreamServer(str(folder / "socket"), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder
        server.shutdown()
