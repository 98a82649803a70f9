#include "runtime/train/Signals.h"

namespace gmc::rt {
namespace {
volatile std::sig_atomic_t pending = 0;
void onSignal(int number) { pending = number; }
} // namespace

SignalGuard::SignalGuard() {
  pending = 0;
  struct sigaction action = {};
  action.sa_handler = &onSignal;
  // One shot: whoever presses Ctrl-C again means it.
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, &oldInt);
  sigaction(SIGTERM, &action, &oldTerm);
}

SignalGuard::~SignalGuard() {
  sigaction(SIGINT, &oldInt, nullptr);
  sigaction(SIGTERM, &oldTerm, nullptr);
}

int SignalGuard::received() const { return pending; }

} // namespace gmc::rt
