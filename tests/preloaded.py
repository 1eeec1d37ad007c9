"""Programs `python` and `triptych` that start at once, for tests that run many stages through DVC.

A new Python takes seconds to import torch and the other libraries. The programs of this module ask the test's process
to run the script in a fork of a process that has imported them (see scripts.py). Like a new Python, the fork imports
all code of the project from the folders in PYTHONPATH. tests/docs/test_your_own_images.py runs every stage in a new
Python.
"""

import json
import os
import shlex
import socketserver
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from scripts import run_script
from shell import PROGRAMS

SCRIPTS = {"python": [], "triptych": [str(PROGRAMS / "triptych")]}  # what precedes a program's arguments
# Without site-packages it starts in a fiftieth of a second.
CLIENT = """
import json, os, socket, sys

address, *arguments = sys.argv[1:]
request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
with socket.socket(socket.AF_UNIX) as server:
    server.connect(address)
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
    with tempfile.TemporaryDirectory() as short:  # the address of a socket has at most a hundred characters
        client, address = Path(short, "client.py"), str(Path(short, "socket"))
        client.write_text(CLIENT)
        for name in names:
            command = shlex.join([sys.executable, "-IS", str(client), address, *SCRIPTS[name]])
            (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (folder / name).chmod(0o755)
        with socketserver.ThreadingUnixStreamServer(address, Handler) as server:
            server.daemon_threads = True  # a stage that hangs must not hold up the end
            Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield folder
            finally:
                server.shutdown()
