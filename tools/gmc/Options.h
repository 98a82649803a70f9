//===- Options.h - options that subcommands share ---------------------------------------------*- C++ -*-===//
#ifndef GMC_TOOLS_GMC_OPTIONS_H
#define GMC_TOOLS_GMC_OPTIONS_H

#include "compiler/Import/Importer.h"
#include <CLI/CLI.hpp>

namespace gmc {

// Every subcommand registers itself with the command line.
#define GMC_COMMAND(NAME) void register##NAME(CLI::App &app, int &exitCode);
#include "tools/gmc/Commands.def"

/// How a model is read: shared by every subcommand that imports one.
struct ModelOptions {
  std::string model;
  std::optional<int64_t> batch; ///< --batch: the effective batch
  std::vector<std::string> dims;
  std::string loss = "auto", train, freeze, init = "keep";
};

/// Adds the positional MODEL and --batch, --dim, --loss, --train, --freeze, --init.
void addModelOptions(CLI::App &app, ModelOptions &options);

/// The import's options, without the batch: dims, loss outputs, training restrictions, init. Error: one of them is
/// malformed.
llvm::Expected<ImportOptions> toImportOptions(const ModelOptions &options, const OnnxModel &model);

/// --batch, or what the file fixes, or 32. Error: --batch contradicts the file.
llvm::Expected<int64_t> effectiveBatch(const ModelOptions &options, const OnnxModel &model);

/// `4GB` = 4e9, `4GiB` = 4 * 2^30, `1.5MB`, plain number = bytes; K, M, G, T. Error: anything else.
llvm::Expected<int64_t> parseSize(llvm::StringRef text);

/// Options of the design that this release accepts nowhere: given, they are a usage error that says so.
void addUnavailableOptions(CLI::App &app, llvm::ArrayRef<const char *> names);

/// Prints `gmc: error: MESSAGE` to stderr; returns ExitUsage.
int usageError(const llvm::Twine &message);
int usageError(llvm::Error error);

/// Loads a model; null after printing what is wrong.
std::unique_ptr<OnnxModel> loadModel(llvm::StringRef path);

/// Writes `content` to `path` by a temporary file beside it and a rename. "-" is stdout.
llvm::Error writeFileAtomically(llvm::StringRef path, llvm::function_ref<llvm::Error(llvm::raw_ostream &)> write);

/// From here on, a crash, an abort or an LLVM fatal error writes a reproducer file and exits with ExitInternal.
void installCrashHandlers(int argc, char **argv);
/// Reports an internal error, writes the reproducer, returns ExitInternal.
int internalError(const llvm::Twine &message);

} // namespace gmc

#endif
