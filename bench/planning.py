#!/usr/bin/env python3
"""Offset packing and rematerialization on the shared public instances, judged by the shared referee.

bench/planning.py DRIVER [SHARED] [--effort=N] [--markdown]

DRIVER is build/test/planning-driver. Prints packing heights against the most bytes live at once, and schedule costs against
the known optima, with times. Exits 1 where the referee refuses a result, a feasible budget is missed, or a cost is more than
2 % above the optimum; 77 (skipped) where SHARED is not there.
"""
import csv, importlib.util, json, os, subprocess, sys, tempfile, time


def load(path):
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3] + "_referee", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*command):
    start = time.time()
    code = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    return code, time.time() - start


def packing(driver, shared, effort, out, show):
    referee, failures = load(f"{shared}/referee/pack.py"), []
    show("instance", "buffers", "capacity", "height", "max live", "ratio", "seconds")
    for name in sorted(os.listdir(f"{shared}/data/packing")):
        if not name.endswith(".csv"):
            continue
        path, parts = f"{shared}/data/packing/{name}", name.split(".")
        problem = referee.rows(path)
        bound = referee.max_live(problem)
        for capacity in ([parts[1]] if len(parts) == 3 else ["-"]):
            solution = f"{out}/{name}"
            code, seconds = run(driver, "pack", path, capacity, solution, effort)
            if code == 3 and capacity != "-":
                show(parts[0], len(problem), capacity, "not found", bound, "", f"{seconds:.2f}")
                continue
            if code:
                failures.append(f"pack {name}: exit {code}")
                continue
            try:
                height = referee.check(problem, referee.rows(solution))
                if capacity != "-" and height > int(capacity):
                    raise ValueError(f"height {height} over the capacity")
            except ValueError as error:
                failures.append(f"pack {name}: {error}")
                continue
            show(parts[0], len(problem), capacity, height, bound, f"{height / bound:.5f}", f"{seconds:.2f}")
    return failures


def remat(driver, shared, effort, out, show):
    referee, failures = load(f"{shared}/referee/remat.py"), []
    folder = f"{shared}/data/remat"
    show("case", "nodes", "budget", "optimum", "cost", "above", "peak", "bound", "seconds")
    with open(f"{folder}/optima.tsv") as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    for row in rows:
        path, solution = f"{folder}/{row['case']}.json", f"{out}/{row['case']}.{row['budget']}.json"
        code, seconds = run(driver, "remat", path, row["budget"], solution, effort)
        case = f"remat {row['case']} within {row['budget']}"
        with open(path) as file:
            problem = json.load(file)
        with open(solution) as file:
            result = json.load(file)
        if row["optimum"] == "infeasible":
            if code != 3:
                failures.append(f"{case}: exit {code}, infeasible expected")
            proved = "proved" if result["proved_infeasible"] else "not found"
            show(row["case"], row["nodes"], row["budget"], "infeasible", proved, "", "", "", f"{seconds:.2f}")
            continue
        optimum = float(row["optimum"])
        if code:
            failures.append(f"{case}: exit {code}, cost {optimum} is possible")
            continue
        try:
            cost, peak = referee.check(problem, result, int(row["budget"]))
        except referee.Bad as error:
            failures.append(f"{case}: {error}")
            continue
        if cost > optimum * 1.02:
            failures.append(f"{case}: cost {cost}, optimum {optimum}")
        if result["bound"] > optimum * (1 + 1e-9):
            failures.append(f"{case}: claims a bound of {result['bound']}, optimum {optimum}")
        show(row["case"], row["nodes"], row["budget"], f"{optimum:g}", f"{cost:g}", f"{100 * (cost / optimum - 1):.2f} %",
             peak, f"{result['bound']:g}", f"{seconds:.2f}")
    return failures


def main():
    options = [a for a in sys.argv[1:] if a.startswith("--")]
    words = [a for a in sys.argv[1:] if not a.startswith("--")]
    if not words:
        sys.exit(__doc__)
    here = os.path.dirname(os.path.abspath(__file__))
    driver, shared = words[0], words[1] if len(words) > 1 else os.path.join(here, "../../shared")
    if not os.path.exists(f"{shared}/referee/pack.py"):
        print(f"skipped: no shared instances at {shared}")
        sys.exit(77)
    effort = next((o.split("=")[1] for o in options if o.startswith("--effort=")), "2")
    state = {"columns": 0}

    def show(*cells):
        if "--markdown" in options:
            print("| " + " | ".join(map(str, cells)) + " |")
            if state["columns"] != len(cells):
                print("|" + "---|" * len(cells))
        else:
            print("  ".join(f"{str(c):>12}" for c in cells), flush=True)
        state["columns"] = len(cells)

    with tempfile.TemporaryDirectory() as out:
        failures = packing(driver, shared, effort, out, show)
        print()
        state["columns"] = 0
        failures += remat(driver, shared, effort, out, show)
    print(f"\n{len(failures)} failures", *failures, sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
