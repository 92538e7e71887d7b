#!/usr/bin/python3
"""Runs a command on a terminal of its own and prints all that it shows.

usage: terminal.py PATTERN COMMAND...

Waits for PATTERN (a regular expression over what came since the last line was
sent), sends the next line of standard input, and so on. When there are no more
lines it waits for PATTERN once more, or for the command to end. Fails when either
takes longer than a minute, which is a bound and not a measure.
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

GIVE_UP_S = 60


def main():
    pattern = re.compile(sys.argv[1].encode())
    lines = [] if sys.stdin.isatty() else sys.stdin.read().splitlines()
    pid, terminal = pty.fork()
    if pid == 0:
        # A terminal with a size: without one redis-cli asks it for the cursor's
        # place, and nobody would answer.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", 40, 200, 0, 0))
        os.environ["TERM"] = "xterm"
        os.environ["REDISCLI_HISTFILE"] = "/dev/null"
        os.execvp(sys.argv[2], sys.argv[2:])
    shown, mark = b"", 0
    deadline = time.monotonic() + GIVE_UP_S
    try:
        while True:
            wait = deadline - time.monotonic()
            if wait <= 0 or not select.select([terminal], [], [], wait)[0]:
                sys.stdout.write(shown.decode(errors="replace"))
                sys.exit(f"terminal.py: no '{sys.argv[1]}' within {GIVE_UP_S} s")
            try:
                data = os.read(terminal, 65536)
            except OSError:  # Linux's way of saying that the command has ended
                data = b""
            if not data:
                break
            shown += data
            if pattern.search(shown, mark):
                if not lines:
                    break
                mark = len(shown)
                os.write(terminal, lines.pop(0).encode() + b"\r")
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.close(terminal)
        os.waitpid(pid, 0)
    sys.stdout.write(shown.decode(errors="replace"))


main()
