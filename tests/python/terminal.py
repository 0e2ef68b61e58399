"""Runs a program at a terminal of its own: waits for a text, types another one, and prints what came and how it ended.

Arguments: the text to wait for, what to type then (with Python's escapes), the program and its arguments. Printed as JSON:
"status", the exit status; "echo", whether the terminal showed what was typed when the text had come; "echo_after", whether it
does so when the program has ended; "screen", all that was shown.
"""

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

PATIENCE = 20

wanted, typed, *program = sys.argv[1:]
ours, theirs = pty.openpty()
screen = b""


def shows():
    return bool(termios.tcgetattr(theirs)[3] & termios.ECHO)


def take(seconds):
    global screen
    if select.select([ours], [], [], seconds)[0]:
        screen += os.read(ours, 4096)


def own_terminal():
    os.setsid()
    fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
    # Whoever runs the tests in the background may ignore it, and so would all that they start.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


process = subprocess.Popen(
    program, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=own_terminal
)
deadline = time.monotonic() + PATIENCE
while wanted.encode() not in screen and process.poll() is None and time.monotonic() < deadline:
    take(0.1)
echo = shows()
os.write(ours, typed.encode().decode("unicode_escape").encode("latin-1"))
while process.poll() is None and time.monotonic() < deadline:
    take(0.1)
if process.poll() is None:
    process.kill()
take(0.5)
print(
    json.dumps(
        {
            "status": process.wait(),
            "echo": echo,
            "echo_after": shows(),
            "screen": screen.decode(errors="replace"),
        }
    )
)
