"""What the programs of the second implementation share: the running demo, and counted checks.

Each is called `PROGRAM SEALPOST DEMO_DIR`, where `sealpost demo --keep --no-limits --dir DEMO_DIR` serves, prints one line
a check and ends with `N passed, M failed`.
"""
import json, os, subprocess, sys, traceback

SEALPOST, DIR = sys.argv[1], os.path.abspath(sys.argv[2])
DEMO = json.load(open(os.path.join(DIR, "demo.json")))
at = lambda p: os.path.join(DIR, p)  # paths in demo.json are absolute or relative to DIR
CA = at(DEMO["ca_file"])
NET, COM = DEMO["servers"]
ALICE, BOB = DEMO["users"]
passed, failed = 0, 0


def check(name):
    """Runs the function under it at once and counts how it ended."""
    def run(f):
        global passed, failed
        try:
            f()
            passed += 1
            print("ok  ", name)
        except Exception as e:  # every kind of failure is a failed check
            failed += 1
            lines = [x.lineno for x in traceback.extract_tb(e.__traceback__) if x.filename != __file__]
            print("FAIL", name, "--", type(e).__name__, str(e)[:600], f"(lines {lines})")
        sys.stdout.flush()
        return f
    return run


def eq(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


def starts(got, want):
    assert got.startswith(want), f"got {got!r}, want {want!r}…"


def admin(server, *args):
    p = subprocess.run([SEALPOST, "--json", *args, "--config", at(server["config"])], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.returncode == 0, f"{args}: {p.stderr.decode()}"
    return json.loads(p.stdout)


def finish():
    """The last line and the exit status; no check at all is a failure too."""
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)
