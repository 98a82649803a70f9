// SIGINT and SIGTERM as a flag; a second one ends the process at once.
#ifndef GMC_TRAIN_SIGNALS_H
#define GMC_TRAIN_SIGNALS_H

#include <csignal>

namespace gmc::rt {

/// While it lives, the first SIGINT or SIGTERM only sets received().
class SignalGuard {
public:
  SignalGuard();
  ~SignalGuard();
  SignalGuard(const SignalGuard &) = delete;
  SignalGuard &operator=(const SignalGuard &) = delete;
  /// The signal's number, 0 while none came.
  int received() const;

private:
  struct sigaction oldInt, oldTerm;
};

} // namespace gmc::rt

#endif
