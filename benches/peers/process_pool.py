"""The cases of benches/peers/src/lib.rs on Python's ProcessPoolExecutor: the same tasks, limits and counts."""

import concurrent.futures
import ctypes
import json
import multiprocessing
import os
import signal
import sys
import time

WORKERS = 2
DEADLINE = 0.2
BOMB_BYTES = 1 << 30
BESIDE = 100
PATIENCE = 10.0
MORE_PATIENCE = 5.0


def work(job):
    kind, n = job
    if kind == "Good":
        return 2 * n
    if kind == "Segfault":
        ctypes.memset(64, 1, 8)
    elif kind == "Abort":
        os.abort()
    elif kind == "Exit":
        os._exit(3)
    elif kind == "Kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "Endless":
        while True:
            pass
    elif kind == "Bomb":
        bomb = []
        while len(bomb) << 20 < BOMB_BYTES:
            bomb.append(b"\x01" * (1 << 20))
        return len(bomb)


def start(pool, job):
    try:
        return pool.submit(work, job)
    except Exception as error:  # a broken pool refuses here
        future = concurrent.futures.Future()
        future.set_exception(error)
        return future


def finish(job, future, patience):
    """A deadline is the caller's: wait so long. There is no way to stop what runs."""
    limit = DEADLINE if job[0] == "Endless" else max(patience, 0)
    try:
        return ("value", future.result(timeout=limit))
    except concurrent.futures.TimeoutError:
        return ("error", "TimeoutError") if job[0] == "Endless" else ("hung", None)
    except BaseException as error:
        return ("error", type(error).__name__)


def case(fault, jobs):
    pool = concurrent.futures.ProcessPoolExecutor(WORKERS, multiprocessing.get_context("fork"))
    since = time.monotonic()
    tasks = [(job, start(pool, job)) for job in jobs]
    told = ""
    counts = {"good": 0, "right": 0, "lost": 0, "hung": 0}
    for job, future in tasks:
        end, value = finish(job, future, PATIENCE - (time.monotonic() - since))
        if job[0] == "Good":
            counts["good"] += 1
            counts["right"] += end == "value" and value == 2 * job[1]
            counts["lost"] += end == "error"
            counts["hung"] += end == "hung"
        elif not told:
            told = f"value {value}" if end == "value" else value or "nothing"
    milliseconds = int((time.monotonic() - since) * 1000)
    job = ("Good", 21)
    usable = finish(job, start(pool, job), MORE_PATIENCE) == ("value", 42)
    print(json.dumps({"peer": "ProcessPoolExecutor", "fault": fault, **counts, "told": told,
                      "usable": usable, "milliseconds": milliseconds}), flush=True)
    # An endless loop would keep the pool, and this program, from ending.
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.kill()
    pool.shutdown(wait=False)


def main():
    for fault in ["Segfault", "Abort", "Exit", "Kill", "Endless", "Bomb"]:
        case(fault, [(fault, 0) if n == BESIDE // 2 else ("Good", n) for n in range(BESIDE + 1)])
    case("Endless, every worker", [("Endless", 0) if n < WORKERS else ("Good", n) for n in range(BESIDE + 1)])
    case("10 of 1000", [("Segfault", 0) if n % 100 == 50 else ("Good", n) for n in range(1000)])
    sys.stdout.flush()
    os._exit(0)


main()
