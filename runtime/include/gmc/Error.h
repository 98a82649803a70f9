// Errors of the runtime: a message for the user and the exit code the process ends with.
#ifndef GMC_ERROR_H
#define GMC_ERROR_H

#include <stdexcept>
#include <string>

namespace gmc::rt {

/// Exit codes of a trainer. Signals are 128 + their number (130 SIGINT, 143 SIGTERM).
enum ExitCode : int {
  ExitDone = 0,
  ExitUsage = 1,    ///< usage, data, or no usable device
  ExitMemory = 3,   ///< the promise cannot be kept on this machine
  ExitInternal = 4, ///< a defect of gmc itself
  ExitNaN = 5,      ///< the loss is not a number
  ExitIo = 6,       ///< reading or writing a file failed
};

class Error : public std::runtime_error {
public:
  Error(ExitCode code, const std::string &message) : std::runtime_error(message), exitCode(code) {}
  ExitCode code() const { return exitCode; }

private:
  ExitCode exitCode;
};

inline Error usageError(const std::string &message) { return Error(ExitUsage, message); }
inline Error ioError(const std::string &message) { return Error(ExitIo, message); }
inline Error internalError(const std::string &message) { return Error(ExitInternal, "internal error: " + message); }

} // namespace gmc::rt

#endif
