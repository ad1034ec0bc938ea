#!/usr/bin/env python3
"""What a snapshot and a clone cost the writer of a three-replica volume: the API's answer, the p99 of writes around the cut,
and the speed of random writes after it against before.

usage: benches/snapshots.py PLINTH FOLDER [--size 64GiB] [--written 8GiB] [--seconds 20] [--rounds 5]

A cluster of three nodes is made in FOLDER: three pools of three times what is written and 8 GiB each, 96 GiB by default. Nothing
else should run on the machine. Prints a line for each round, and the medians with the bars they are held against.
"""

import argparse
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
# Around a cut a write may wait for it for this long.
WINDOW_MS = 1000


def size(text):
    number, unit = re.fullmatch(r"(\d+)([KMGT]iB)", text).groups()
    return int(number) * UNITS[unit]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Cluster:
    """Three nodes and a voter in one process, with a volume `db` on all three."""

    def __init__(self, program, folder, args):
        self.program = program
        self.control, self.nbd, http = (f"127.0.0.1:{free_port()}" for _ in range(3))
        pool = f"{folder / 'n1.pool'}:{3 * size(args.written) + (8 << 30)}".replace(" ", "")
        command = [program, "dev", "--nodes", "3", "--replicas", "3", "--data", folder, "--volume", f"db:{args.size}"]
        command += ["--pool", pool, "--nbd", self.nbd, "--http", http, "--control", self.control]
        self.log = open(folder / "cluster.log", "w")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)

    def run(self, *command):
        env = dict(os.environ, PLINTH_CONTROL=self.control)
        done = subprocess.run([self.program, *command], env=env, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def until_whole(self):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            env = dict(os.environ, PLINTH_CONTROL=self.control)
            shown = subprocess.run([self.program, "volume", "show", "db"], env=env, capture_output=True, text=True).stdout
            if len(re.findall(r"(?m)^\S+ +[0-9a-f]+ +(?:primary|in sync) +yes ", shown)) == 3:
                return
            if self.process.poll() is not None:
                sys.exit("the cluster ended; see cluster.log")
            time.sleep(0.2)
        sys.exit("db has no three replicas in sync; see cluster.log")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


def fio(cluster, folder, seconds, written, *more):
    """Starts a job of random writes; its log has a line for every write."""
    command = ["fio", "--name=job", "--ioengine=nbd", f"--uri=nbd://{cluster.nbd}/db", f"--size={written}"]
    command += ["--bs=4k", "--rw=randwrite", "--iodepth=8", "--randrepeat=0", f"--runtime={seconds}", "--time_based"]
    command += ["--output-format=terse", "--log_unix_epoch=1", f"--write_lat_log={folder / 'writes'}", *more]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def writes(folder):
    """Of every write of the last job: when it ended, in milliseconds since 1970, and how long it took, in microseconds."""
    found = []
    with open(folder / "writes_clat.1.log") as log:
        for line in log:
            when, took = line.split(",")[:2]
            found.append((int(when), int(took) / 1000))
    return found


def p99(latencies):
    return sorted(latencies)[len(latencies) * 99 // 100] if latencies else float("nan")


def timed(cluster, *command):
    begin, at = time.monotonic(), time.time() * 1000
    cluster.run(*command)
    return (time.monotonic() - begin) * 1000, at


def speed(found):
    """Writes a second, without the first and the last second."""
    first, last = found[0][0] + 1000, found[-1][0] - 1000
    return sum(first <= when <= last for when, _ in found) / max(1, last - first) * 1000


def one_round(cluster, folder, args, number):
    job = fio(cluster, folder, args.seconds, size(args.written))
    time.sleep(args.seconds / 2)
    # What a command takes that changes nothing: the process, the connection.
    idle_ms = statistics.median(timed(cluster, "status", "-o", "json")[0] for _ in range(5))
    snapshot_ms, snapshot_at = timed(cluster, "snapshot", "create", f"s{number}", "--volume", "db", "--no-wait")
    time.sleep(2 * WINDOW_MS / 1000)
    clone_ms, clone_at = timed(cluster, "volume", "clone", "db", f"c{number}", "--replicas", "3", "--no-wait")
    job.wait()
    found = writes(folder)
    near = [took for when, took in found if any(0 <= when - at < WINDOW_MS for at in (snapshot_at, clone_at))]
    far = [took for when, took in found if when < snapshot_at - WINDOW_MS]
    before = speed([one for one in found if one[0] < snapshot_at])
    fio(cluster, folder, args.seconds // 2, size(args.written)).wait()
    after = speed(writes(folder))
    cluster.run("snapshot", "delete", f"s{number}")
    cluster.run("volume", "delete", f"c{number}", "--force")
    return {
        "snapshot ms": max(0.0, snapshot_ms - idle_ms),
        "clone ms": max(0.0, clone_ms - idle_ms),
        "p99 ratio": p99(near) / p99(far),
        "speed ratio": after / before,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--size", default="64GiB")
    parser.add_argument("--written", default="8GiB")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(args.program.resolve(), folder, args)
    try:
        cluster.until_whole()
        fill = ["--rw=write", "--bs=1M", f"--io_size={size(args.written)}", "--time_based=0"]
        fio(cluster, folder, 3600, size(args.written), *fill).wait()
        rounds = []
        for number in range(args.rounds):
            rounds.append(one_round(cluster, folder, args, number))
            print(number, {name: round(value, 2) for name, value in rounds[-1].items()}, flush=True)
    finally:
        cluster.stop()
    bars = {"snapshot ms": "< 20", "clone ms": "< 20", "p99 ratio": "< 2", "speed ratio": ">= 0.95"}
    for name, bar in bars.items():
        print(f"{name:12} {statistics.median(one[name] for one in rounds):8.2f}   {bar}")


if __name__ == "__main__":
    main()
