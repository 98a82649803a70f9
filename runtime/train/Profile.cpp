#include "runtime/train/Profile.h"
#include "gmc/Error.h"

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

namespace gmc::rt {

Profile::Profile(const std::string &target) : path(target), file(std::fopen(path.c_str(), "we")), zero(Clock::now()) {
  if (!file)
    throw ioError("cannot write " + path + ": " + std::strerror(errno));
  std::fputs("{\"traceEvents\":[", file);
}

Profile::~Profile() { close(); }

bool Profile::close() {
  if (!file)
    return true;
  std::fputs("\n]}\n", file);
  bool good = !std::ferror(file);
  return std::fclose(std::exchange(file, nullptr)) == 0 && good;
}

void Profile::finish() {
  if (!close())
    throw ioError("writing " + path + ": " + std::strerror(errno));
}

void Profile::event(const char *category, const std::string &name, const std::string &detail, Clock::time_point begin,
                    Clock::time_point end) {
  auto micros = [](Clock::duration d) { return std::chrono::duration<double, std::micro>(d).count(); };
  std::fprintf(file, "%s\n{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"cat\":\"%s\",\"name\":%s,\"ts\":%.3f,\"dur\":%.3f,"
                     "\"args\":{\"detail\":%s}}",
               first ? "" : ",", category, nlohmann::json(name).dump().c_str(), micros(begin - zero),
               micros(end - begin), nlohmann::json(detail).dump().c_str());
  first = false;
}

void Profile::step(const GmcStep &step, Clock::time_point begin, Clock::time_point end) {
  static constexpr const char *Stages[] = {"forward", "recompute", "backward", "update"};
  event(step.stage < 4 ? Stages[step.stage] : "step", step.op,
        std::string(step.node) + " predicted " + std::to_string(step.predictedMicros) + " us", begin, end);
}

} // namespace gmc::rt
