//===- PlanJson.cpp - Plans as JSON ---------------------------------------===//
#include "compiler/Planning/PlanJson.h"

#include <nlohmann/json.hpp>

#include <limits>

namespace gmc::planning {

namespace {

using Json = nlohmann::ordered_json;

Json peakToJson(const PlanPeak &peak) {
  return {{"step", peak.step}, {"bytes", peak.bytes}, {"buffers", peak.buffers}};
}

Json leversToJson(const std::vector<PlanLever> &levers) {
  Json all = Json::array();
  for (const PlanLever &lever : levers)
    all.push_back({{"name", lever.name}, {"saved_bytes", lever.savedBytes}, {"cost_ms", lever.costMs}});
  return all;
}

/// Reads fields and remembers what was missing or of another type.
class Reader {
public:
  explicit Reader(std::vector<std::string> &bad) : bad(bad) {}

  void get(const Json &object, const std::string &path, const char *key, int64_t &out) {
    const Json *value = find(object, path, key);
    if (!value)
      return;
    if (value->is_number_unsigned() && value->get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max()))
      bad.push_back(path + key + ": number too large");
    else if (value->is_number_integer())
      out = value->get<int64_t>();
    else
      bad.push_back(path + key + ": not an integer");
  }
  void get(const Json &object, const std::string &path, const char *key, double &out) {
    const Json *value = find(object, path, key);
    if (value && value->is_number())
      out = value->get<double>();
    else if (value)
      bad.push_back(path + key + ": not a number");
  }
  void get(const Json &object, const std::string &path, const char *key, bool &out) {
    const Json *value = find(object, path, key);
    if (value && value->is_boolean())
      out = value->get<bool>();
    else if (value)
      bad.push_back(path + key + ": not true or false");
  }
  void get(const Json &object, const std::string &path, const char *key, std::string &out) {
    const Json *value = find(object, path, key);
    if (value && value->is_string())
      out = value->get<std::string>();
    else if (value)
      bad.push_back(path + key + ": not a string");
  }
  void get(const Json &object, const std::string &path, const char *key, std::vector<int64_t> &out) {
    const Json *value = list(object, path, key);
    for (size_t i = 0; value && i < value->size(); ++i) {
      if (!(*value)[i].is_number_integer())
        bad.push_back(path + key + "[" + std::to_string(i) + "]: not an integer");
      else
        out.push_back((*value)[i].get<int64_t>());
    }
  }
  void get(const Json &object, const std::string &path, const char *key, std::vector<std::string> &out) {
    const Json *value = list(object, path, key);
    for (size_t i = 0; value && i < value->size(); ++i) {
      if (!(*value)[i].is_string())
        bad.push_back(path + key + "[" + std::to_string(i) + "]: not a string");
      else
        out.push_back((*value)[i].get<std::string>());
    }
  }
  template <typename Enum> void word(const Json &object, const std::string &path, const char *key, Enum &out) {
    std::string text;
    size_t before = bad.size();
    get(object, path, key, text);
    if (bad.size() == before && !fromString(text, out))
      bad.push_back(path + key + ": unknown word '" + text + "'");
  }
  const Json *list(const Json &object, const std::string &path, const char *key) {
    const Json *value = find(object, path, key);
    if (value && !value->is_array()) {
      bad.push_back(path + key + ": not a list");
      return nullptr;
    }
    return value;
  }
  /// Calls read(element, path) for each object of a list.
  template <typename Read> void each(const Json &object, const char *key, Read read) {
    const Json *value = list(object, "", key);
    for (size_t i = 0; value && i < value->size(); ++i) {
      std::string path = std::string(key) + "[" + std::to_string(i) + "].";
      if ((*value)[i].is_object())
        read((*value)[i], path);
      else
        bad.push_back(path + " not an object");
    }
  }
  const Json *find(const Json &object, const std::string &path, const char *key) {
    auto it = object.find(key);
    if (it == object.end()) {
      bad.push_back(path + key + ": missing");
      return nullptr;
    }
    return &*it;
  }

private:
  std::vector<std::string> &bad;
};

} // namespace

std::string planToJson(const Plan &plan, bool points) {
  Json json{{"version", 1}, {"fits", plan.fits}};
  if (!plan.fits) {
    json["floor_bytes"] = plan.floorBytes;
    json["bound_bytes"] = plan.boundBytes;
    json["peak"] = peakToJson(plan.peak);
    json["levers"] = leversToJson(plan.levers);
    return json.dump() + "\n";
  }
  json["model"] = plan.model;
  json["target"] = toString(plan.target);
  json["budget_bytes"] = plan.budgetBytes;
  json["reserve_bytes"] = plan.reserveBytes;
  json["arena_bytes"] = plan.arenaBytes;
  json["eval_arena_bytes"] = plan.evalArenaBytes;
  json["batch"] = plan.batch;
  json["micro_batch"] = plan.microBatch;
  json["accumulation"] = plan.accumulation;
  json["precision"] = plan.precision;
  json["numerics"] = plan.numerics;
  json["predicted_step_ms"] = plan.predictedStepMs;
  json["unconstrained_step_ms"] = plan.unconstrainedStepMs;
  json["floor_bytes"] = plan.floorBytes;
  json["bound_bytes"] = plan.boundBytes;
  json["loops"] = Json::array();
  for (const PlanLoop &loop : plan.loops)
    json["loops"].push_back({{"first", loop.first}, {"last", loop.last}, {"count", loop.count}});
  json["buffers"] = Json::array();
  for (const PlanBuffer &b : plan.buffers)
    json["buffers"].push_back({{"id", b.id},
                               {"name", b.name},
                               {"kind", toString(b.kind)},
                               {"carry", toString(b.carry)},
                               {"offset", b.offset},
                               {"size", b.size},
                               {"first", b.first},
                               {"last", b.last}});
  json["steps"] = Json::array();
  for (const PlanStep &s : plan.steps)
    json["steps"].push_back({{"index", s.index},
                             {"op", s.op},
                             {"nodes", s.nodes},
                             {"stage", toString(s.stage)},
                             {"reads", s.reads},
                             {"writes", s.writes},
                             {"workspace", s.workspace},
                             {"recompute_of", s.recomputeOf},
                             {"flops", s.flops},
                             {"bytes", s.bytes},
                             {"predicted_us", s.predictedUs},
                             {"recompute_us", s.recomputeUs}});
  json["peak"] = peakToJson(plan.peak);
  json["max_live_bytes"] = plan.maxLiveBytes;
  json["levers"] = leversToJson(plan.levers);
  if (plan.samples)
    json["training"] = {{"samples", plan.samples},
                        {"epochs", plan.epochs},
                        {"steps", trainingSteps(plan)},
                        {"seconds", trainingMs(plan) / 1000}};
  if (points) {
    json["points"] = Json::array();
    for (const FrontierPoint &p : plan.points)
      json["points"].push_back({{"budget_bytes", p.budgetBytes},
                                {"arena_bytes", p.arenaBytes},
                                {"step_ms", p.stepMs},
                                {"micro_batch", p.microBatch},
                                {"numerics", p.numerics}});
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::vector<std::string> planFromJson(const std::string &text, Plan &plan) {
  std::vector<std::string> bad;
  plan = {};
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception &error) {
    return {error.what()};
  }
  if (!json.is_object())
    return {"not a JSON object"};
  Reader reader(bad);
  int64_t version = 0;
  reader.get(json, "", "version", version);
  if (bad.empty() && version != 1)
    return {"version " + std::to_string(version) + " is not known, 1 is"};
  reader.get(json, "", "fits", plan.fits);
  reader.get(json, "", "floor_bytes", plan.floorBytes);
  reader.get(json, "", "bound_bytes", plan.boundBytes);
  if (const Json *peak = reader.find(json, "", "peak"); peak && peak->is_object()) {
    reader.get(*peak, "peak.", "step", plan.peak.step);
    reader.get(*peak, "peak.", "bytes", plan.peak.bytes);
    reader.get(*peak, "peak.", "buffers", plan.peak.buffers);
  } else if (peak) {
    bad.push_back("peak: not an object");
  }
  reader.each(json, "levers", [&](const Json &item, const std::string &path) {
    PlanLever &lever = plan.levers.emplace_back();
    reader.get(item, path, "name", lever.name);
    reader.get(item, path, "saved_bytes", lever.savedBytes);
    reader.get(item, path, "cost_ms", lever.costMs);
  });
  if (!plan.fits)
    return bad;
  reader.get(json, "", "model", plan.model);
  reader.word(json, "", "target", plan.target);
  reader.get(json, "", "budget_bytes", plan.budgetBytes);
  reader.get(json, "", "reserve_bytes", plan.reserveBytes);
  reader.get(json, "", "arena_bytes", plan.arenaBytes);
  reader.get(json, "", "eval_arena_bytes", plan.evalArenaBytes);
  reader.get(json, "", "batch", plan.batch);
  reader.get(json, "", "micro_batch", plan.microBatch);
  reader.get(json, "", "accumulation", plan.accumulation);
  reader.get(json, "", "precision", plan.precision);
  reader.get(json, "", "numerics", plan.numerics);
  reader.get(json, "", "predicted_step_ms", plan.predictedStepMs);
  reader.get(json, "", "unconstrained_step_ms", plan.unconstrainedStepMs);
  reader.get(json, "", "max_live_bytes", plan.maxLiveBytes);
  reader.each(json, "loops", [&](const Json &item, const std::string &path) {
    PlanLoop &loop = plan.loops.emplace_back();
    reader.get(item, path, "first", loop.first);
    reader.get(item, path, "last", loop.last);
    reader.get(item, path, "count", loop.count);
  });
  reader.each(json, "buffers", [&](const Json &item, const std::string &path) {
    PlanBuffer &b = plan.buffers.emplace_back();
    reader.get(item, path, "id", b.id);
    reader.get(item, path, "name", b.name);
    reader.word(item, path, "kind", b.kind);
    reader.word(item, path, "carry", b.carry);
    reader.get(item, path, "offset", b.offset);
    reader.get(item, path, "size", b.size);
    reader.get(item, path, "first", b.first);
    reader.get(item, path, "last", b.last);
  });
  reader.each(json, "steps", [&](const Json &item, const std::string &path) {
    PlanStep &s = plan.steps.emplace_back();
    reader.get(item, path, "index", s.index);
    reader.get(item, path, "op", s.op);
    reader.get(item, path, "nodes", s.nodes);
    reader.word(item, path, "stage", s.stage);
    reader.get(item, path, "reads", s.reads);
    reader.get(item, path, "writes", s.writes);
    reader.get(item, path, "workspace", s.workspace);
    reader.get(item, path, "recompute_of", s.recomputeOf);
    reader.get(item, path, "flops", s.flops);
    reader.get(item, path, "bytes", s.bytes);
    reader.get(item, path, "predicted_us", s.predictedUs);
    reader.get(item, path, "recompute_us", s.recomputeUs);
  });
  if (json.contains("points"))
    reader.each(json, "points", [&](const Json &item, const std::string &path) {
      FrontierPoint &p = plan.points.emplace_back();
      reader.get(item, path, "budget_bytes", p.budgetBytes);
      reader.get(item, path, "arena_bytes", p.arenaBytes);
      reader.get(item, path, "step_ms", p.stepMs);
      reader.get(item, path, "micro_batch", p.microBatch);
      reader.get(item, path, "numerics", p.numerics);
    });
  return bad;
}

} // namespace gmc::planning
