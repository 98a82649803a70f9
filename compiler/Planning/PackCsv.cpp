//===- PackCsv.cpp - Packing problems as CSV ------------------------------===//
#include "compiler/Planning/PackCsv.h"

#include <charconv>
#include <string_view>
#include <unordered_map>

namespace gmc::planning {

namespace {

std::string_view trim(std::string_view text) {
  auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '"'; };
  while (!text.empty() && space(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && space(text.back()))
    text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> fields;
  for (;;) {
    size_t comma = line.find(',');
    fields.push_back(trim(line.substr(0, comma)));
    if (comma == std::string_view::npos)
      return fields;
    line.remove_prefix(comma + 1);
  }
}

} // namespace

std::vector<std::string> packFromCsv(const std::string &text, PackFile &file) {
  std::vector<std::string> bad;
  file = {};
  std::string_view rest = text;
  if (rest.substr(0, 3) == "\xEF\xBB\xBF")
    rest.remove_prefix(3);
  constexpr const char *names[] = {"id", "lower", "upper", "size"};
  size_t column[4];
  bool header = false;
  std::unordered_map<std::string, int64_t> lineOf;
  constexpr int64_t limit = int64_t(1) << 60; // sums of sizes and offsets stay far from overflow
  int64_t total = 0;
  for (int64_t line = 1; !rest.empty(); ++line) {
    size_t end = rest.find('\n');
    std::string_view row = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (trim(row).empty())
      continue;
    auto report = [&](const std::string &reason) { bad.push_back("line " + std::to_string(line) + ": " + reason); };
    std::vector<std::string_view> fields = split(row);
    if (!header) {
      header = true;
      std::string missing;
      for (int c = 0; c < 4; ++c) {
        column[c] = 0;
        while (column[c] < fields.size() && fields[column[c]] != names[c])
          ++column[c];
        if (column[c] == fields.size())
          missing += std::string(missing.empty() ? "" : ", ") + names[c];
      }
      if (!missing.empty()) {
        report("the header lacks " + missing + "; expected id,lower,upper,size");
        return bad;
      }
      continue;
    }
    PackBuffer buffer;
    buffer.id = int64_t(file.ids.size());
    int64_t *values[] = {nullptr, &buffer.lower, &buffer.upper, &buffer.size};
    bool good = true;
    for (int c = 0; c < 4; ++c) {
      if (column[c] >= fields.size() || fields[column[c]].empty()) {
        report(std::string(names[c]) + " is missing");
        good = false;
        continue;
      }
      if (c == 0)
        continue;
      std::string_view field = fields[column[c]];
      auto [stop, code] = std::from_chars(field.data(), field.data() + field.size(), *values[c]);
      if (code == std::errc::result_out_of_range) {
        report(std::string(names[c]) + " '" + std::string(field) + "' does not fit into 64 bits");
        good = false;
      } else if (code != std::errc() || stop != field.data() + field.size()) {
        report(std::string(names[c]) + " '" + std::string(field) + "' is not an integer");
        good = false;
      }
    }
    if (!good)
      continue;
    if (buffer.size < 0)
      report("negative size " + std::to_string(buffer.size));
    if (buffer.lower > buffer.upper)
      report("lower " + std::to_string(buffer.lower) + " is after upper " + std::to_string(buffer.upper));
    if (buffer.size > limit || (buffer.size > 0 && (total += buffer.size) > limit)) {
      report("the sizes sum to more than 2^60 bytes");
      return bad;
    }
    std::string id(fields[column[0]]);
    auto [it, isNew] = lineOf.emplace(id, line);
    if (!isNew)
      report("id " + id + " was used in line " + std::to_string(it->second) + " already");
    file.ids.push_back(std::move(id));
    file.problem.buffers.push_back(buffer);
  }
  if (!header)
    bad.push_back("the file is empty; expected the header id,lower,upper,size");
  return bad;
}

std::string packToCsv(const PackFile &file, const PackSolution &solution) {
  std::string text = "id,lower,upper,size,offset\n";
  for (size_t i = 0; i < file.ids.size(); ++i) {
    const PackBuffer &b = file.problem.buffers[i];
    text += file.ids[i];
    for (int64_t value : {b.lower, b.upper, b.size, solution.offsets[i]})
      text += "," + std::to_string(value);
    text += "\n";
  }
  return text;
}

} // namespace gmc::planning
