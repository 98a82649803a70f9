//===- Internal.cpp - internal errors: a reproducer file and exit code 4 --------------------------------===//

#include "tools/gmc/Options.h"
#include "llvm/Support/ErrorHandling.h"
#include <csignal>
#include <cstring>
#include <ctime>
#include <exception>
#include <fcntl.h>
#include <unistd.h>

namespace gmc {

// Prepared at start: a signal handler may neither allocate nor format.
static char reproducerPath[64];
static std::string reproducerText;

static void put(int fd, const char *text) { (void)!write(fd, text, std::strlen(text)); }

/// Only async-signal-safe calls. Writes the reproducer, says where it is, ends the process.
static void reproduceAndExit(const char *reason) {
  int fd = open(reproducerPath, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
  if (fd >= 0) {
    put(fd, reproducerText.c_str());
    put(fd, "reason: ");
    put(fd, reason);
    put(fd, "\n");
    close(fd);
  }
  put(STDERR_FILENO, "gmc: internal error: ");
  put(STDERR_FILENO, reason);
  put(STDERR_FILENO,
      fd >= 0 ? "\ngmc: please report it with the model and " : "\ngmc: no reproducer could be written to ");
  put(STDERR_FILENO, reproducerPath);
  put(STDERR_FILENO, "\n");
  _exit(ExitInternal);
}

static void onSignal(int signal) {
  switch (signal) {
  case SIGSEGV:
    reproduceAndExit("segmentation fault");
    break;
  case SIGBUS:
    reproduceAndExit("bus error");
    break;
  case SIGFPE:
    reproduceAndExit("arithmetic exception");
    break;
  case SIGILL:
    reproduceAndExit("illegal instruction");
    break;
  default:
    reproduceAndExit("aborted");
  }
}

static void onFatalError(void *, const char *reason, bool) { reproduceAndExit(reason); }

void installCrashHandlers(int argc, char **argv) {
  std::snprintf(reproducerPath, sizeof(reproducerPath), "gmc-internal-error-%d.txt", getpid());
  reproducerText = "gmc " GMC_VERSION "\ncommand:";
  for (int i = 0; i < argc; ++i)
    reproducerText += std::string(" '") + argv[i] + "'";
  char folder[4096];
  reproducerText += std::string("\nfolder: ") + (getcwd(folder, sizeof(folder)) ? folder : "?") + "\n";
  // Handlers run on a stack of their own: a stack overflow is one of the things to report.
  static char alternate[1 << 16];
  stack_t stack{};
  stack.ss_sp = alternate;
  stack.ss_size = sizeof(alternate);
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_handler = onSignal;
  action.sa_flags = SA_ONSTACK | SA_RESETHAND;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    sigaction(signal, &action, nullptr);
  llvm::install_fatal_error_handler(onFatalError);
  llvm::install_bad_alloc_error_handler(onFatalError);
}

int internalError(const llvm::Twine &message) {
  reproduceAndExit(message.str().c_str());
  return ExitInternal;
}

} // namespace gmc
