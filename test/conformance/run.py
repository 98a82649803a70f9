#!/usr/bin/env python3
"""Runs the public ONNX backend test cases and compares with what is expected to pass.

Unpacks DATA/*.tar.zst (with the zstd and tar commands) into WORK, runs every case through gmc-conformance and prints,
per operator, how many cases passed, failed and are unsupported. Fails when a case that expected.tsv lists as `pass`
does not pass. With --gradients, does the same for the derivatives and gradients.tsv; with --sim, the same lists hold for
the kernels of the GPU. With --update, writes the list from the results. Exit 77 (skipped) where DATA is absent.
"""
import argparse
import collections
import glob
import os
import queue
import select
import subprocess
import sys
import threading

SECONDS_PER_CASE = 60


def unpack(data, work):
    archives = sorted(glob.glob(os.path.join(data, "*.tar.zst")))
    for archive in archives:
        name = os.path.basename(archive)[: -len(".tar.zst")]
        folder, stamp = os.path.join(work, name), os.path.join(work, name + ".unpacked")
        if os.path.exists(stamp):
            continue
        os.makedirs(folder, exist_ok=True)
        zstd = subprocess.Popen(["zstd", "-dcq", archive], stdout=subprocess.PIPE)
        tar = subprocess.run(["tar", "-x", "-C", folder], stdin=zstd.stdout)
        if zstd.wait() or tar.returncode:
            sys.exit(f"cannot unpack {archive}")
        open(stamp, "w").close()
    return archives


def find_cases(work):
    """(name, folder) of every case; the name is ARCHIVE/SUITE/CASE."""
    cases = []
    for model in glob.glob(os.path.join(work, "*", "onnx", "backend", "test", "data", "*", "*", "model.onnx")):
        parts = model[len(work) :].strip("/").split("/")
        cases.append(("/".join([parts[0].rsplit("_", 1)[-1], parts[-3], parts[-2]]), os.path.dirname(model)))
    return sorted(cases)


class Worker(threading.Thread):
    """Feeds cases to one gmc-conformance process; starts another one when it dies or hangs."""

    def __init__(self, command, cases, results):
        super().__init__()
        self.command, self.cases, self.results, self.process = command, cases, results, None

    def ask(self, folder):
        if self.process is None:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL)
        self.process.stdin.write((folder + "\n").encode())
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], SECONDS_PER_CASE)
        line = self.process.stdout.readline().decode(errors="replace") if ready else ""
        if line:
            return line.rstrip("\n").split("\t")
        self.process.kill()
        code = self.process.wait()
        self.process = None
        return ["error", "", "", "crashed (%d)" % code if ready else "took more than %d s" % SECONDS_PER_CASE]

    def run(self):
        while True:
            try:
                name, folder = self.cases.get_nowait()
            except queue.Empty:
                break
            self.results[name] = self.ask(folder)
        if self.process:
            self.process.stdin.close()
            self.process.wait()


def read_expected(path):
    expected = {}
    if os.path.exists(path):
        for line in open(path):
            if line.strip() and not line.startswith("#"):
                status, name = line.rstrip("\n").split("\t")[:2]
                expected[name] = status
    return expected


def write_expected(path, results):
    with open(path, "w") as file:
        file.write("# ONNX backend test cases: status, case, reason. A case listed as pass must pass.\n"
                   "# Written by run.py --update; see Conformance.cpp for what a status means.\n")
        for name in sorted(results):
            status, _, _, reason = results[name]
            file.write("\t".join([status, name] + ([reason[:160]] if reason else [])) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tool", required=True, help="the gmc-conformance executable")
    parser.add_argument("--data", required=True, help="folder of the archives")
    parser.add_argument("--work", required=True, help="where they are unpacked")
    parser.add_argument("--expected", help="the list of expectations (default: beside this script)")
    parser.add_argument("--gradients", action="store_true", help="check derivatives against finite differences")
    parser.add_argument("--sim", action="store_true", help="the kernels of the GPU, run on the CPU")
    parser.add_argument("--filter", default="", help="only cases whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--update", action="store_true", help="write the results as the new expectation")
    parser.add_argument("--reasons", action="store_true", help="print the reason of each case that does not pass")
    args = parser.parse_args()
    here = os.path.dirname(os.path.abspath(__file__))
    args.expected = args.expected or os.path.join(here, "gradients.tsv" if args.gradients else "expected.tsv")
    command = [args.tool] + (["--gradients"] if args.gradients else []) + (["--sim"] if args.sim else [])
    if not glob.glob(os.path.join(args.data, "*.tar.zst")):
        print(f"skipped: no ONNX backend test archives in {args.data}")
        sys.exit(77)
    os.makedirs(args.work, exist_ok=True)
    unpack(args.data, args.work)

    cases, results = queue.Queue(), {}
    for case in find_cases(args.work):
        if args.filter in case[0]:
            cases.put(case)
    workers = [Worker(command, cases, results) for _ in range(max(1, args.jobs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    per_op, totals = collections.defaultdict(collections.Counter), collections.Counter()
    for name, (status, op, _, reason) in sorted(results.items()):
        totals[status] += 1
        if status != "outside":
            per_op[op][status] += 1
        if args.reasons and status not in ("pass", "outside"):
            print(f"{status}: {name}: {reason}")
    print(f"{'operator':32} {'pass':>6} {'fail':>6} {'unsupported':>12}")
    for op, counts in sorted(per_op.items()):
        print(f"{op:32} {counts['pass']:6} {counts['fail'] + counts['error']:6} {counts['unsupported']:12}")
    if args.update:
        write_expected(args.expected, results)

    expected = read_expected(args.expected)
    if not expected:
        sys.exit(f"{args.expected} lists no case")
    broken = [n for n, r in sorted(results.items()) if expected.get(n) == "pass" and r[0] != "pass"]
    if not args.filter:
        broken += [n for n, status in sorted(expected.items()) if status == "pass" and n not in results]
    better = [n for n, r in sorted(results.items()) if r[0] == "pass" and expected.get(n) != "pass"]
    for name in broken:
        print(f"BROKEN: {name}: {results[name][0] + ': ' + results[name][3] if name in results else 'is gone'}")
    for name in better if not args.update else []:
        print(f"passes now, not expected to (--update): {name}")
    print("conformance: " + ", ".join(f"{totals[s]} {s}" for s in ("pass", "fail", "error", "unsupported", "outside"))
          + f"; {len(broken)} broken")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
