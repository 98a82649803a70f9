//===- RematJson.cpp - Rematerialization problems as JSON -----------------===//
#include "compiler/Planning/RematJson.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace gmc::planning {

namespace {

using Json = nlohmann::ordered_json;

/// An integer, also where it is written as 16.0; false if it is none or does not fit.
bool integer(const Json &value, int64_t &out) {
  if (value.is_number_unsigned()) {
    if (value.get<uint64_t>() > uint64_t(INT64_MAX))
      return false;
    out = value.get<int64_t>();
    return true;
  }
  if (value.is_number_integer()) {
    out = value.get<int64_t>();
    return true;
  }
  if (!value.is_number_float())
    return false;
  double number = value.get<double>();
  if (number != std::floor(number) || std::abs(number) > 0x1p53)
    return false;
  out = int64_t(number);
  return true;
}

} // namespace

std::vector<std::string> rematFromJson(const std::string &text, RematProblem &problem) {
  std::vector<std::string> bad;
  problem = {};
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception &error) {
    std::string what = error.what();
    size_t prefix = what.find("] ");
    return {prefix == std::string::npos ? what : what.substr(prefix + 2)};
  }
  if (!json.is_object())
    return {"not a JSON object"};
  if (auto version = json.find("version"); version != json.end() && *version != 1)
    return {"version " + version->dump() + " is not known, 1 is"};
  auto nodes = json.find("nodes");
  if (nodes == json.end() || !nodes->is_array())
    return {"\"nodes\" is missing or not a list"};
  if (auto fixed = json.find("fixed_bytes"); fixed != json.end()) {
    if (!integer(*fixed, problem.fixedBytes) || problem.fixedBytes < 0)
      bad.push_back("fixed_bytes " + fixed->dump() + " is not an integer >= 0");
  }

  // First the ids, since deps may point forward in the list.
  std::unordered_map<int64_t, int32_t> indexOf;
  std::vector<std::string> label(nodes->size());
  for (size_t i = 0; i < nodes->size(); ++i) {
    const Json &item = (*nodes)[i];
    RematNode &node = problem.nodes.emplace_back();
    label[i] = "nodes[" + std::to_string(i) + "]";
    if (!item.is_object()) {
      bad.push_back(label[i] + ": not an object");
      continue;
    }
    auto id = item.find("id");
    if (id == item.end() || !integer(*id, node.id) || node.id < 0) {
      bad.push_back(label[i] + ": id is missing or not an integer >= 0");
      continue;
    }
    label[i] = "node " + std::to_string(node.id);
    if (!indexOf.emplace(node.id, int32_t(i)).second)
      bad.push_back(label[i] + ": the id is used twice");
  }
  auto lookUp = [&](const Json &value, const std::string &where, int32_t &index) {
    int64_t id;
    if (!integer(value, id)) {
      bad.push_back(where + " " + value.dump() + " is not an id");
      return false;
    }
    auto it = indexOf.find(id);
    if (it == indexOf.end()) {
      bad.push_back(where + " " + std::to_string(id) + ", which is no node");
      return false;
    }
    index = it->second;
    return true;
  };
  for (size_t i = 0; i < nodes->size(); ++i) {
    const Json &item = (*nodes)[i];
    RematNode &node = problem.nodes[i];
    if (!item.is_object())
      continue;
    if (auto name = item.find("name"); name != item.end() && name->is_string())
      node.name = name->get<std::string>();
    auto cost = item.find("cost");
    if (cost == item.end() || !cost->is_number() || !(cost->get<double>() >= 0) || std::isinf(cost->get<double>()))
      bad.push_back(label[i] + ": cost is missing or not a number >= 0");
    else
      node.cost = cost->get<double>();
    auto bytes = [&](const char *key, bool required, int64_t &out) {
      auto it = item.find(key);
      if (it == item.end() ? required : !integer(*it, out) || out < 0) {
        bad.push_back(label[i] + ": " + key + " is missing or not an integer >= 0 of 64 bits");
        out = 0;
      }
    };
    bytes("size", true, node.size);
    bytes("workspace", false, node.workspace);
    auto deps = item.find("deps");
    if (deps == item.end() || !deps->is_array()) {
      bad.push_back(label[i] + ": deps is missing or not a list");
    } else {
      int32_t index;
      for (const Json &dep : *deps)
        if (lookUp(dep, label[i] + ": depends on", index) &&
            std::find(node.deps.begin(), node.deps.end(), index) == node.deps.end())
          node.deps.push_back(index);
    }
    if (auto flag = item.find("recomputable"); flag != item.end()) {
      if (flag->is_boolean())
        node.recomputable = flag->get<bool>();
      else
        bad.push_back(label[i] + ": recomputable is not true or false");
    }
    if (auto over = item.find("inplace_of"); over != item.end())
      lookUp(*over, label[i] + ": takes over the storage of", node.inplaceOf);
  }
  if (auto keep = json.find("keep"); keep != json.end()) {
    if (!keep->is_array())
      bad.push_back("\"keep\" is not a list");
    else
      for (const Json &value : *keep) {
        int32_t index;
        if (lookUp(value, "keep lists", index))
          problem.keep.push_back(index);
      }
  }
  return bad.empty() ? checkRematProblem(problem) : bad;
}

std::string rematToJson(const RematProblem &problem) {
  Json json{{"version", 1}, {"nodes", Json::array()}};
  auto ids = [&](const std::vector<int32_t> &indexes) {
    Json list = Json::array();
    for (int32_t i : indexes)
      list.push_back(problem.nodes[i].id);
    return list;
  };
  for (const RematNode &node : problem.nodes) {
    Json item{{"id", node.id},     {"name", node.name},           {"cost", node.cost},
              {"size", node.size}, {"workspace", node.workspace}, {"deps", ids(node.deps)}};
    if (!node.recomputable)
      item["recomputable"] = false;
    if (node.inplaceOf >= 0)
      item["inplace_of"] = problem.nodes[node.inplaceOf].id;
    json["nodes"].push_back(std::move(item));
  }
  json["keep"] = ids(problem.keep);
  json["fixed_bytes"] = problem.fixedBytes;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string rematResultToJson(const RematProblem &problem, const RematResult &result) {
  if (!result.found)
    return Json{{"found", false}, {"proved_infeasible", result.provedInfeasible}, {"bound_bytes", result.boundBytes}}
               .dump() +
           "\n";
  Json order = Json::array(), drops = Json::array();
  for (int32_t v : result.order)
    order.push_back(problem.nodes[v].id);
  for (const std::vector<int32_t> &gone : result.dropAfter) {
    Json list = Json::array();
    for (int32_t v : gone)
      list.push_back(problem.nodes[v].id);
    drops.push_back(std::move(list));
  }
  Json json{{"order", std::move(order)},
            {"drop_after", std::move(drops)},
            {"cost", result.cost},
            {"peak_bytes", result.peak},
            {"bound", result.bound}};
  return json.dump() + "\n";
}

} // namespace gmc::planning
