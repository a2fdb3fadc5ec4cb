"""Runs a program on a pseudo-terminal and talks to it: reads a JSON object from standard input
{"args": [...], "env": {...}, "rows": 24, "columns": 80, "talk": [[EXPECT, ANSWER], ...]}, waits for each EXPECT in what
the program prints, gives ANSWER (where EXPECT is empty, again and again until the next EXPECT comes: a key may be pressed too
early), and at the end prints {"status": N, "output": TEXT}. Of Python's own modules only."""

import fcntl, json, os, pty, select, struct, sys, termios, time

PATIENCE = 100  # less than the test's own, which would say nothing of what came
job = json.load(sys.stdin)
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(job.get("env", {}))
    os.execvp(job["args"][0], job["args"])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", job.get("rows", 24), job.get("columns", 80), 0, 0))
output, seen, deadline = b"", 0, time.monotonic() + PATIENCE


def more(again=b""):
    """Reads once; False at the end."""
    global output
    left = max(0, deadline - time.monotonic())
    ready, _, _ = select.select([terminal], [], [], min(left, 0.2) if again else left)
    if not ready and again and left:
        os.write(terminal, again)
        return True
    if not ready:
        os.kill(pid, 9)
        sys.exit(f"nothing more came within {PATIENCE} s; so far: {output!r}")
    try:
        octets = os.read(terminal, 65536)
    except OSError:  # EIO: nobody holds the other end any more
        return False
    output += octets
    return bool(octets)


again = b""
for expect, answer in job.get("talk", []):
    if not expect:
        again = answer.encode()
        continue
    while output.find(expect.encode(), seen) < 0:
        if not more(again):
            sys.exit(f"{expect!r} never came; it said {output!r}")
    seen = output.find(expect.encode(), seen) + len(expect.encode())
    os.write(terminal, answer.encode())
    again = b""
while more():
    pass
_, status = os.waitpid(pid, 0)
json.dump({"status": os.waitstatus_to_exitcode(status), "output": output.decode(errors="replace")}, sys.stdout)
