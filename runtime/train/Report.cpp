#include "runtime/train/Report.h"
#include "gmc/Error.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <unistd.h>

namespace gmc::rt {
namespace {

std::string format(const char *pattern, double value) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

std::string duration(double seconds) {
  auto s = static_cast<int64_t>(seconds + 0.5);
  char text[32];
  if (s >= 3600)
    std::snprintf(text, sizeof text, "%lldh%02lldm", static_cast<long long>(s / 3600),
                  static_cast<long long>(s / 60 % 60));
  else
    std::snprintf(text, sizeof text, "%lldm%02llds", static_cast<long long>(s / 60), static_cast<long long>(s % 60));
  return text;
}

} // namespace

std::string jsonNumber(double value) {
  if (!std::isfinite(value))
    return "null";
  char text[64];
  auto [end, error] = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end);
}

Report::Report(const std::string &log, const std::string &tensorboard, bool append)
    : logPath(log), tty(isatty(STDOUT_FILENO)) {
  if (!log.empty()) {
    logFile = std::fopen(log.c_str(), append ? "ae" : "we");
    if (!logFile)
      throw ioError("cannot write " + log + ": " + std::strerror(errno));
  }
  if (!tensorboard.empty())
    events = std::make_unique<EventFile>(tensorboard);
}

Report::~Report() {
  clearProgress();
  if (logFile)
    std::fclose(logFile);
}

void Report::setTotal(int64_t steps, int64_t perEpoch) {
  totalSteps = steps;
  stepsPerEpoch = std::max<int64_t>(1, perEpoch);
}

void Report::log(const std::string &json) {
  if (logFile && (std::fprintf(logFile, "%s\n", json.c_str()) < 0 || std::fflush(logFile)))
    throw ioError("writing " + logPath + ": " + std::strerror(errno));
}

void Report::clearProgress() {
  if (progressShown)
    std::fputs("\r\033[K", stdout);
  progressShown = false;
}

void Report::line(const std::string &text) {
  clearProgress();
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

void Report::warn(const std::string &text) {
  clearProgress();
  std::fflush(stdout);
  std::fprintf(stderr, "%s\n", text.c_str());
}

void Report::step(const StepReport &r) {
  log("{\"event\":\"step\",\"step\":" + std::to_string(r.step) + ",\"epoch\":" + std::to_string(r.epoch) +
      ",\"loss\":" + jsonNumber(r.loss) + ",\"lr\":" + jsonNumber(r.lr) + ",\"step_ms\":" + jsonNumber(r.stepMs) +
      ",\"wait_ms\":" + jsonNumber(r.waitMs) + ",\"samples_per_s\":" + jsonNumber(r.samplesPerSecond) +
      (r.lossScale ? ",\"loss_scale\":" + jsonNumber(*r.lossScale) + ",\"skipped\":" + (r.skipped ? "true" : "false")
                   : "") +
      "}");
  if (r.skipped)
    line("step " + std::to_string(r.step) + " skipped: a gradient overflowed, the loss scale is now " +
         format("%.0f", r.lossScale.value_or(0)));
  if (events) {
    events->scalar("train/loss", r.step, r.loss);
    events->scalar("train/lr", r.step, r.lr);
    events->scalar("train/samples_per_s", r.step, r.samplesPerSecond);
    if (r.lossScale)
      events->scalar("train/loss_scale", r.step, *r.lossScale);
  }
  // The first step warms caches up and says little about the others.
  smoothMs = r.step <= 2 || smoothMs == 0 ? r.stepMs : 0.95 * smoothMs + 0.05 * r.stepMs;
  auto now = std::chrono::steady_clock::now();
  bool epochEnd = r.step % stepsPerEpoch == 0 || r.step == totalSteps;
  double since = std::chrono::duration<double>(now - lastShown).count();
  if (!epochEnd && since < (tty ? 0.1 : 5.0))
    return;
  lastShown = now;
  std::string text = "epoch " + std::to_string(r.epoch) + "  step " + std::to_string(r.step) + "/" +
                     std::to_string(totalSteps) + "  loss " + format("%.4f", r.loss) + "  lr " +
                     format("%.3g", r.lr) + "  " + format("%.0f", r.samplesPerSecond) + " samples/s  " +
                     duration(static_cast<double>(totalSteps - r.step) * smoothMs / 1e3) + " left";
  if (!tty || epochEnd) {
    line(text);
    return;
  }
  std::printf("\r%s\033[K", text.c_str());
  std::fflush(stdout);
  progressShown = true;
}

void Report::eval(int64_t step, double loss, std::optional<double> accuracy) {
  log("{\"event\":\"eval\",\"step\":" + std::to_string(step) + ",\"loss\":" + jsonNumber(loss) + ",\"accuracy\":" +
      (accuracy ? jsonNumber(*accuracy) : "null") + "}");
  if (events) {
    events->scalar("val/loss", step, loss);
    if (accuracy)
      events->scalar("val/accuracy", step, *accuracy);
  }
  line("validation after step " + std::to_string(step) + ": loss " + format("%.4f", loss) +
       (accuracy ? "  accuracy " + format("%.2f", *accuracy * 100) + " %" : ""));
}

void Report::memory(const MemoryReport &r) {
  std::string parts;
  for (const auto &[part, bytes] : r.parts)
    parts += (parts.empty() ? ",\"parts\":{\"" : ",\"") + part + "\":" + std::to_string(bytes);
  log("{\"event\":\"memory\",\"promised\":" + std::to_string(r.promised) + ",\"used\":" + std::to_string(r.used) +
      ",\"source\":\"" + r.source + "\"" + parts + (parts.empty() ? "}" : "}}"));
  line("memory: " + format("%.1f", static_cast<double>(r.used) / 1e6) + " MB used (" + r.source + "), " +
       format("%.1f", static_cast<double>(r.promised) / 1e6) + " MB promised");
  if (r.used > r.promised)
    warn("warning: more memory was used than promised; compile with a larger --reserve" +
         (r.note.empty() ? "" : "; " + r.note));
}

void Report::end(const std::string &reason) { log("{\"event\":\"end\",\"reason\":\"" + reason + "\"}"); }

} // namespace gmc::rt
