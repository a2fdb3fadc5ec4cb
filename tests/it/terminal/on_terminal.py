"""Runs a program on a pseudo-terminal and talks to it: reads a JSON object from standard input
{"args": [...], "env": {...}, "rows": 24, "columns": 80, "talk": [[EXPECT, ANSWER], ...]}, waits for each EXPECT in what
the program prints, gives ANSWER, and at the end prints {"status": N, "output": TEXT}. Of Python's own modules only."""

import fcntl, json, os, pty, select, struct, sys, termios, time

PATIENCE = 100  # less than the test's own, which would say nothing of what came
job = json.load(sys.stdin)
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(job.get("env", {}))
    os.execvp(job["args"][0], job["args"])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", job.get("rows", 24), job.get("columns", 80), 0, 0))
output, seen, deadline = b"", 0, time.monotonic() + PATIENCE


def more():
    """Reads once; False at the end."""
    global output
    ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
    if not ready:
        os.kill(pid, 9)
        sys.exit(f"nothing more came within {PATIENCE} s; so far: {output!r}")
    try:
        octets = os.read(terminal, 65536)
    except OSError:  # EIO: nobody holds the other end any more
        return False
    output += octets
    return bool(octets)


for expect, answer in job.get("talk", []):
    while output.find(expect.encode(), seen) < 0:
        if not more():
            sys.exit(f"{expect!r} never came; it said {output!r}")
    seen = output.find(expect.encode(), seen) + len(expect.encode())
    os.write(terminal, answer.encode())
while more():
    pass
_, status = os.waitpid(pid, 0)
json.dump({"status": os.waitstatus_to_exitcode(status), "output": output.decode(errors="replace")}, sys.stdout)
