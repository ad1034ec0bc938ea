#!/usr/bin/env python3
"""Applies one planted bug after the other to a copy of the workspace and requires that tests fail: those of the store, or
the simulator of the replication protocol, or those of a node for lost blocks, comparing and growing.

MUTANT_SEEDS: seeds of the store's simulator for each (150), and of the protocol's two hundred times as many.
Arguments: names of some mutants. Prints what caught each.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from list import NODE_MUTANTS, REPLICATION_MUTANTS, STORE_MUTANTS

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("MUTANT_SEEDS", "150"))
CHUNK = 10
SECONDS_MAX = 300


def run(command, copy, target, **extra):
    env = dict(os.environ, CARGO_TARGET_DIR=str(target), RUST_BACKTRACE="0", **extra)
    try:
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return 1, "it hangs"
    return done.returncode, done.stdout + done.stderr


def caught_by_protocol(copy, target):
    """What notices a mutant of the replication protocol, or None."""
    test = ["cargo", "test", "--release", "-q", "-p", "tests", "--test", "replication_sim"]
    code, output = run(test + ["--no-run"], copy, target)
    if code:
        print(output)
        return None
    code, output = run(test + ["--", "traps::"], copy, target)
    directed = sorted(set(re.findall(r"---- world::traps::([\w:]+) stdout", output))) if code else []
    code, output = run(test + ["--", "--nocapture", "whatever"], copy, target, SEEDS=str(SEEDS * 200))
    seeds = re.search(r"^(\d+) of (\d+) seeds failed", output, re.M) if code else None
    found = re.search(r"^seed (\d+): (.{0,70})", output, re.M)
    random = f"{seeds[0]}, {found[0]}" if seeds and found else None
    return (directed, random) if directed or random else None


def caught_by_store(copy, target):
    """What notices a mutant of the store, or None."""
    test = ["cargo", "test", "--release", "-q", "-p", "tests", "--test", "store_sim"]
    code, output = run(test + ["--no-run"], copy, target)
    if code:
        print(output)
        return None
    code, output = run(test + ["--", "failures::", "replicas::", "lost::", "fixture::", "a_pool_always"], copy, target)
    directed = sorted(set(re.findall(r"---- (?:\w+::)?(\w+) stdout", output))) if code else []
    if directed:
        return directed, None
    if code and not directed:
        directed = ["a directed test: " + output.strip()[-60:]]
    for first in range(1, SEEDS + 1, CHUNK):
        count = min(CHUNK, SEEDS + 1 - first)
        code, output = run(test + ["--", "--nocapture", "whatever"], copy, target, FIRST=str(first), SEEDS=str(count))
        if code:
            seed = re.search(r"^seed (\d+): (.{0,70})", output, re.M)
            return directed, seed.expand(r"seed \1: \2") if seed else f"seeds {first}..: {output.strip()[-60:]}"
    return (directed, None) if directed else None


def caught_by_node(copy, target):
    """What notices a mutant of lost blocks, of comparing or of growing, or None."""
    test = ["cargo", "test", "--release", "-q", "-p", "node", "--test", "node"]
    code, output = run(test + ["--no-run"], copy, target)
    if code:
        print(output)
        return None
    code, output = run(test + ["--", "copies::rot::", "copies::lost::", "copies::growth::"], copy, target)
    if not code:
        return None
    return sorted(set(re.findall(r"---- copies::(?:rot|lost|growth)::(\w+) stdout", output))) or [output.strip()[-60:]], None


def main():
    wanted = set(sys.argv[1:])
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy, target = pathlib.Path(folder, "copy"), pathlib.Path(os.environ.get("MUTANT_TARGET", f"{folder}/target"))
        ignore = shutil.ignore_patterns("target", ".git")
        shutil.copytree(ROOT, copy, ignore=ignore, symlinks=True)
        kinds = [(caught_by_store, STORE_MUTANTS), (caught_by_protocol, REPLICATION_MUTANTS), (caught_by_node, NODE_MUTANTS)]
        for caught_by, (name, path, old, new) in [(kind, mutant) for kind, mutants in kinds for mutant in mutants]:
            if wanted and name not in wanted:
                continue
            file = copy / path
            text = file.read_text()
            if text.count(old) != 1:
                raise SystemExit(f"{name}: {path} holds the old text {text.count(old)} times")
            file.write_text(text.replace(old, new))
            found = caught_by(copy, target)
            file.write_text(text)
            if found is None:
                survivors.append(name)
            print(f"{name}: {'SURVIVES' if found is None else found}", flush=True)
    if survivors:
        raise SystemExit(f"{len(survivors)} survive: {', '.join(survivors)}")


main()
