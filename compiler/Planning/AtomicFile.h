//===- AtomicFile.h - Outputs appear whole or not at all ---------*- C++ -*-===//
#pragma once

#include <string>

namespace gmc::planning {

/// Writes `contents` under a temporary name beside `path` and renames it. What exists and is no regular file (a device,
/// a pipe) is written to directly. False with a reason in `error`; then nothing new lies at or beside `path`.
bool writeFileAtomically(const std::string &path, const std::string &contents, std::string &error);

/// Reads a whole file; false with a reason in `error`.
bool readWholeFile(const std::string &path, std::string &contents, std::string &error);

} // namespace gmc::planning
