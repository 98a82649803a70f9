"""The page that tools/gpu-check --page writes of the results of a run."""
import json

NAMES = {"lenet5": "LeNet-5", "resnet18": "ResNet-18", "resnet50": "ResNet-50", "gpt2_tiny": "GPT-2 tiny", "gpt2_124m": "GPT-2 124M"}


def megabytes(count):
    return f"{count / 1e6:.1f} MB"


def networks(part):
    return {name: found for name, found in part.items() if isinstance(found, dict) and not found.get("not_run")}


def numerics(report):
    parts = report["parts"]
    sums = parts.get("ops", {}).get("sums")
    if sums:
        yield f"* ONNX backend cases and their derivatives: {sums['failed']} of {sums['cases']} differ from the CPU's; {sums['kernels']} kernels."
    steps = [found["sums"] for found in networks(parts.get("kernels", {})).values() if found.get("sums")]
    if steps:
        yield (f"* Step by step from the same arena: {sum(s['failed'] for s in steps)} of {sum(s['steps'] for s in steps)} steps differ, in "
               f"{len(steps)} programs; {sum(s.get('rounded', 0) for s in steps)} bf16 values rounded to a neighbour; otherwise at most "
               f"{max(s['worst'] for s in steps):.1e} of a step's root mean square.")
    found = networks(parts.get("reference", {})).values()
    runs = [run for one in found for run in one["trajectories"].values()]
    if runs:
        yield (f"* {len(runs)} trajectories of five steps: losses at most {max(run['from_stored'] for run in runs):.1e} from the stored ones, "
               f"{max(run['from_host'] for run in runs):.1e} from the host trainer's; gradients at most "
               f"{max(one['gradients']['worst'] for one in found if 'gradients' in one):.1e} of their norms from the stored ones.")
    tools = [f for name, f in networks(parts.get("sanitizer", {})).items()]
    if tools:
        yield f"* compute-sanitizer (memcheck, racecheck, synccheck): {sum(f['exit'] != 0 for f in tools)} of {len(tools)} runs with a finding."


def equal_weights(report):
    hashes = [{rung.get("weights") for rung in found.get("rungs", [])} for found in networks(report["parts"].get("ladder", {})).values()
              if found.get("rungs")]
    same = sum(len(found) == 1 and None not in found for found in hashes)
    return f"Weights after a ladder's steps are equal bit by bit at all budgets for {same} of {len(hashes)} networks." if hashes else ""


def memory(report):
    planned = lambda found: f"{megabytes(found['planned'])} | " if "planned" in found else "- | "
    ratio = lambda found: f"{found['planned_of_used']:.3f}" if "planned_of_used" in found else "-"
    yield "| network | budget | planned: arena + reserve | NVML | planned / NVML |"
    yield "|---|---|---|---|---|"
    for name, found in networks(report["parts"].get("ladder", {})).items():
        for rung in found.get("rungs", []):
            if "memory" in rung:
                yield (f"| {NAMES.get(name, name)} | {megabytes(rung['budget'])} | {planned(rung)}"
                       f"{megabytes(rung['memory']['used'])} | {ratio(rung)} |")
    for tag, found in networks(report["parts"].get("speed", {})).items():
        if "memory" in found:
            name, precision = tag.rsplit("-", 1)
            yield (f"| {NAMES.get(name, name)}, batch {found['batch']}, {precision} | | {planned(found)}"
                   f"{megabytes(found['memory']['used'])} | {ratio(found)} |")


def speed(report):
    yield "| network | batch | precision | gmc | predicted | PyTorch eager | compiled | gmc / eager | gmc / compiled |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for tag, found in networks(report["parts"].get("speed", {})).items():
        if "step_ms" not in found:
            continue
        name, precision = tag.rsplit("-", 1)
        peers = [found.get("torch_eager_ms"), found.get("torch_compiled_ms")]
        time = lambda ms: f"{ms:.2f} ms" if isinstance(ms, float) else "-"
        ratio = lambda ms: f"{found['step_ms'] / ms:.2f}" if isinstance(ms, float) else "-"
        yield (f"| {NAMES.get(name, name)} | {found['batch']} | {precision} | {time(found['step_ms'])} | {time(found.get('predicted_ms'))} | "
               f"{' | '.join(map(time, peers))} | {' | '.join(map(ratio, peers))} |")


def short_of_peers(report):
    """What is slower than the faster of PyTorch's two, and the ops that take the time."""
    for tag, found in networks(report["parts"].get("speed", {})).items():
        peers = [ms for ms in (found.get("torch_eager_ms"), found.get("torch_compiled_ms")) if isinstance(ms, float)]
        if peers and "step_ms" in found and found["step_ms"] > min(peers):
            name, precision = tag.rsplit("-", 1)
            top = ", ".join(f"{row['op']} {row['share']:.0%} of the time in {row['count']} steps" for row in found.get("top", [])[:5])
            yield f"* {NAMES.get(name, name)}, {precision}: {found['step_ms'] / min(peers):.2f} of the faster one's time. {top}."


def one_run(source):
    report = json.loads(source.read_text())
    reserve = report["parts"].get("ladder", {}).get("reserve", {})
    yield f"## {report['device']}, {report['date'][:10]}, commit {report['commit'][:7]}"
    yield ""
    yield (f"{report['memory']}, driver {report['driver']}; all of it in [{source.name}]({source.name}). {report.get('note', '')} "
           f"{len(report['failures'])} checks failed{':' if report['failures'] else '.'}")
    if report["failures"]:
        yield ""
        yield from (f"    {' '.join(failure.split())[:150]}" for failure in report["failures"])
    for title, text, rows in (
            ("Numerics", "", numerics(report)),
            ("Memory", "NVML: what the process holds. "
             + (f"Of the reserve, the context took {megabytes(reserve['context'])}, code {megabytes(reserve['code'])}, graphs "
                f"{megabytes(reserve['graphs'])}. " if reserve else "") + equal_weights(report), memory(report)),
            ("Speed", "Medians of whole steps with input, plain SGD; PyTorch in the same run, in channels_last, with autocast for bf16, without "
             "TF32 in fp32.", speed(report)),
            ("Slower than PyTorch", "With the ops that take the time (of a traced step, in which each waits for the one before).",
             short_of_peers(report))):
        rows = list(rows)
        if len(rows) > (2 if rows and rows[0].startswith("|") else 0):  # a table has a head of two
            yield from ("", f"### {title}", "", *([text, ""] if text else []), *rows)


def write_page(target, sources):
    target.write_text("\n".join(["# On a GPU", "", "`tools/gpu-check`, and `tools/gpu-check --page` of its results.", "",
                                 *(line for source in sources for line in [*one_run(source), ""])]).rstrip() + "\n")
