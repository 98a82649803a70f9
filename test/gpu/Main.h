// What the programs of this folder share.
#ifndef GMC_TEST_GPU_MAIN_H
#define GMC_TEST_GPU_MAIN_H

#include "gmc/Error.h"

#include <functional>
#include <iostream>

/// `body`'s exit code, or that of the error that it ended with, which is printed.
inline int exitCodeOf(const std::function<int()> &body) {
  try {
    return body();
  } catch (const gmc::rt::Error &error) {
    std::cerr << "error: " << error.what() << std::endl;
    return error.code();
  } catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << std::endl;
    return gmc::rt::ExitInternal;
  }
}

#endif
