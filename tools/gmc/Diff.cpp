//===- Diff.cpp - gmc diff ------------------------------------------------------------------------------===//

#include "compiler/Planning/AtomicFile.h"
#include "compiler/Planning/PlanJson.h"
#include "tools/gmc/Options.h"
#include "tools/gmc/PrintPlan.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"
#include <map>
#include <set>

namespace gmc {

using planning::Plan;
using planning::PlanBuffer;
using planning::PlanStep;

namespace {

struct DiffCommand {
  std::string a, b;
  size_t most = 10; ///< names listed of each kind of difference
};

/// A name and its bytes in both plans.
struct Line {
  std::string name;
  int64_t a = 0, b = 0;
};

/// A value's place in two plans: buffers of one kind and name, the first of them before the recomputed ones.
using Buffers = std::map<std::pair<std::string, std::string>, std::vector<const PlanBuffer *>>;

Buffers byName(const Plan &plan) {
  Buffers result;
  for (const PlanBuffer &b : plan.buffers)
    result[{b.name, toString(b.kind)}].push_back(&b);
  for (auto &[_, list] : result)
    std::stable_sort(list.begin(), list.end(), [](auto *x, auto *y) { return x->first < y->first; });
  return result;
}

/// What is computed more than once: node name (the op's where it has none) -> bytes written again.
std::map<std::string, int64_t> recomputed(const Plan &plan) {
  std::map<std::string, int64_t> result;
  for (const PlanStep &step : plan.steps) {
    if (step.recomputeOf.empty())
      continue;
    int64_t &bytes = result[step.nodes.empty() ? step.op : step.nodes.front()];
    for (int64_t id : step.writes)
      bytes += plan.buffers[id].size;
  }
  return result;
}

double recomputeMs(const Plan &plan) {
  std::vector<int64_t> counts = planning::stepCounts(plan);
  double micros = 0;
  for (const PlanStep &step : plan.steps)
    micros += double(counts[step.index]) * step.recomputeUs;
  return micros / 1000;
}

std::map<std::string, int64_t> atPeak(const Plan &plan) {
  std::map<std::string, int64_t> kinds;
  for (int64_t id : plan.peak.buffers)
    kinds[toString(plan.buffers[id].kind)] += plan.buffers[id].size;
  return kinds;
}

class Printer {
public:
  Printer(const Plan &a, const Plan &b, size_t most) : a(a), b(b), most(most), os(llvm::outs()) {}

  void totals() {
    os << llvm::format("%-22s%14s%14s%14s\n", "", "A", "B", "change");
    bytes("floor", a.floorBytes, b.floorBytes);
    bytes("bound", a.boundBytes, b.boundBytes);
    if (!a.fits || !b.fits)
      return;
    bytes("budget", a.budgetBytes, b.budgetBytes);
    bytes("arena", a.arenaBytes, b.arenaBytes);
    bytes("reserve", a.reserveBytes, b.reserveBytes);
    bytes("live at the peak", a.maxLiveBytes, b.maxLiveBytes);
    auto kindsA = atPeak(a), kindsB = atPeak(b);
    for (auto &[kind, size] : kindsB)
      kindsA.try_emplace(kind, 0);
    for (auto &[kind, size] : kindsA)
      bytes(("  " + kind).c_str(), size, kindsB[kind]);
    time("step", a.predictedStepMs, b.predictedStepMs);
    time("  recomputing", recomputeMs(a), recomputeMs(b));
    row("micro-batch", std::to_string(a.microBatch) + " x " + std::to_string(a.accumulation),
        std::to_string(b.microBatch) + " x " + std::to_string(b.accumulation), "");
    row("numerics", a.numerics.substr(0, 12), b.numerics.substr(0, 12),
        a.numerics == b.numerics ? "the same" : "other bits");
  }

  void values() {
    auto againA = recomputed(a), againB = recomputed(b);
    std::vector<Line> only[2];
    for (auto &[name, size] : againA)
      if (!againB.count(name))
        only[0].push_back({name, size, 0});
    for (auto &[name, size] : againB)
      if (!againA.count(name))
        only[1].push_back({name, 0, size});
    list("recomputed in B, kept in A", only[1]);
    list("kept in B, recomputed in A", only[0]);

    Buffers inA = byName(a), inB = byName(b);
    std::vector<Line> grown, shrunk, gone, fresh, moved;
    size_t both = 0;
    for (auto &[key, list] : inA) {
      auto other = inB.find(key);
      if (other == inB.end()) {
        gone.push_back({label(key), list.front()->size, 0});
        continue;
      }
      ++both;
      const PlanBuffer &x = *list.front(), &y = *other->second.front();
      if (x.size != y.size)
        (x.size < y.size ? grown : shrunk).push_back({label(key), x.size, y.size});
      if (x.offset != y.offset)
        moved.push_back(
            {label(key) + " from " + std::to_string(x.offset) + " to " + std::to_string(y.offset), x.size, y.size});
    }
    for (auto &[key, list] : inB)
      if (!inA.count(key))
        fresh.push_back({label(key), 0, list.front()->size});
    list("only in A", gone);
    list("only in B", fresh);
    list("larger in B", grown);
    list("smaller in B", shrunk);
    list("moved, of " + std::to_string(both) + " in both", moved);
  }

private:
  static std::string label(const std::pair<std::string, std::string> &key) {
    return key.first + " (" + key.second + ")";
  }

  void row(const char *what, const std::string &x, const std::string &y, const std::string &change) {
    os << llvm::format("%-22s%14s%14s%14s\n", what, x.c_str(), y.c_str(), change.c_str());
  }
  void bytes(const char *what, int64_t x, int64_t y) {
    row(what, bytesText(double(x)), bytesText(double(y)), (y > x ? "+" : "") + bytesText(double(y - x)));
  }
  void time(const char *what, double x, double y) {
    row(what, timeText(x), timeText(y), (y > x ? "+" : "") + timeText(y - x));
  }
  /// The largest first.
  void list(const std::string &title, std::vector<Line> &lines) {
    if (lines.empty())
      return;
    std::stable_sort(lines.begin(), lines.end(), [](const Line &x, const Line &y) {
      return std::max(x.a, x.b) > std::max(y.a, y.b);
    });
    os << title << ": " << lines.size() << "\n";
    for (size_t k = 0; k < lines.size() && k < most; ++k) {
      const Line &line = lines[k];
      os << "  " << line.name << "  ";
      if (line.a && line.b && line.a != line.b)
        os << bytesText(double(line.a)) << " -> " << bytesText(double(line.b)) << "\n";
      else
        os << bytesText(double(line.a ? line.a : line.b)) << "\n";
    }
    if (lines.size() > most)
      os << "  and " << lines.size() - most << " more (--most=N lists N)\n";
  }

  const Plan &a, &b;
  size_t most;
  llvm::raw_ostream &os;
};

/// Ids are positions in what follows.
bool wellNumbered(const Plan &plan, std::string &why) {
  int64_t n = plan.buffers.size(), steps = plan.steps.size();
  for (int64_t i = 0; i < n; ++i)
    if (plan.buffers[i].id != i)
      why = "buffers[" + std::to_string(i) + "] has the id " + std::to_string(plan.buffers[i].id);
  auto known = [&](const std::vector<int64_t> &ids, const char *where) {
    for (int64_t id : ids)
      if (id < 0 || id >= n)
        why = std::string(where) + " names the unknown buffer " + std::to_string(id);
  };
  if (plan.fits)
    known(plan.peak.buffers, "peak");
  for (const PlanStep &step : plan.steps) {
    known(step.writes, "a step");
    if (step.index < 0 || step.index >= steps)
      why = "a step has the index " + std::to_string(step.index);
  }
  return why.empty();
}

} // namespace

static int runDiff(const DiffCommand &command) {
  Plan plans[2];
  for (auto [file, plan] : {std::pair(&command.a, &plans[0]), std::pair(&command.b, &plans[1])}) {
    std::string text, error;
    if (!planning::readWholeFile(*file, text, error))
      return usageError(error);
    std::vector<std::string> bad = planning::planFromJson(text, *plan);
    if (bad.empty() && !wellNumbered(*plan, error))
      bad.push_back(error);
    if (!bad.empty())
      return usageError(*file + " is not the JSON of gmc plan: " + bad.front() +
                        (bad.size() > 1 ? ", and " + std::to_string(bad.size() - 1) + " more problems" : ""));
  }
  for (auto [name, file, plan] : {std::tuple("A ", &command.a, &plans[0]), std::tuple("B ", &command.b, &plans[1])}) {
    llvm::outs() << name << *file << ": ";
    if (plan->fits)
      llvm::outs() << llvm::sys::path::filename(plan->model) << "  batch " << plan->batch << " = " << plan->microBatch
                   << " x " << plan->accumulation << "   " << plan->precision << "   "
                   << planning::toString(plan->target) << "\n";
    else
      llvm::outs() << "does not fit\n";
  }
  Printer printer(plans[0], plans[1], command.most);
  printer.totals();
  if (plans[0].fits && plans[1].fits)
    printer.values();
  return ExitOk;
}

void registerDiff(CLI::App &app, int &exitCode) {
  auto command = std::make_shared<DiffCommand>();
  CLI::App *sub = app.add_subcommand("diff", "Two plans, by node name: totals, what moved, grew, is recomputed");
  sub->add_option("A", command->a, "JSON of gmc plan")->required();
  sub->add_option("B", command->b, "JSON of gmc plan")->required();
  sub->add_option("--most", command->most, "names listed of each kind of difference; default 10");
  sub->callback([command, &exitCode] { exitCode = runDiff(*command); });
}

} // namespace gmc
